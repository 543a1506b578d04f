//! The kernel for f32, and through it for the types of 16 bits.

use burn::backend::{Flex, TensorMetadata, tensor::FloatTensor};
use burn::tensor::{DType, Shape};

use super::bodies::{self, narrowed, widened};
use super::{Gradients, Kept, LayerNormKernel, LayerNormPasses, Normalised};
use crate::flex::elementwise::{tensor, values, with_owned};
use crate::flex::layer_norm;

type FlexTensor = FloatTensor<Flex>;

impl LayerNormPasses for Flex {
    fn layer_norm_forward(x: FlexTensor, gamma: FlexTensor, beta: FlexTensor, epsilon: f64) -> Normalised<Self> {
        if x.dtype() == DType::F64 {
            return bodies::forward::<Self>(x, gamma, beta, epsilon);
        }
        let dtype = x.dtype();
        let [x, gamma, beta] = [x, gamma, beta].map(widened::<Self>);
        let parameters = layer_norm::Parameters {
            gamma: &values(&gamma),
            beta: &values(&beta),
        };
        let forward = layer_norm::forward(&values(&x), parameters, epsilon as f32);
        let shape = x.shape();
        let mut rows = shape.to_vec();
        rows.pop();
        rows.push(1);
        let rows = Shape::from(rows);
        Normalised {
            output: narrowed::<Self>(tensor(forward.output, shape), dtype),
            mean: tensor(forward.mean, rows.clone()),
            inverse_std: tensor(forward.inverse_std, rows),
        }
    }

    fn layer_norm_backward(kept: Kept<Self>, grad: FlexTensor) -> Gradients<Self> {
        if kept.x.dtype() == DType::F64 {
            return bodies::backward::<Self>(kept, grad);
        }
        let [of_x, of_gamma] = [kept.x.dtype(), kept.gamma.dtype()];
        let [x, gamma, grad] = [kept.x, kept.gamma, grad].map(widened::<Self>);
        assert_eq!(x.shape(), grad.shape(), "a gradient has the shape of its output");
        let kept = layer_norm::Kept {
            x: &values(&x),
            gamma: &values(&gamma),
            mean: &values(&kept.mean),
            inverse_std: &values(&kept.inverse_std),
        };
        let (grad, parameters) = with_owned(grad, |grad| layer_norm::backward(kept, grad));
        let [grad_gamma, grad_beta] = parameters.map(|grad| narrowed::<Self>(tensor(grad, gamma.shape()), of_gamma));
        Gradients {
            of_x: narrowed::<Self>(grad, of_x),
            of_gamma: grad_gamma,
            of_beta: grad_beta,
        }
    }
}

/// The same bits with and without a tape.
impl LayerNormKernel for Flex {
    fn fused_layer_norm(x: FlexTensor, gamma: FlexTensor, beta: FlexTensor, epsilon: f64) -> FlexTensor {
        Self::layer_norm_forward(x, gamma, beta, epsilon).output
    }
}
