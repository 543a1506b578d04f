//! GELU and QuickGELU.

mod autodiff;
pub(crate) mod bodies;
#[cfg(feature = "flex")]
mod flex;

#[cfg(feature = "flex")]
pub(crate) use bodies::{DENSITY_AT_0, QUICK_GELU_SLOPE};

use burn::backend::{Backend, Dispatch, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;

use crate::listed::is_listed;

/// GELU, QuickGELU and their backward passes for a backend; see the documentation of the crate.
///
/// A backward pass takes the input of the forward pass and the gradient of its output, both of one shape, and returns the
/// gradient of the input.
#[backend_extension(Cube: cfg(feature = "cube"), Flex: cfg(feature = "flex"), NdArray: cfg(feature = "ndarray"), Autodiff)]
pub trait ActivationKernels: Backend {
    /// See [`gelu`].
    fn fused_gelu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        bodies::gelu::<Self>(x)
    }

    /// `grad * (normal_cdf(x) + x normal_density(x))`.
    fn fused_gelu_backward(x: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self> {
        bodies::gelu_backward::<Self>(x, grad)
    }

    /// See [`quick_gelu`].
    fn fused_quick_gelu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        bodies::quick_gelu::<Self>(x)
    }

    /// `grad * s (1 + 1.702 x (1 - s))` with `s = sigmoid(1.702 x)`.
    fn fused_quick_gelu_backward(x: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self> {
        bodies::quick_gelu_backward::<Self>(x, grad)
    }
}

/// burn fuses the operations of each body, with those around them.
#[cfg(feature = "cube")]
impl ActivationKernels for burn::backend::Cube {}

#[cfg(feature = "ndarray")]
impl ActivationKernels for burn::backend::NdArray {}

/// GELU, exact: `x * normal_cdf(x)`.
///
/// Hendrycks & Gimpel 2016, <https://arxiv.org/abs/1606.08415>.
///
/// With flex and f32, the value is within 8 units in the last place for any `x`, for negative ones too, where
/// `0.5 x (1 + erf(x / sqrt 2))` in f32 loses all digits; beyond -12.9 it is zero.
///
/// # Shapes
///
/// Any; the output has the shape of `x`.
pub fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let x = x.into_dispatch();
    Tensor::from_dispatch(if is_listed(&x.kind) {
        Dispatch::fused_gelu(x)
    } else {
        bodies::gelu::<Dispatch>(x)
    })
}

/// QuickGELU: `x * sigmoid(1.702 x)`, the activation of OpenAI's CLIP.
///
/// Hendrycks & Gimpel 2016, <https://arxiv.org/abs/1606.08415>, section 2.
///
/// # Shapes
///
/// Any; the output has the shape of `x`.
pub fn quick_gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let x = x.into_dispatch();
    Tensor::from_dispatch(if is_listed(&x.kind) {
        Dispatch::fused_quick_gelu(x)
    } else {
        bodies::quick_gelu::<Dispatch>(x)
    })
}
