use burn::tensor::{Tensor, activation::log_sigmoid, assert_shape};

use super::{Targets, add_bias, scaled_similarities};

/// Binary cross-entropy of every image-text pair of a batch: sigmoid instead of softmax.
///
/// Zhai et al. 2023, <https://arxiv.org/abs/2303.15343>, algorithm 1. Start from `logit_scale = ln 10` and
/// `logit_bias = -10`, as the paper does: nearly all pairs are negatives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SigLipLoss;

impl SigLipLoss {
    /// The sum of the losses of all `batch * batch` pairs, divided by the number of images.
    ///
    /// # Shapes
    /// - image_embeds, text_embeds: `[batch, embed_dim]`, rows of length 1; row `i` is pair `i`
    /// - logit_scale: `[1]`, natural log of the inverse temperature
    /// - logit_bias: `[1]`, added to every logit
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
        let [batch, embed_dim] = image_embeds.dims();
        assert_shape!(text_embeds, [batch, embed_dim]);
        let logits = scaled_similarities(image_embeds, text_embeds, logit_scale);
        let logits = add_bias(logits, logit_bias); // [batch, batch]
        let signs = signs(targets.positives(&logits));
        log_sigmoid(logits * signs).sum() * (-1.0 / batch as f64)
    }
}

/// Turns ones and zeros into `+1` for positives and `-1` for negatives.
pub(super) fn signs(positives: Tensor<2>) -> Tensor<2> {
    positives * 2.0 - 1.0
}
