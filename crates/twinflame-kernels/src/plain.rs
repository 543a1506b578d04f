//! The same functions without a kernel: burn's operations, differentiated by burn. Slower, and what kernels are compared with.

use burn::backend::Dispatch;
use burn::tensor::Tensor;

use crate::activation::bodies as activation;
use crate::layer_norm::bodies as layer_norm_bodies;

/// Twin of [`gelu`](crate::gelu()).
///
/// # Shapes
///
/// Any; the output has the shape of `x`.
pub fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    Tensor::from_dispatch(activation::gelu::<Dispatch>(x.into_dispatch()))
}

/// Twin of [`quick_gelu`](crate::quick_gelu).
///
/// # Shapes
///
/// Any; the output has the shape of `x`.
pub fn quick_gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    Tensor::from_dispatch(activation::quick_gelu::<Dispatch>(x.into_dispatch()))
}

/// Twin of [`layer_norm`](crate::layer_norm()).
///
/// # Shapes
///
/// - x: `[.., d_model]`, as the output
/// - gamma, beta: `[d_model]`
pub fn layer_norm<const D: usize>(x: Tensor<D>, gamma: Tensor<1>, beta: Tensor<1>, epsilon: f64) -> Tensor<D> {
    let (x, gamma, beta) = (x.into_dispatch(), gamma.into_dispatch(), beta.into_dispatch());
    Tensor::from_dispatch(layer_norm_bodies::forward::<Dispatch>(x, gamma, beta, epsilon).output)
}
