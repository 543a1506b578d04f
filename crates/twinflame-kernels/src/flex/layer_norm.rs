//! Rows of layer normalisation.
//!
//! Sums run in [`LANES`] places at once, whatever vectors the processor has, and gradients of the parameters are added up block
//! by block in the order of the rows: the same bits on every processor and with every number of threads.

use macerator::{AutoArch, Simd, WithSimd};
use rayon::prelude::*;

use super::blocks::{CHUNK, LANES, folded_sum, over_blocks};

/// `[d_model]` each.
#[derive(Clone, Copy)]
pub(crate) struct Parameters<'a> {
    pub(crate) gamma: &'a [f32],
    pub(crate) beta: &'a [f32],
}

/// What the forward pass computes: `[rows, d_model]`, and `[rows]` twice.
pub(crate) struct Forward {
    pub(crate) output: Vec<f32>,
    pub(crate) mean: Vec<f32>,
    /// `1 / sqrt(variance + epsilon)`.
    pub(crate) inverse_std: Vec<f32>,
}

/// Normalises rows of `parameters.gamma.len()` elements.
pub(crate) fn forward(x: &[f32], parameters: Parameters<'_>, epsilon: f32) -> Forward {
    let width = parameters.gamma.len();
    let rows = x.len() / width;
    let mut result = Forward {
        output: vec![0.0; x.len()],
        mean: vec![0.0; rows],
        inverse_std: vec![0.0; rows],
    };
    let block = rows_of_a_block(width);
    let blocks = result.output.par_chunks_mut(block * width);
    let statistics = result
        .mean
        .par_chunks_mut(block)
        .zip(result.inverse_std.par_chunks_mut(block));
    blocks
        .zip(x.par_chunks(block * width))
        .zip(statistics)
        .for_each(|((output, x), (mean, inverse_std))| {
            AutoArch::new().dispatch(ForwardRows {
                x,
                parameters,
                epsilon,
                output,
                mean,
                inverse_std,
            });
        });
    result
}

fn rows_of_a_block(width: usize) -> usize {
    (CHUNK / width).max(1)
}

struct ForwardRows<'a> {
    x: &'a [f32],
    parameters: Parameters<'a>,
    epsilon: f32,
    output: &'a mut [f32],
    mean: &'a mut [f32],
    inverse_std: &'a mut [f32],
}

impl WithSimd for ForwardRows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self) {
        let Parameters { gamma, beta } = self.parameters;
        let width = gamma.len();
        let rows = self.x.chunks_exact(width).zip(self.output.chunks_exact_mut(width));
        let statistics = self.mean.iter_mut().zip(self.inverse_std);
        for ((x, output), (mean, inverse_std)) in rows.zip(statistics) {
            *mean = sum(x) / width as f32;
            let center = *mean;
            let variance = sum_of_squares(x, center) / width as f32;
            *inverse_std = 1.0 / (variance + self.epsilon).sqrt();
            let scale = *inverse_std;
            for (((output, &x), &gamma), &beta) in output.iter_mut().zip(x).zip(gamma).zip(beta) {
                *output = (x - center) * scale * gamma + beta;
            }
        }
    }
}

/// What the backward pass needs of the forward pass: `[rows, d_model]`, `[d_model]`, and `[rows]` twice.
#[derive(Clone, Copy)]
pub(crate) struct Kept<'a> {
    pub(crate) x: &'a [f32],
    pub(crate) gamma: &'a [f32],
    pub(crate) mean: &'a [f32],
    pub(crate) inverse_std: &'a [f32],
}

/// Gradients of `gamma` and `beta`, `[d_model]` each. `grad`, that of the output, becomes that of `x`.
pub(crate) fn backward(kept: Kept<'_>, grad: &mut [f32]) -> [Vec<f32>; 2] {
    let width = kept.gamma.len();
    let block = rows_of_a_block(width);
    let blocks = grad.len().div_ceil(block * width);
    let mut partial = vec![0.0; blocks * 2 * width];
    let inputs = kept.x.par_chunks(block * width);
    let statistics = kept.mean.par_chunks(block).zip(kept.inverse_std.par_chunks(block));
    grad.par_chunks_mut(block * width)
        .zip(partial.par_chunks_mut(2 * width))
        .zip(inputs.zip(statistics))
        .for_each(|((grad, partial), (x, (mean, inverse_std)))| {
            let kept = Kept {
                x,
                mean,
                inverse_std,
                ..kept
            };
            AutoArch::new().dispatch(BackwardRows { kept, grad, partial });
        });
    let mut sums = vec![0.0; 2 * width];
    for partial in partial.chunks_exact(2 * width) {
        for (sum, partial) in sums.iter_mut().zip(partial) {
            *sum += partial;
        }
    }
    let of_beta = sums.split_off(width);
    [sums, of_beta]
}

struct BackwardRows<'a> {
    kept: Kept<'a>,
    grad: &'a mut [f32],
    /// Gradients of `gamma` and of `beta`, one after the other.
    partial: &'a mut [f32],
}

impl WithSimd for BackwardRows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self) {
        let gamma = self.kept.gamma;
        let width = gamma.len();
        let (of_gamma, of_beta) = self.partial.split_at_mut(width);
        let rows = self.kept.x.chunks_exact(width).zip(self.grad.chunks_exact_mut(width));
        let statistics = self.kept.mean.iter().zip(self.kept.inverse_std);
        for ((x, grad), (&center, &scale)) in rows.zip(statistics) {
            let parameters = of_gamma.iter_mut().zip(of_beta.iter_mut());
            for ((&grad, &x), (of_gamma, of_beta)) in grad.iter().zip(x).zip(parameters) {
                *of_gamma += grad * ((x - center) * scale);
                *of_beta += grad;
            }
            let along_mean = sum_of_products(grad, gamma) / width as f32;
            let along_x = projection(grad, gamma, x, center) * scale / width as f32;
            for ((grad, &x), &gamma) in grad.iter_mut().zip(x).zip(gamma) {
                *grad = (*grad * gamma - along_mean - (x - center) * scale * along_x) * scale;
            }
        }
    }
}

#[inline(always)]
fn sum(row: &[f32]) -> f32 {
    let mut sums = [0.0; LANES];
    over_blocks([row], [0.0], |[x]| {
        for (sum, x) in sums.iter_mut().zip(x) {
            *sum += x;
        }
    });
    folded_sum(sums)
}

#[inline(always)]
fn sum_of_squares(row: &[f32], center: f32) -> f32 {
    let mut sums = [0.0; LANES];
    over_blocks([row], [center], |[x]| {
        for (sum, x) in sums.iter_mut().zip(x) {
            *sum += (x - center) * (x - center);
        }
    });
    folded_sum(sums)
}

#[inline(always)]
fn sum_of_products(left: &[f32], right: &[f32]) -> f32 {
    let mut sums = [0.0; LANES];
    over_blocks([left, right], [0.0; 2], |[left, right]| {
        for ((sum, left), right) in sums.iter_mut().zip(left).zip(right) {
            *sum += left * right;
        }
    });
    folded_sum(sums)
}

/// The sum of `grad gamma (x - center)` over a row.
#[inline(always)]
fn projection(grad: &[f32], gamma: &[f32], x: &[f32], center: f32) -> f32 {
    let mut sums = [0.0; LANES];
    over_blocks([grad, gamma, x], [0.0; 3], |[grad, gamma, x]| {
        for (((sum, grad), gamma), x) in sums.iter_mut().zip(grad).zip(gamma).zip(x) {
            *sum += grad * gamma * (x - center);
        }
    });
    folded_sum(sums)
}
