//! Which of flex's types take a kernel.

use burn::backend::{Flex, ops::ActivationOps, tensor::FloatTensor};
use burn::tensor::DType;

use super::{ActivationKernels, bodies};
use crate::flex::{elementwise, normal, sigmoid};

/// f32 has kernels; of GELU in other types burn's flex has one pass each way, exact.
impl ActivationKernels for Flex {
    fn fused_gelu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        match x.dtype() {
            DType::F32 => elementwise::map(x, normal::gelu),
            _ => <Self as ActivationOps<Self>>::gelu(x),
        }
    }

    fn fused_gelu_backward(x: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self> {
        match (x.dtype(), grad.dtype()) {
            (DType::F32, DType::F32) => elementwise::scale_by(grad, x, normal::gelu_derivative),
            _ => <Self as ActivationOps<Self>>::gelu_backward(x, grad),
        }
    }

    fn fused_quick_gelu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        match x.dtype() {
            DType::F32 => elementwise::map(x, sigmoid::quick_gelu),
            _ => bodies::quick_gelu::<Self>(x),
        }
    }

    fn fused_quick_gelu_backward(x: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self> {
        match (x.dtype(), grad.dtype()) {
            (DType::F32, DType::F32) => elementwise::scale_by(grad, x, sigmoid::quick_gelu_derivative),
            _ => bodies::quick_gelu_backward::<Self>(x, grad),
        }
    }
}
