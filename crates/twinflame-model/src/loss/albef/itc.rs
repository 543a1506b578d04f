use burn::tensor::{Tensor, activation::softmax, assert_shape};

use crate::{
    FeatureQueue,
    loss::{Targets, clip::normalize_rows, cross_entropy::cross_entropy},
};

/// A batch in the contrastive space, in f32 whatever the encoders compute in.
#[derive(Clone, Debug)]
pub struct Embeds {
    /// `[batch, embed_dim]`, rows of length 1.
    pub images: Tensor<2>,
    /// `[batch, embed_dim]`, rows of length 1; row `i` belongs to image `i`.
    pub texts: Tensor<2>,
}

impl Embeds {
    /// The same without gradient.
    #[must_use]
    pub fn without_autodiff(&self) -> Self {
        Self {
            images: self.images.clone().without_autodiff(),
            texts: self.texts.clone().without_autodiff(),
        }
    }
}

/// Similarities over the temperature, of a batch with the batch and then with the queue.
#[derive(Clone, Debug)]
pub struct Similarities {
    /// `[batch, batch + queue_size]`: row `i` is image `i`, columns are texts.
    pub image_to_text: Tensor<2>,
    /// `[batch, batch + queue_size]`: row `i` is text `i`, columns are images.
    pub text_to_image: Tensor<2>,
}

impl Similarities {
    /// Compares a batch with what the momentum encoders made of the batch, `keys`, and of earlier ones, `queue`.
    ///
    /// `queries` are the online encoders' for the logits of the loss, the momentum encoders' for its soft targets. The
    /// gradient goes into `queries` and `temp`, nowhere else.
    ///
    /// # Shapes
    /// - temp: `[1]`, what similarities are divided by
    ///
    /// # Panics
    /// If `queries`, `keys` and `queue` differ in width, or the first two in batch size.
    #[must_use]
    pub fn new(queries: &Embeds, keys: &Embeds, queue: &FeatureQueue, temp: Tensor<1>) -> Self {
        assert_shape!(temp, [1]);
        let inverse = temp.recip().reshape([1, 1]);
        let keys = keys.without_autodiff();
        let compare = |queries: &Tensor<2>, batch: Tensor<2>, queue: Tensor<2>| {
            let [size, embed_dim] = queries.dims();
            assert_shape!(batch, [size, embed_dim]);
            // Two products and a small concatenation, so that the queue is never copied.
            let products = [batch, queue].map(|keys| queries.clone().matmul(keys.transpose()));
            Tensor::cat(products.to_vec(), 1) * inverse.clone()
        };
        Self {
            image_to_text: compare(&queries.images, keys.texts, queue.text_embeds.val().without_autodiff()),
            text_to_image: compare(&queries.texts, keys.images, queue.image_embeds.val().without_autodiff()),
        }
    }

    /// The part within the batch, without gradient, `[batch, batch]` each: what [`hard_negatives`] chooses by.
    ///
    /// [`hard_negatives`]: super::hard_negatives
    #[must_use]
    pub fn within_batch(&self) -> Self {
        let part = |x: &Tensor<2>| {
            let [batch, _] = x.dims();
            x.clone().without_autodiff().narrow(1, 0, batch)
        };
        Self {
            image_to_text: part(&self.image_to_text),
            text_to_image: part(&self.text_to_image),
        }
    }

    /// All of them times the factors of their rows.
    ///
    /// # Shapes
    /// - factors: `[batch, 1]`
    #[must_use]
    pub fn scaled(&self, factors: &Tensor<2>) -> Self {
        Self {
            image_to_text: self.image_to_text.clone() * factors.clone(),
            text_to_image: self.text_to_image.clone() * factors.clone(),
        }
    }
}

/// What the similarities ought to be, as distributions over their columns.
#[derive(Clone, Debug)]
pub struct ItcTargets {
    /// `[batch, batch + queue_size]`.
    pub image_to_text: Tensor<2>,
    /// `[batch, batch + queue_size]`.
    pub text_to_image: Tensor<2>,
}

impl ItcTargets {
    /// The truth, spread evenly over the positives of a row.
    ///
    /// # Shapes
    /// - like: the similarities that they are for, whose shape, device and float type they have
    ///
    /// # Panics
    /// If the sizes of batch or queue differ.
    #[must_use]
    pub fn new(like: &Similarities, queue: &FeatureQueue, targets: &Targets) -> Self {
        let [batch, columns] = like.image_to_text.dims();
        assert_eq!(columns, batch + queue.len(), "similarities of another queue");
        let in_batch = targets.positives(&like.within_batch().image_to_text);
        let in_queue = targets.positives_in_queue(queue, &in_batch);
        let truth = normalize_rows(Tensor::cat(vec![in_batch, in_queue], 1));
        Self {
            image_to_text: truth.clone(),
            text_to_image: truth,
        }
    }

    /// `alpha` of what the momentum model thinks and `1 - alpha` of these (section 3.3).
    ///
    /// # Shapes
    /// - momentum: [`Similarities`] of the momentum model with itself
    /// - alpha: from 0, no distillation, to 1
    ///
    /// # Panics
    /// If shapes differ.
    #[must_use]
    pub fn distilled(self, momentum: &Similarities, alpha: f64) -> Self {
        let mix = |truth: Tensor<2>, momentum: &Tensor<2>| {
            softmax(momentum.clone().without_autodiff(), 1) * alpha + truth * (1.0 - alpha)
        };
        Self {
            image_to_text: mix(self.image_to_text, &momentum.image_to_text),
            text_to_image: mix(self.text_to_image, &momentum.text_to_image),
        }
    }
}

/// What [`itc_loss`] computes.
#[derive(Clone, Debug)]
pub struct ItcScore {
    /// `[1]`, in nats: the mean of the two below.
    pub loss: Tensor<1>,
    /// `[1]`: mean cross-entropy of images over texts.
    pub image_to_text: Tensor<1>,
    /// `[1]`: mean cross-entropy of texts over images.
    pub text_to_image: Tensor<1>,
}

/// Image-text contrast: the mean of both directions' cross-entropies (Li et al. 2021, equations 2 and 6).
///
/// # Shapes
/// - online: [`Similarities`] of the online model with the momentum model
#[must_use]
pub fn itc_loss(online: &Similarities, targets: &ItcTargets) -> ItcScore {
    let image_to_text = cross_entropy(online.image_to_text.clone(), targets.image_to_text.clone()).mean();
    let text_to_image = cross_entropy(online.text_to_image.clone(), targets.text_to_image.clone()).mean();
    ItcScore {
        loss: (image_to_text.clone() + text_to_image.clone()) * 0.5,
        image_to_text,
        text_to_image,
    }
}
