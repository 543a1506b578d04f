//! Contrastive losses: functions that score the embeddings of a batch.
//!
//! All of them take the whole batch, because the negatives of a pair are the other pairs. [`Targets`] says
//! which pairs are positives, [`ContrastiveLoss`] names the loss, [`matching_accuracy`] tells how often the
//! best match is a positive. [`ContrastiveLoss::gradients`] gives loss and gradients without a tape and
//! without a `[batch, batch]` matrix, for batches that are larger than memory. [`albef`] holds the losses of ALBEF.

pub mod albef;

mod accuracy;
mod clip;
mod contrastive;
mod cross_entropy;
mod gradients;
mod siglip;
mod targets;
#[cfg(test)]
mod tests;

pub use accuracy::{MatchingAccuracy, matching_accuracy};
pub use clip::ClipLoss;
pub use contrastive::ContrastiveLoss;
pub use gradients::{LossGradients, LossScore};
pub use siglip::SigLipLoss;
pub use targets::Targets;

use burn::tensor::{Tensor, assert_shape};

/// Cosine similarities times the scale, before the bias.
///
/// # Shapes
/// - image_embeds: `[rows, embed_dim]`, text_embeds: `[batch, embed_dim]`, rows of length 1
/// - logit_scale: `[1]`, natural log of the inverse temperature
/// - output: `[rows, batch]`
fn scaled_similarities(image_embeds: Tensor<2>, text_embeds: Tensor<2>, logit_scale: Tensor<1>) -> Tensor<2> {
    let [_, embed_dim] = image_embeds.dims();
    assert_shape!(text_embeds, [_, embed_dim]);
    assert_shape!(logit_scale, [1]);
    image_embeds.matmul(text_embeds.transpose()) * logit_scale.exp().reshape([1, 1])
}

/// Adds the learned bias to `[rows, batch]` logits.
fn add_bias(logits: Tensor<2>, logit_bias: Option<Tensor<1>>) -> Tensor<2> {
    match logit_bias {
        Some(bias) => logits + bias.reshape([1, 1]),
        None => logits,
    }
}
