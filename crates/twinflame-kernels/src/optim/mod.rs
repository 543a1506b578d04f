//! One pass over a parameter: AdamW, and an exponential moving average.

#[cfg(feature = "flex")]
mod flex;

#[cfg(feature = "flex")]
use burn::backend::{Backend, Dispatch, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;
#[cfg(feature = "flex")]
use burn::tensor::{Device, TensorData};

#[cfg(feature = "flex")]
use crate::listed::is_f32_on_flex;
use crate::plain;

/// One step of AdamW.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWStep {
    /// Learning rate of this step.
    pub lr: f64,
    /// Decay of the first moment.
    pub beta_1: f32,
    /// Decay of the second moment.
    pub beta_2: f32,
    /// Added to the root of the second moment.
    pub epsilon: f32,
    /// Decoupled weight decay.
    pub weight_decay: f32,
    /// Number of this step, from 1 on.
    pub time: usize,
}

impl AdamWStep {
    /// What the moments are divided by, as they start at zero: `1 - beta^time`.
    pub(crate) fn corrections(&self) -> [f32; 2] {
        [self.beta_1, self.beta_2].map(|beta| 1.0 - beta.powi(self.time as i32))
    }

    /// What is left of a parameter by the decay.
    pub(crate) fn kept(&self) -> f64 {
        1.0 - self.lr * f64::from(self.weight_decay)
    }
}

/// The state of a parameter in AdamW, in its shape.
#[derive(Clone, Debug)]
pub struct Moments<const D: usize> {
    /// Average of the gradients.
    pub first: Tensor<D>,
    /// Average of their squares.
    pub second: Tensor<D>,
}

#[cfg(feature = "flex")]
impl<const D: usize> Moments<D> {
    /// Before the first step. Not burn's zeros, which flex copies once more.
    fn zeros_on_flex(dims: [usize; D]) -> Self {
        let device = Device::flex();
        let zeros = || Tensor::from_data(TensorData::new(vec![0.0_f32; dims.iter().product()], dims), &device);
        Self {
            first: zeros(),
            second: zeros(),
        }
    }
}

/// [`adamw`] and [`moving_average`] for a backend without tape; see the documentation of the crate.
#[cfg(feature = "flex")]
#[backend_extension(Flex: cfg(feature = "flex"))]
pub trait OptimKernels: Backend {
    /// The parameter and both moments; see [`adamw`].
    fn fused_adamw(
        param: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        step: AdamWStep,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// See [`moving_average`].
    fn fused_moving_average(average: FloatTensor<Self>, value: FloatTensor<Self>, decay: f64) -> FloatTensor<Self>;
}

/// A step of AdamW on a parameter, outside autodiff.
///
/// Loshchilov and Hutter 2019, <https://arxiv.org/abs/1711.05101>, algorithm 2, with the schedule multiplier in `lr`. Kernels write
/// over the arguments where nobody else holds them. Before the first step there are no moments.
///
/// # Shapes
///
/// All of one shape, that of the parameter.
#[must_use]
pub fn adamw<const D: usize>(
    param: Tensor<D>,
    grad: Tensor<D>,
    moments: Option<Moments<D>>,
    step: AdamWStep,
) -> (Tensor<D>, Moments<D>) {
    #[cfg(feature = "flex")]
    if has_kernel(&param) && has_kernel(&grad) {
        let Moments { first, second } = moments.unwrap_or_else(|| Moments::zeros_on_flex(grad.dims()));
        let (param, first, second) = Dispatch::fused_adamw(
            param.into_dispatch(),
            grad.into_dispatch(),
            first.into_dispatch(),
            second.into_dispatch(),
            step,
        );
        let [param, first, second] = [param, first, second].map(Tensor::from_dispatch);
        return (param, Moments { first, second });
    }
    plain::adamw(param, grad, moments, step)
}

/// `decay * average + (1 - decay) * value`, outside autodiff.
///
/// # Shapes
///
/// All of one shape.
#[must_use]
pub fn moving_average<const D: usize>(average: Tensor<D>, value: Tensor<D>, decay: f64) -> Tensor<D> {
    #[cfg(feature = "flex")]
    if has_kernel(&average) && has_kernel(&value) {
        let average = Dispatch::fused_moving_average(average.into_dispatch(), value.into_dispatch(), decay);
        return Tensor::from_dispatch(average);
    }
    plain::moving_average(average, value, decay)
}

/// Without a tape: nothing is differentiated here.
#[cfg(feature = "flex")]
fn has_kernel<const D: usize>(x: &Tensor<D>) -> bool {
    !x.is_autodiff() && is_f32_on_flex(x)
}
