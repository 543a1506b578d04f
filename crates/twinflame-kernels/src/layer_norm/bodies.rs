//! Both passes made of burn's primitives, for any backend.

use burn::backend::{Backend, TensorMetadata, tensor::FloatTensor};
use burn::tensor::{DType, FloatDType, Shape};

use super::{Gradients, Kept, Normalised};

pub(crate) fn forward<B: Backend>(
    x: FloatTensor<B>,
    gamma: FloatTensor<B>,
    beta: FloatTensor<B>,
    epsilon: f64,
) -> Normalised<B> {
    let dtype = x.dtype();
    let [x, gamma, beta] = [x, gamma, beta].map(widened::<B>);
    let axis = x.rank() - 1;
    let mean = B::float_mean_dim(x.clone(), axis);
    let centred = B::float_sub(x, mean.clone());
    let variance = B::float_mean_dim(B::float_mul(centred.clone(), centred.clone()), axis);
    let inverse_std = B::float_recip(B::float_sqrt(B::float_add_scalar(variance, epsilon.into())));
    let normal = B::float_mul(centred, inverse_std.clone());
    let output = B::float_add(B::float_mul(normal, as_row::<B>(gamma, axis)), as_row::<B>(beta, axis));
    Normalised {
        output: narrowed::<B>(output, dtype),
        mean,
        inverse_std,
    }
}

pub(super) fn backward<B: Backend>(kept: Kept<B>, grad: FloatTensor<B>) -> Gradients<B> {
    let Kept {
        x,
        gamma,
        mean,
        inverse_std,
    } = kept;
    let [of_x, of_gamma] = [x.dtype(), gamma.dtype()];
    let [x, gamma, grad] = [x, gamma, grad].map(widened::<B>);
    let axis = x.rank() - 1;
    let normal = B::float_mul(B::float_sub(x, mean), inverse_std.clone());
    let grad_beta = sum_of_rows::<B>(grad.clone());
    let grad_gamma = sum_of_rows::<B>(B::float_mul(grad.clone(), normal.clone()));
    let scaled = B::float_mul(grad, as_row::<B>(gamma, axis));
    let along_mean = B::float_mean_dim(scaled.clone(), axis);
    let along_x = B::float_mean_dim(B::float_mul(scaled.clone(), normal.clone()), axis);
    let rest = B::float_sub(B::float_sub(scaled, along_mean), B::float_mul(normal, along_x));
    Gradients {
        of_x: narrowed::<B>(B::float_mul(rest, inverse_std), of_x),
        of_gamma: narrowed::<B>(grad_gamma, of_gamma),
        of_beta: narrowed::<B>(grad_beta, of_gamma),
    }
}

/// f32 for a type of 16 bits, whose squares overflow.
pub(super) fn widened<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    match x.dtype() {
        DType::F16 | DType::BF16 => B::float_cast(x, FloatDType::F32),
        _ => x,
    }
}

/// Back to the type before [`widened`].
pub(super) fn narrowed<B: Backend>(x: FloatTensor<B>, dtype: DType) -> FloatTensor<B> {
    if x.dtype() == dtype {
        x
    } else {
        B::float_cast(x, dtype.into())
    }
}

/// `[d_model]` to `[1, .., d_model]`.
fn as_row<B: Backend>(parameter: FloatTensor<B>, axis: usize) -> FloatTensor<B> {
    let mut shape = vec![1; axis];
    shape.push(parameter.shape().num_elements());
    B::float_reshape(parameter, Shape::from(shape))
}

/// `[.., d_model]` to `[d_model]`.
fn sum_of_rows<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let shape = x.shape();
    let width = shape[shape.num_dims() - 1];
    let rows = shape.num_elements() / width;
    let sum = B::float_sum_dim(B::float_reshape(x, Shape::from(vec![rows, width])), 0);
    B::float_reshape(sum, Shape::from(vec![width]))
}
