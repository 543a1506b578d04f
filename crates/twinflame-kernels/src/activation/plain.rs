//! The same functions without a kernel: burn's operations, differentiated by burn. Slower, and what kernels are compared with.

use burn::backend::Dispatch;
use burn::tensor::Tensor;

use super::bodies;

/// Twin of [`gelu`](crate::gelu()).
///
/// # Shapes
///
/// Any; the output has the shape of `x`.
pub fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    Tensor::from_dispatch(bodies::gelu::<Dispatch>(x.into_dispatch()))
}

/// Twin of [`quick_gelu`](crate::quick_gelu).
///
/// # Shapes
///
/// Any; the output has the shape of `x`.
pub fn quick_gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    Tensor::from_dispatch(bodies::quick_gelu::<Dispatch>(x.into_dispatch()))
}
