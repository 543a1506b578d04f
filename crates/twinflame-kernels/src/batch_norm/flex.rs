//! The kernels for f32.

use burn::backend::{Flex, TensorMetadata, tensor::FloatTensor};

use super::{BatchNormForward, BatchNormGradients, BatchNormKept, BatchNormKernel, BatchNormPasses};
use crate::flex::batch_norm::{self, Parameters, Then};
use crate::flex::elementwise::{tensor, values, with_owned};

type FlexTensor = FloatTensor<Flex>;

impl BatchNormPasses for Flex {
    fn batch_norm_forward(
        x: FlexTensor,
        gamma: FlexTensor,
        beta: FlexTensor,
        shortcut: Option<FlexTensor>,
        epsilon: f64,
        is_rectified: bool,
    ) -> BatchNormForward<Self> {
        let channels = gamma.shape();
        let parameters = Parameters {
            gamma: &values(&gamma),
            beta: &values(&beta),
        };
        let shortcut = shortcut.as_ref().map(values);
        let then = match &shortcut {
            Some(shortcut) => Then::AddRelu(shortcut),
            None if is_rectified => Then::Relu,
            None => Then::Nothing,
        };
        let forward = batch_norm::forward(&values(&x), parameters, epsilon, then);
        [
            tensor(forward.output, x.shape()),
            tensor(forward.mean, channels.clone()),
            tensor(forward.variance, channels.clone()),
            tensor(forward.inverse_std, channels),
        ]
    }

    fn batch_norm_backward(
        kept: BatchNormKept<Self>,
        grad: FlexTensor,
        has_shortcut: bool,
    ) -> BatchNormGradients<Self> {
        let [shape, channels] = [kept.x.shape(), kept.gamma.shape()];
        assert_eq!(shape, grad.shape(), "a gradient has the shape of its output");
        let output = kept.output.as_ref().map(values);
        let kept = batch_norm::Kept {
            x: &values(&kept.x),
            output: output.as_deref(),
            gamma: &values(&kept.gamma),
            mean: &values(&kept.mean),
            inverse_std: &values(&kept.inverse_std),
        };
        let (of_x, parameters, of_shortcut) = if has_shortcut {
            let (grad, (of_x, parameters)) = with_owned(grad, |grad| batch_norm::backward_with_shortcut(kept, grad));
            (tensor(of_x, shape), parameters, Some(grad))
        } else {
            let (grad, parameters) = with_owned(grad, |grad| batch_norm::backward(kept, grad));
            (grad, parameters, None)
        };
        let [of_gamma, of_beta] = parameters.map(|grad| tensor(grad, channels.clone()));
        ([of_x, of_gamma, of_beta], of_shortcut)
    }
}

/// The same bits with and without a tape.
impl BatchNormKernel for Flex {
    fn fused_batch_norm(
        x: FlexTensor,
        gamma: FlexTensor,
        beta: FlexTensor,
        epsilon: f64,
        is_rectified: bool,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        let [output, mean, variance, _] = Self::batch_norm_forward(x, gamma, beta, None, epsilon, is_rectified);
        (output, mean, variance)
    }

    fn fused_batch_norm_add(
        x: FlexTensor,
        gamma: FlexTensor,
        beta: FlexTensor,
        shortcut: FlexTensor,
        epsilon: f64,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        let [output, mean, variance, _] = Self::batch_norm_forward(x, gamma, beta, Some(shortcut), epsilon, true);
        (output, mean, variance)
    }
}
