use burn::tensor::{Tensor, assert_shape};

use super::{Targets, add_bias, cross_entropy::cross_entropy, scaled_similarities};

/// Symmetric cross-entropy over all image-text pairs of a batch.
///
/// Radford et al. 2021, <https://arxiv.org/abs/2103.00020>, figure 3. With [`Targets::ById`] a row with
/// several positives has the uniform distribution over them as its target (Li et al. 2021,
/// <https://arxiv.org/abs/2107.07651>, as in ALBEF's retrieval fine-tuning).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClipLoss;

impl ClipLoss {
    /// The mean of the image-to-text and the text-to-image cross-entropy.
    ///
    /// # Shapes
    /// - image_embeds, text_embeds: `[batch, embed_dim]`, rows of length 1; row `i` is pair `i`
    /// - logit_scale: `[1]`, natural log of the inverse temperature
    /// - logit_bias: `[1]`; the softmax does not see it, so its gradient is zero
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
        let targets = normalize_rows(targets.positives(&logits));
        // The positives are symmetric, so the rows of the targets serve both directions.
        let image_to_text = cross_entropy(logits.clone(), targets.clone()).mean();
        let text_to_image = cross_entropy(logits.transpose(), targets).mean();
        (image_to_text + text_to_image) * 0.5
    }
}

/// Divides each row of a `[rows, batch]` matrix of zeros and ones by its sum, which is at least 1.
pub(super) fn normalize_rows(positives: Tensor<2>) -> Tensor<2> {
    let counts = positives.clone().sum_dim(1); // [rows, 1]
    positives / counts
}
