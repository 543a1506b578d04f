//! The same functions without a kernel: burn's operations, differentiated by burn. Slower, and what kernels are compared with.

use burn::backend::Dispatch;
use burn::tensor::{
    Tensor,
    module::{BatchNormTrainOutput, batch_norm_train},
};

use crate::activation::bodies as activation;
use crate::attention::{Visibility, bodies as attention};
use crate::batch_norm::{BatchNormalised, Then};
use crate::layer_norm::bodies as layer_norm_bodies;
use crate::optim::{AdamWStep, Moments};

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

/// Twin of [`self_attention`](crate::self_attention).
///
/// # Shapes
///
/// - qkv: `[batch, tokens, 3 width]`
/// - output: `[batch, tokens, width]`
pub fn self_attention(qkv: Tensor<3>, n_heads: usize, visibility: Visibility) -> Tensor<3> {
    let qkv = qkv.into_dispatch();
    let bias = attention::bias_of::<Dispatch>(&qkv, visibility);
    Tensor::from_dispatch(attention::forward::<Dispatch>(qkv, n_heads, bias))
}

/// Twin of [`batch_norm`](crate::batch_norm()).
///
/// # Shapes
///
/// - x: `[channels, ..]`, as the output
/// - gamma, beta: `[channels]`
pub fn batch_norm<const D: usize>(
    x: Tensor<D>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    epsilon: f64,
    then: Then<D>,
) -> BatchNormalised<D> {
    let dims = x.dims();
    let [channels, samples] = [dims[0], dims[1..].iter().product()];
    let rows = x.reshape([1, channels, samples]);
    let BatchNormTrainOutput::<3> { output, mean, variance } = batch_norm_train(rows, gamma, beta, epsilon);
    BatchNormalised {
        output: then.apply(output.reshape(dims)),
        mean,
        variance,
    }
}

/// Twin of [`adamw`](crate::adamw).
///
/// # Shapes
///
/// All of one shape.
#[must_use]
pub fn adamw<const D: usize>(
    param: Tensor<D>,
    grad: Tensor<D>,
    moments: Option<Moments<D>>,
    step: AdamWStep,
) -> (Tensor<D>, Moments<D>) {
    let moments = moments.unwrap_or_else(|| Moments {
        first: grad.zeros_like(),
        second: grad.zeros_like(),
    });
    let first = moments.first * step.beta_1 + grad.clone() * (1.0 - step.beta_1);
    let second = moments.second * step.beta_2 + grad.square() * (1.0 - step.beta_2);
    let [correction_1, correction_2] = step.corrections();
    let delta = first.clone() / correction_1 / ((second.clone() / correction_2).sqrt() + step.epsilon);
    let param = param * step.kept() - delta * step.lr;
    (param, Moments { first, second })
}

/// Twin of [`moving_average`](crate::moving_average).
///
/// # Shapes
///
/// All of one shape.
#[must_use]
pub fn moving_average<const D: usize>(average: Tensor<D>, value: Tensor<D>, decay: f64) -> Tensor<D> {
    average * decay + value * (1.0 - decay)
}
