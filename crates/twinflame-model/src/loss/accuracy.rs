use burn::tensor::{Tensor, assert_shape};

use super::Targets;

/// How often the best match within the batch is a positive, as a share from 0 to 1.
#[derive(Clone, Debug)]
pub struct MatchingAccuracy {
    /// `[1]`: share of images whose most similar caption is a positive.
    pub image_to_text: Tensor<1>,
    /// `[1]`: share of captions whose most similar image is a positive.
    pub text_to_image: Tensor<1>,
}

/// In-batch retrieval accuracy in both directions. Ties go to the lower index.
///
/// # Shapes
/// - image_embeds, text_embeds: `[batch, embed_dim]`, rows of length 1
///
/// # Panics
/// If `image_embeds` and `text_embeds` differ in shape, or `targets` is of another batch size.
#[must_use]
pub fn matching_accuracy(image_embeds: Tensor<2>, text_embeds: Tensor<2>, targets: &Targets) -> MatchingAccuracy {
    let [batch, embed_dim] = image_embeds.dims();
    assert_shape!(text_embeds, [batch, embed_dim]);
    // Neither a positive scale nor a bias changes which similarity is the largest.
    let similarities = image_embeds
        .without_autodiff()
        .matmul(text_embeds.without_autodiff().transpose()); // [batch, batch]
    let positives = targets.positives(&similarities);
    let hits = |dim: usize| {
        let best = similarities.clone().argmax(dim);
        positives.clone().gather(dim, best).mean()
    };
    MatchingAccuracy {
        image_to_text: hits(1),
        text_to_image: hits(0),
    }
}
