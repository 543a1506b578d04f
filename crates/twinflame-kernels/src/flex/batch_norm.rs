//! Batch normalisation of rows, one for each channel, with what follows it in a residual network.
//!
//! A row is long: sums run in [`LANES`] places over a piece at a time, and over the pieces in f64. The order is fixed: the same
//! bits on every processor and with every number of threads.

use std::mem::MaybeUninit;

use macerator::{AutoArch, Simd, WithSimd};
use rayon::prelude::*;

use super::blocks::{CHUNK, LANES, folded_sum, over_blocks};

/// `[channels]` each.
#[derive(Clone, Copy)]
pub(crate) struct Parameters<'a> {
    pub(crate) gamma: &'a [f32],
    pub(crate) beta: &'a [f32],
}

/// What follows the normalisation.
#[derive(Clone, Copy)]
pub(crate) enum Then<'a> {
    Nothing,
    Relu,
    /// A shortcut of the shape of the input is added, then the sum is rectified.
    AddRelu(&'a [f32]),
}

/// What the forward pass computes: `[channels, samples]`, and `[channels]` three times.
pub(crate) struct Forward {
    pub(crate) output: Vec<f32>,
    pub(crate) mean: Vec<f32>,
    /// Biased, without epsilon.
    pub(crate) variance: Vec<f32>,
    /// `1 / sqrt(variance + epsilon)`.
    pub(crate) inverse_std: Vec<f32>,
}

/// Normalises `parameters.gamma.len()` rows.
///
/// # Panics
///
/// If the input has no elements, or the shortcut is not as long as it.
pub(crate) fn forward(x: &[f32], parameters: Parameters<'_>, epsilon: f64, then: Then<'_>) -> Forward {
    let width = x.len() / parameters.gamma.len();
    if let Then::AddRelu(shortcut) = then {
        assert_eq!(shortcut.len(), x.len(), "a shortcut has the shape of the input");
    }
    let (output, statistics) = written(x.len(), width, |channel, to| {
        let range = channel * width..(channel + 1) * width;
        AutoArch::new().dispatch(ForwardRow {
            x: &x[range.clone()],
            then: match then {
                Then::AddRelu(shortcut) => Then::AddRelu(&shortcut[range]),
                then => then,
            },
            gamma: parameters.gamma[channel],
            beta: parameters.beta[channel],
            epsilon,
            to,
        })
    });
    let column = |index: usize| statistics.iter().map(|row| row[index]).collect();
    Forward {
        output,
        mean: column(0),
        variance: column(1),
        inverse_std: column(2),
    }
}

/// Rows that `row` writes, which threads share, and what it returns of each.
fn written<R: Send>(
    len: usize,
    width: usize,
    row: impl Fn(usize, &mut [MaybeUninit<f32>]) -> R + Sync,
) -> (Vec<f32>, Vec<R>) {
    let mut output = Vec::with_capacity(len);
    let rows = output.spare_capacity_mut()[..len].par_chunks_mut(width).enumerate();
    let results = rows.map(|(channel, to)| row(channel, to)).collect();
    // SAFETY: the capacity is at least `len`. The rows are all of it, and the two callers write every element of a row: they go
    // through it with `write_from`, which asserts that it has as many elements as its source.
    #[allow(unsafe_code, reason = "elements that are all written need not be zeros first")]
    unsafe {
        output.set_len(len);
    }
    (output, results)
}

/// `to = function(from)`, all of it.
#[inline(always)]
fn write_from<const ROWS: usize>(
    to: &mut [MaybeUninit<f32>],
    from: [&[f32]; ROWS],
    function: impl Fn([f32; ROWS]) -> f32,
) {
    let from = from.map(|row| {
        assert_eq!(row.len(), to.len(), "rows of one length");
        row
    });
    for (index, to) in to.iter_mut().enumerate() {
        to.write(function(from.map(|row| row[index])));
    }
}

/// The sum of `term` over rows of one length.
#[inline(always)]
fn sum<const ROWS: usize>(rows: [&[f32]; ROWS], padding: [f32; ROWS], term: impl Fn([f32; ROWS]) -> f32) -> f64 {
    let mut total = 0.0;
    let len = rows[0].len();
    for start in (0..len).step_by(CHUNK) {
        let end = (start + CHUNK).min(len);
        let mut sums = [0.0; LANES];
        over_blocks(rows.map(|row| &row[start..end]), padding, |blocks| {
            for (lane, sum) in sums.iter_mut().enumerate() {
                *sum += term(blocks.map(|block| block[lane]));
            }
        });
        total += f64::from(folded_sum(sums));
    }
    total
}

/// Zero for what is not above zero; what is no number stays.
#[inline(always)]
fn relu(x: f32) -> f32 {
    if x <= 0.0 { 0.0 } else { x }
}

struct ForwardRow<'a> {
    x: &'a [f32],
    then: Then<'a>,
    gamma: f32,
    beta: f32,
    epsilon: f64,
    to: &'a mut [MaybeUninit<f32>],
}

impl WithSimd for ForwardRow<'_> {
    /// Mean, variance and reciprocal deviation.
    type Output = [f32; 3];

    #[inline(always)]
    fn with_simd<S: Simd>(self) -> [f32; 3] {
        let Self { x, to, beta, .. } = self;
        let samples = x.len() as f64;
        let mean = (sum([x], [0.0], |[x]| x) / samples) as f32;
        let variance = sum([x], [mean], |[x]| (x - mean) * (x - mean)) / samples;
        let inverse_std = (variance + self.epsilon).sqrt().recip() as f32;
        let scale = self.gamma * inverse_std;
        match self.then {
            Then::Nothing => write_from(to, [x], |[x]| (x - mean) * scale + beta),
            Then::Relu => write_from(to, [x], |[x]| relu((x - mean) * scale + beta)),
            Then::AddRelu(shortcut) => {
                write_from(to, [x, shortcut], |[x, added]| relu((x - mean) * scale + beta + added));
            }
        }
        [mean, variance as f32, inverse_std]
    }
}

/// What the backward pass needs of the forward pass.
#[derive(Clone, Copy)]
pub(crate) struct Kept<'a> {
    pub(crate) x: &'a [f32],
    /// Where it was rectified: no gradient passes where it is zero or less.
    pub(crate) output: Option<&'a [f32]>,
    pub(crate) gamma: &'a [f32],
    pub(crate) mean: &'a [f32],
    pub(crate) inverse_std: &'a [f32],
}

/// Gradients of `gamma` and `beta`, `[channels]` each. `grad`, that of the output, becomes that of `x`.
pub(crate) fn backward(kept: Kept<'_>, grad: &mut [f32]) -> [Vec<f32>; 2] {
    let width = grad.len() / kept.gamma.len();
    let rows = grad.par_chunks_mut(width).enumerate();
    let sums = rows.map(|(channel, grad)| {
        let row = Row::of(kept, channel, width);
        let slopes = AutoArch::new().dispatch(SumRow { row, grad: &mut *grad });
        AutoArch::new().dispatch(OfXInPlace { row, slopes, grad });
        slopes.sums()
    });
    columns(sums.collect())
}

/// The same with a shortcut: `grad` becomes the gradient of that, and the gradient of `x` comes first.
pub(crate) fn backward_with_shortcut(kept: Kept<'_>, grad: &mut [f32]) -> (Vec<f32>, [Vec<f32>; 2]) {
    let width = grad.len() / kept.gamma.len();
    let rows = grad.par_chunks_mut(width).enumerate();
    let slopes: Vec<Slopes> = rows
        .map(|(channel, grad)| {
            let row = Row::of(kept, channel, width);
            AutoArch::new().dispatch(SumRow { row, grad })
        })
        .collect();
    let grad = &*grad;
    let (of_x, sums) = written(grad.len(), width, |channel, to| {
        let row = Row::of(kept, channel, width);
        let grad = &grad[channel * width..(channel + 1) * width];
        let slopes = slopes[channel];
        AutoArch::new().dispatch(OfX { row, slopes, grad, to });
        slopes.sums()
    });
    (of_x, columns(sums))
}

fn columns(rows: Vec<[f32; 2]>) -> [Vec<f32>; 2] {
    [0, 1].map(|index| rows.iter().map(|row| row[index]).collect())
}

/// One channel of [`Kept`].
#[derive(Clone, Copy)]
struct Row<'a> {
    x: &'a [f32],
    output: Option<&'a [f32]>,
    gamma: f32,
    mean: f32,
    inverse_std: f32,
}

impl<'a> Row<'a> {
    fn of(kept: Kept<'a>, channel: usize, width: usize) -> Self {
        let range = channel * width..(channel + 1) * width;
        Self {
            x: &kept.x[range.clone()],
            output: kept.output.map(|output| &output[range]),
            gamma: kept.gamma[channel],
            mean: kept.mean[channel],
            inverse_std: kept.inverse_std[channel],
        }
    }
}

/// The sums of a channel, and what they say of the gradient of `x`: `(grad - along_mean - (x - mean) along_x) scale`.
#[derive(Clone, Copy)]
struct Slopes {
    of_gamma: f32,
    of_beta: f32,
    along_mean: f32,
    along_x: f32,
    scale: f32,
}

impl Slopes {
    fn sums(self) -> [f32; 2] {
        [self.of_gamma, self.of_beta]
    }
}

/// Stops the gradient where the output was rectified, and sums.
struct SumRow<'a> {
    row: Row<'a>,
    grad: &'a mut [f32],
}

impl WithSimd for SumRow<'_> {
    type Output = Slopes;

    #[inline(always)]
    fn with_simd<S: Simd>(self) -> Slopes {
        let Row { x, mean, .. } = self.row;
        if let Some(output) = self.row.output {
            for (grad, &output) in self.grad.iter_mut().zip(output) {
                *grad = if output <= 0.0 { 0.0 } else { *grad };
            }
        }
        let grad = &*self.grad;
        let samples = x.len() as f64;
        let inverse_std = f64::from(self.row.inverse_std);
        let of_beta = sum([grad], [0.0], |[grad]| grad);
        let of_gamma = inverse_std * sum([grad, x], [0.0, mean], |[grad, x]| grad * (x - mean));
        Slopes {
            of_gamma: of_gamma as f32,
            of_beta: of_beta as f32,
            along_mean: (of_beta / samples) as f32,
            along_x: (of_gamma * inverse_std / samples) as f32,
            scale: self.row.gamma * self.row.inverse_std,
        }
    }
}

struct OfXInPlace<'a> {
    row: Row<'a>,
    slopes: Slopes,
    grad: &'a mut [f32],
}

impl WithSimd for OfXInPlace<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self) {
        let Row { x, mean, .. } = self.row;
        for (grad, &x) in self.grad.iter_mut().zip(x) {
            *grad = of_x(self.slopes, *grad, x - mean);
        }
    }
}

struct OfX<'a> {
    row: Row<'a>,
    slopes: Slopes,
    grad: &'a [f32],
    to: &'a mut [MaybeUninit<f32>],
}

impl WithSimd for OfX<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self) {
        let Row { x, mean, .. } = self.row;
        write_from(self.to, [self.grad, x], |[grad, x]| of_x(self.slopes, grad, x - mean));
    }
}

#[inline(always)]
fn of_x(slopes: Slopes, grad: f32, centred: f32) -> f32 {
    (grad - slopes.along_mean - centred * slopes.along_x) * slopes.scale
}
