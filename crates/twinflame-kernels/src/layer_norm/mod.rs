//! Layer normalisation over the last axis.

mod autodiff;
pub(crate) mod bodies;
#[cfg(feature = "cube")]
mod cube;
#[cfg(feature = "flex")]
mod flex;

use burn::backend::{Backend, Dispatch, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;

use crate::listed::is_listed;

/// Both passes of layer normalisation for a backend without tape. Shapes as in [`layer_norm`].
pub trait LayerNormPasses: Backend {
    /// Normalises, and keeps the statistics of each row.
    fn layer_norm_forward(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
    ) -> Normalised<Self> {
        bodies::forward::<Self>(x, gamma, beta, epsilon)
    }

    /// The gradients, of that of the output.
    fn layer_norm_backward(kept: Kept<Self>, grad: FloatTensor<Self>) -> Gradients<Self> {
        bodies::backward::<Self>(kept, grad)
    }
}

/// What [`LayerNormPasses::layer_norm_forward`] computes.
#[derive(Debug)]
pub struct Normalised<B: Backend> {
    /// In the shape of the input.
    pub output: FloatTensor<B>,
    /// In the shape of the input, the last axis 1.
    pub mean: FloatTensor<B>,
    /// `1 / sqrt(variance + epsilon)`, in the shape of the mean.
    pub inverse_std: FloatTensor<B>,
}

/// What [`LayerNormPasses::layer_norm_backward`] needs of the forward pass.
#[derive(Debug)]
pub struct Kept<B: Backend> {
    /// The input.
    pub x: FloatTensor<B>,
    /// The factor, `[d_model]`.
    pub gamma: FloatTensor<B>,
    /// [`Normalised::mean`].
    pub mean: FloatTensor<B>,
    /// [`Normalised::inverse_std`].
    pub inverse_std: FloatTensor<B>,
}

/// Gradients of the inputs of [`layer_norm`], in their shapes.
#[derive(Debug)]
pub struct Gradients<B: Backend> {
    /// That of the input.
    pub of_x: FloatTensor<B>,
    /// That of the factor.
    pub of_gamma: FloatTensor<B>,
    /// That of the summand.
    pub of_beta: FloatTensor<B>,
}

/// [`layer_norm`] for a backend, with or without tape; see the documentation of the crate.
#[backend_extension(Cube: cfg(feature = "cube"), Flex: cfg(feature = "flex"), NdArray: cfg(feature = "ndarray"), Autodiff)]
pub trait LayerNormKernel: Backend {
    /// See [`layer_norm`].
    #[cfg_attr(
        not(any(feature = "cube", feature = "flex", feature = "ndarray")),
        allow(
            unused_variables,
            reason = "with no backend in the list, the generated code drops it"
        )
    )]
    fn fused_layer_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        bodies::forward::<Self>(x, gamma, beta, epsilon).output
    }
}

#[cfg(feature = "ndarray")]
mod on_ndarray {
    use burn::backend::NdArray;

    impl super::LayerNormPasses for NdArray {}
    impl super::LayerNormKernel for NdArray {}
}

/// Layer normalisation: each row less its mean, over its standard deviation, times `gamma`, plus `beta`.
///
/// Ba et al. 2016, <https://arxiv.org/abs/1607.06450>. The variance is that of the row itself (not an estimate from `d_model - 1`),
/// and `epsilon` is added to it.
///
/// # Shapes
///
/// - x: `[.., d_model]`, as the output
/// - gamma, beta: `[d_model]`
///
/// # Panics
///
/// If `gamma` or `beta` is not as long as the last axis of `x`, or that is empty.
pub fn layer_norm<const D: usize>(x: Tensor<D>, gamma: Tensor<1>, beta: Tensor<1>, epsilon: f64) -> Tensor<D> {
    let width = x.dims()[D - 1];
    assert!(width > 0, "rows without elements have no mean");
    assert_eq!(gamma.dims(), [width], "gamma has one element for each of a row");
    assert_eq!(beta.dims(), [width], "beta has one element for each of a row");
    let (x, gamma, beta) = (x.into_dispatch(), gamma.into_dispatch(), beta.into_dispatch());
    Tensor::from_dispatch(if is_listed(&x.kind) {
        Dispatch::fused_layer_norm(x, gamma, beta, epsilon)
    } else {
        bodies::forward::<Dispatch>(x, gamma, beta, epsilon).output
    })
}
