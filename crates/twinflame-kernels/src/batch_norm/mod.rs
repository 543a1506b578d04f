//! Batch normalisation, with what follows it in a residual network.

#[cfg(feature = "flex")]
mod autodiff;
#[cfg(feature = "flex")]
mod flex;

#[cfg(feature = "flex")]
use burn::backend::{Backend, Dispatch, backend_extension, tensor::FloatTensor};
use burn::tensor::{FloatDType, Tensor, activation::relu};

#[cfg(feature = "flex")]
use crate::listed::is_f32_on_flex;
use crate::plain;

/// What follows the normalisation.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "made for one call, not kept")]
pub enum Then<const D: usize> {
    /// Nothing.
    Nothing,
    /// ReLU.
    Relu,
    /// This is added, in the shape of the input, and the sum rectified.
    AddRelu(Tensor<D>),
}

impl<const D: usize> Then<D> {
    /// What becomes of normalised values.
    #[must_use]
    pub fn apply(self, normal: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Nothing => normal,
            Self::Relu => relu(normal),
            Self::AddRelu(shortcut) => relu(normal + shortcut),
        }
    }

    /// With a shortcut in another type.
    #[must_use]
    pub fn cast(self, dtype: FloatDType) -> Self {
        match self {
            Self::AddRelu(shortcut) => Self::AddRelu(shortcut.cast(dtype)),
            then => then,
        }
    }
}

/// What [`batch_norm`] computes.
#[derive(Clone, Debug)]
pub struct BatchNormalised<const D: usize> {
    /// In the shape of the input.
    pub output: Tensor<D>,
    /// Of each channel, without gradient: `[channels]`.
    pub mean: Tensor<1>,
    /// The biased variance, without epsilon and without gradient: `[channels]`.
    pub variance: Tensor<1>,
}

/// What the backward pass needs of the forward pass.
#[cfg(feature = "flex")]
#[derive(Debug)]
pub struct BatchNormKept<B: Backend> {
    /// The input.
    pub x: FloatTensor<B>,
    /// The factor, `[channels]`.
    pub gamma: FloatTensor<B>,
    /// The output, where it was rectified.
    pub output: Option<FloatTensor<B>>,
    /// Of each channel: `[channels]`.
    pub mean: FloatTensor<B>,
    /// `1 / sqrt(variance + epsilon)`, `[channels]`.
    pub inverse_std: FloatTensor<B>,
}

/// Output, mean, biased variance and reciprocal deviation.
#[cfg(feature = "flex")]
pub type BatchNormForward<B> = [FloatTensor<B>; 4];

/// Gradients of `x`, `gamma` and `beta`, and that of a shortcut.
#[cfg(feature = "flex")]
pub type BatchNormGradients<B> = ([FloatTensor<B>; 3], Option<FloatTensor<B>>);

/// Both passes of batch normalisation for a backend without tape. Shapes as in [`batch_norm`].
#[cfg(feature = "flex")]
pub trait BatchNormPasses: Backend {
    /// With a shortcut the sum is rectified in any case.
    fn batch_norm_forward(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        shortcut: Option<FloatTensor<Self>>,
        epsilon: f64,
        is_rectified: bool,
    ) -> BatchNormForward<Self>;

    /// The gradients, of that of the output.
    fn batch_norm_backward(
        kept: BatchNormKept<Self>,
        grad: FloatTensor<Self>,
        has_shortcut: bool,
    ) -> BatchNormGradients<Self>;
}

/// [`batch_norm`] for a backend, with or without tape; see the documentation of the crate. Both return the output, the mean and
/// the biased variance.
#[cfg(feature = "flex")]
#[backend_extension(Flex: cfg(feature = "flex"), Autodiff)]
pub trait BatchNormKernel: Backend {
    /// Without a shortcut.
    fn fused_batch_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
        is_rectified: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// With a shortcut, and rectified.
    fn fused_batch_norm_add(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        shortcut: FloatTensor<Self>,
        epsilon: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

/// Batch normalisation by the statistics of the batch: each channel less its mean, over its standard deviation, times `gamma`, plus
/// `beta`; then what follows.
///
/// Ioffe and Szegedy 2015, <https://arxiv.org/abs/1502.03167>, algorithm 1.
///
/// # Shapes
///
/// - x: `[channels, ..]`, as the output
/// - gamma, beta: `[channels]`
///
/// # Panics
///
/// If `gamma` or `beta` has another number of channels, or a shortcut another shape.
pub fn batch_norm<const D: usize>(
    x: Tensor<D>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    epsilon: f64,
    then: Then<D>,
) -> BatchNormalised<D> {
    let channels = x.dims()[0];
    assert_eq!(gamma.dims(), [channels], "gamma has one element for each channel");
    assert_eq!(beta.dims(), [channels], "beta has one element for each channel");
    if let Then::AddRelu(shortcut) = &then {
        assert_eq!(shortcut.dims(), x.dims(), "a shortcut has the shape of the input");
    }
    #[cfg(feature = "flex")]
    if has_kernel(&x, &then) && [&gamma, &beta].into_iter().all(is_f32_on_flex) {
        return by_kernel(x, [gamma, beta], epsilon, then);
    }
    plain::batch_norm(x, gamma, beta, epsilon, then)
}

#[cfg(feature = "flex")]
fn has_kernel<const D: usize>(x: &Tensor<D>, then: &Then<D>) -> bool {
    let is_shortcut_fine = match then {
        Then::AddRelu(shortcut) => is_f32_on_flex(shortcut),
        Then::Nothing | Then::Relu => true,
    };
    is_f32_on_flex(x) && is_shortcut_fine && x.shape().num_elements() > 0
}

#[cfg(feature = "flex")]
fn by_kernel<const D: usize>(
    x: Tensor<D>,
    parameters: [Tensor<1>; 2],
    epsilon: f64,
    then: Then<D>,
) -> BatchNormalised<D> {
    let x = x.into_dispatch();
    let [gamma, beta] = parameters.map(Tensor::into_dispatch);
    let (output, mean, variance) = match then {
        Then::Nothing => Dispatch::fused_batch_norm(x, gamma, beta, epsilon, false),
        Then::Relu => Dispatch::fused_batch_norm(x, gamma, beta, epsilon, true),
        Then::AddRelu(shortcut) => Dispatch::fused_batch_norm_add(x, gamma, beta, shortcut.into_dispatch(), epsilon),
    };
    BatchNormalised {
        output: Tensor::from_dispatch(output),
        mean: Tensor::from_dispatch(mean),
        variance: Tensor::from_dispatch(variance),
    }
}
