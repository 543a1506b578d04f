//! Image encoders.

mod attention_pool;
mod conv;
mod pool;
mod resnet;
mod vit;

use burn::{
    module::Module,
    tensor::{Int, Tensor},
};

pub use attention_pool::AttentionPool;
pub use conv::Conv;
pub(crate) use resnet::EXPANSION;
pub use resnet::{Bottleneck, Downsample, ModifiedResNet};
pub use vit::Vit;

use crate::{BlockOutput, Pass};

/// A batch of images for an [`ImageEncoder`].
#[derive(Clone, Debug)]
pub struct ImageInput {
    /// `[batch, 3, height, width]`, normalised.
    pub pixels: Tensor<4>,
    /// Patch dropout (Li et al. 2022, <https://arxiv.org/abs/2212.00794>): the patches of each image that a [`Vit`]
    /// sees, `[batch, kept]`, row-major indices below [`Clip::num_patches`](crate::Clip::num_patches), class token not
    /// counted. `None` means all. Drawn by the caller, because the model draws no random numbers; a
    /// [`ModifiedResNet`] has no patches and ignores it.
    pub keep_patches: Option<Tensor<2, Int>>,
}

impl From<Tensor<4>> for ImageInput {
    fn from(pixels: Tensor<4>) -> Self {
        Self {
            pixels,
            keep_patches: None,
        }
    }
}

/// The image half of a CLIP.
#[derive(Module, Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "one value per model; boxing would add a level to every parameter path"
)]
pub enum ImageEncoder {
    /// Vision transformer.
    Vit(Vit),
    /// Modified residual network.
    ResNet(ModifiedResNet),
}

impl ImageEncoder {
    /// Features in the joint space, `[batch, embed_dim]`, not normalised.
    pub fn forward(&self, input: ImageInput, pass: Pass) -> Tensor<2> {
        match self {
            Self::Vit(vit) => vit.forward(input),
            Self::ResNet(resnet) => resnet.forward(input.pixels, pass),
        }
    }

    /// The same features, computed without shortcuts, and what came out of every stage.
    pub fn forward_with_blocks(&self, input: ImageInput, pass: Pass) -> (Tensor<2>, Vec<BlockOutput>) {
        match self {
            Self::Vit(vit) => vit.forward_with_blocks(input),
            Self::ResNet(resnet) => resnet.forward_with_blocks(input.pixels, pass),
        }
    }
}
