use burn::tensor::Tensor;

use super::{ClipLoss, SigLipLoss, Targets};

/// The losses that a CLIP can be trained with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContrastiveLoss {
    /// Softmax over the batch.
    Clip(ClipLoss),
    /// A sigmoid for every pair.
    SigLip(SigLipLoss),
}

impl ContrastiveLoss {
    /// The loss of a batch: see [`ClipLoss::forward`] and [`SigLipLoss::forward`].
    ///
    /// # Shapes
    /// - image_embeds, text_embeds: `[batch, embed_dim]`, rows of length 1
    /// - logit_scale, logit_bias: `[1]`
    /// - output: `[1]`, in nats
    ///
    /// # Panics
    /// If `image_embeds` and `text_embeds` differ in shape, or `targets` is of another batch size.
    #[must_use]
    pub fn forward(
        &self,
        image_embeds: Tensor<2>,
        text_embeds: Tensor<2>,
        logit_scale: Tensor<1>,
        logit_bias: Option<Tensor<1>>,
        targets: &Targets,
    ) -> Tensor<1> {
        match self {
            Self::Clip(loss) => loss.forward(image_embeds, text_embeds, logit_scale, logit_bias, targets),
            Self::SigLip(loss) => loss.forward(image_embeds, text_embeds, logit_scale, logit_bias, targets),
        }
    }
}
