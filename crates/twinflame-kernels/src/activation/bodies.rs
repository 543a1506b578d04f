//! The operations made of burn's primitives, for any backend.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

use burn::backend::{Backend, tensor::FloatTensor};

/// `1.702`: the slope with which a sigmoid imitates the normal distribution function in QuickGELU
/// (Hendrycks & Gimpel 2016, <https://arxiv.org/abs/1606.08415>, section 2).
pub(crate) const QUICK_GELU_SLOPE: f64 = 1.702;

/// Density of the normal distribution at 0, `1 / sqrt(2 pi)`.
pub(crate) const DENSITY_AT_0: f64 = FRAC_2_SQRT_PI * FRAC_1_SQRT_2 / 2.0;

pub(crate) fn gelu<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    B::float_mul(x.clone(), normal_cdf::<B>(x))
}

/// Not burn's `gelu_backward`, which on a backend without one of its own is the derivative of the approximation with tanh.
pub(super) fn gelu_backward<B: Backend>(x: FloatTensor<B>, grad: FloatTensor<B>) -> FloatTensor<B> {
    let exponent = B::float_mul_scalar(B::float_mul(x.clone(), x.clone()), (-0.5_f64).into());
    let density = B::float_mul_scalar(B::float_exp(exponent), DENSITY_AT_0.into());
    let derivative = B::float_add(normal_cdf::<B>(x.clone()), B::float_mul(x, density));
    B::float_mul(grad, derivative)
}

fn normal_cdf<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let erf = B::float_erf(B::float_mul_scalar(x, FRAC_1_SQRT_2.into()));
    B::float_add_scalar(B::float_mul_scalar(erf, 0.5_f64.into()), 0.5_f64.into())
}

pub(crate) fn quick_gelu<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let sigmoid = B::sigmoid(B::float_mul_scalar(x.clone(), QUICK_GELU_SLOPE.into()));
    B::float_mul(x, sigmoid)
}

pub(super) fn quick_gelu_backward<B: Backend>(x: FloatTensor<B>, grad: FloatTensor<B>) -> FloatTensor<B> {
    let z = B::float_mul_scalar(x, QUICK_GELU_SLOPE.into());
    let sigmoid = B::sigmoid(z.clone());
    let rest = B::float_add_scalar(B::float_neg(sigmoid.clone()), 1.0_f64.into());
    let derivative = B::float_mul(sigmoid, B::float_add_scalar(B::float_mul(z, rest), 1.0_f64.into()));
    B::float_mul(grad, derivative)
}
