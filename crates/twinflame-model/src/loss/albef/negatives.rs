use burn::tensor::{Device, Int, Tensor, TensorData, assert_shape};
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};
use serde::{Deserialize, Serialize};

use super::Similarities;

/// How hard negatives are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HardNegatives {
    /// At random, by the softmax of the similarities: what the released code does.
    #[default]
    Sampled,
    /// The most similar.
    Hardest,
}

/// Standard Gumbel noise: the largest of `logit + noise` is a draw from the softmax of the logits.
#[derive(Clone, Debug)]
pub struct GumbelNoise {
    /// `[batch, batch]`.
    pub image_to_text: Tensor<2>,
    /// `[batch, batch]`.
    pub text_to_image: Tensor<2>,
}

/// ChaCha stream of these draws: others from the same seed take other streams.
const STREAM: u64 = 0x6775_6d62;

impl GumbelNoise {
    /// Draws on the host, the rows of sample `i` from seed `i`.
    #[must_use]
    pub fn draw(sample_seeds: &[u64], device: &Device) -> Self {
        let batch = sample_seeds.len();
        let mut values = [Vec::with_capacity(batch * batch), Vec::with_capacity(batch * batch)];
        for &seed in sample_seeds {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(STREAM);
            for direction in &mut values {
                direction.extend((0..batch).map(|_| gumbel(rng.random())));
            }
        }
        let device = device.clone().without_autodiff();
        let [image_to_text, text_to_image] =
            values.map(|values| Tensor::from_data(TensorData::new(values, [batch, batch]), &device));
        Self {
            image_to_text,
            text_to_image,
        }
    }
}

/// From a number in `[0, 1)` to standard Gumbel, finite at both ends.
fn gumbel(uniform: f64) -> f32 {
    let uniform = uniform.max(f64::MIN_POSITIVE);
    -(-uniform.ln()).max(f64::MIN_POSITIVE).ln() as f32
}

/// One hard negative for every image and every text of a batch.
#[derive(Clone, Debug)]
pub struct Negatives {
    /// `[batch]`: row of an image that does not belong to text `i`.
    pub images: Tensor<1, Int>,
    /// `[batch]`: row of a text that does not belong to image `i`.
    pub texts: Tensor<1, Int>,
    /// `[batch]`: 1 where pair `i` has negatives, 0 where every pair of the batch is a positive of it; what is chosen
    /// there means nothing and must not count.
    pub exist: Tensor<1>,
}

/// Far below every similarity, and finite, so that rows without candidates and sums with noise are no special case.
const EXCLUDED: f64 = -1e30;

/// The similarities with positives taken out: their softmax is the distribution that a sampled negative comes from.
///
/// Taken out before the softmax and not after it, as the released code does. The distribution is the same; but where
/// the positives are so similar that nothing is left of the rest, that code divides zero by zero.
///
/// # Shapes
/// - similarities, positives, output: `[batch, batch]`
#[must_use]
pub fn candidate_logits(similarities: Tensor<2>, positives: Tensor<2>) -> Tensor<2> {
    similarities.mask_fill(positives.greater_elem(0.5), EXCLUDED)
}

/// Chooses a negative image for every text and a negative text for every image, on the device.
///
/// Positives are never chosen: neither the pair itself nor, under [`Targets::ById`](crate::loss::Targets::ById), one of
/// the same image or caption.
///
/// # Shapes
/// - similarities: [`Similarities::within_batch`]
/// - positives: `[batch, batch]`, symmetric, ones and zeros
/// - noise: for [`HardNegatives::Sampled`]; `None` is [`HardNegatives::Hardest`], with ties broken by the backend
///
/// # Panics
/// If the batch sizes differ.
#[must_use]
pub fn hard_negatives(similarities: &Similarities, positives: &Tensor<2>, noise: Option<&GumbelNoise>) -> Negatives {
    let [batch, _] = positives.dims();
    let positives = positives.clone().without_autodiff();
    let choose = |similarities: &Tensor<2>, noise: Option<&Tensor<2>>| {
        assert_shape!(similarities, [batch, batch]);
        let logits = candidate_logits(similarities.clone().without_autodiff(), positives.clone());
        let logits = match noise {
            Some(noise) => {
                assert_shape!(noise, [batch, batch]);
                logits + noise.clone()
            }
            None => logits,
        };
        logits.argmax(1).reshape([batch])
    };
    let num_positives = positives.clone().sum_dim(1); // [batch, 1]
    Negatives {
        images: choose(&similarities.text_to_image, noise.map(|noise| &noise.text_to_image)),
        texts: choose(&similarities.image_to_text, noise.map(|noise| &noise.image_to_text)),
        exist: num_positives
            .lower_elem(batch as f64 - 0.5)
            .float()
            .cast(positives.dtype())
            .reshape([batch]),
    }
}
