//! The kernel for f32 and the types of 16 bits.

use burn::backend::{Cube, TensorMetadata, tensor::FloatTensor};
use burn::tensor::DType;

use super::bodies;
use super::{Gradients, Kept, LayerNormKernel, LayerNormPasses, Normalised};
use crate::cube::CubeKernels;

type CubeTensor = FloatTensor<Cube>;

impl LayerNormPasses for Cube {
    fn layer_norm_forward(x: CubeTensor, gamma: CubeTensor, beta: CubeTensor, epsilon: f64) -> Normalised<Self> {
        if x.dtype() == DType::F64 {
            return bodies::forward::<Self>(x, gamma, beta, epsilon);
        }
        let (output, mean, inverse_std) = Self::cube_layer_norm(x, gamma, beta, epsilon);
        Normalised {
            output,
            mean,
            inverse_std,
        }
    }

    fn layer_norm_backward(kept: Kept<Self>, grad: CubeTensor) -> Gradients<Self> {
        if kept.x.dtype() == DType::F64 {
            return bodies::backward::<Self>(kept, grad);
        }
        let Kept {
            x,
            gamma,
            mean,
            inverse_std,
        } = kept;
        let (of_x, of_gamma, of_beta) = Self::cube_layer_norm_backward(x, gamma, mean, inverse_std, grad);
        Gradients {
            of_x,
            of_gamma,
            of_beta,
        }
    }
}

/// The same bits with and without a tape.
impl LayerNormKernel for Cube {
    fn fused_layer_norm(x: CubeTensor, gamma: CubeTensor, beta: CubeTensor, epsilon: f64) -> CubeTensor {
        Self::layer_norm_forward(x, gamma, beta, epsilon).output
    }
}
