use burn::tensor::{Bool, Int, Tensor, TensorData};
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};
use twinflame_data::ImageTextBatch;
use twinflame_model::{
    Dropout,
    albef::MaskedTokens,
    loss::{
        Targets,
        albef::{GumbelNoise, HardNegatives},
    },
};

use super::super::{
    TargetKind,
    upload::{upload_ids, upload_matrix, upload_pixels},
};
use super::AlbefTask;

/// A batch on the device, with every random choice of its step made.
#[derive(Clone, Debug)]
pub struct AlbefInputs {
    /// `[batch, 3, height, width]`, normalised.
    pub pixels: Tensor<4>,
    /// `[batch, tokens]`
    pub ids: Tensor<2, Int>,
    /// `[batch, tokens]`, true at padding.
    pub mask_pad: Tensor<2, Bool>,
    /// `[batch]`, not negative: equal for pairs that show the same image.
    pub image_ids: Tensor<1, Int>,
    /// `[batch]`, not negative: equal for pairs with the same caption.
    pub caption_ids: Tensor<1, Int>,
    /// The tokens to predict, if any.
    pub masked: Option<MaskedBatch>,
    /// How negatives of image-text matching are found.
    pub negatives: NegativeChoice,
    /// What training drops; `None` drops nothing.
    pub dropout: Option<StepDropout>,
}

/// Texts with hidden tokens.
#[derive(Clone, Debug)]
pub struct MaskedBatch {
    /// `[batch, tokens]`: the texts as the model sees them.
    pub ids: Tensor<2, Int>,
    /// `[batch, slots]`: where the hidden tokens are.
    pub positions: Tensor<2, Int>,
    /// `[batch, slots]`: what they were.
    pub labels: Tensor<2, Int>,
    /// `[batch, slots]`: 1 for a slot in use, 0 for another.
    pub weights: Tensor<2>,
}

/// How negatives of image-text matching are found.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "one of it lives at a time")]
pub enum NegativeChoice {
    /// The most similar pair that is no match.
    Hardest,
    /// Drawn by the softmax of the similarities times `hardness`.
    Sampled {
        /// Makes the draw.
        noise: GumbelNoise,
        /// `[batch, 1]`: factor of the similarities of a pair: 0 draws from all alike, 1 as the reference does.
        hardness: Tensor<2>,
    },
}

/// Dropout of the text passes of a step, each its own: the momentum encoders drop as well, as the reference's do.
#[derive(Clone, Debug)]
pub struct StepDropout {
    pub(super) text: Dropout,
    pub(super) momentum_text: Dropout,
    pub(super) fusion: Dropout,
    pub(super) mlm: Dropout,
    pub(super) momentum_mlm: Dropout,
}

/// Token ids and where they are padding, `[batch, tokens]` each.
pub(super) struct PaddedTexts {
    pub(super) ids: Tensor<2, Int>,
    pub(super) mask_pad: Tensor<2, Bool>,
}

/// Whether a step learns from a batch or judges it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Learn: with dropout, and with negatives as the task's configuration says.
    Train,
    /// Judge: without dropout, against the hardest negatives.
    Judge,
}

impl AlbefTask {
    /// Uploads a batch. Masks, noise and dropout come from the seeds of its samples.
    #[must_use]
    pub fn upload(&self, batch: &ImageTextBatch, purpose: Purpose) -> AlbefInputs {
        let (config, device) = (self.config(), self.device());
        let (pixels, texts) = (self.upload_images(batch), self.upload_texts(batch));
        let negatives = match (config.hard_negatives, purpose) {
            (HardNegatives::Sampled, Purpose::Train) => NegativeChoice::Sampled {
                noise: GumbelNoise::draw(&batch.sample_seeds, &device),
                hardness: self.draw_hardness(batch),
            },
            // Figures of a validation should not hang on a draw.
            _ => NegativeChoice::Hardest,
        };
        AlbefInputs {
            pixels,
            ids: texts.ids,
            mask_pad: texts.mask_pad,
            image_ids: upload_ids(queue_ids(&batch.image_ids), &device),
            caption_ids: upload_ids(queue_ids(&batch.caption_ids), &device),
            masked: (config.mlm_weight > 0.0).then(|| self.mask(batch)),
            negatives,
            dropout: match purpose {
                Purpose::Train => self.draw_dropout(&batch.sample_seeds),
                Purpose::Judge => None,
            },
        }
    }

    /// `[batch, 3, height, width]`, normalised.
    pub(super) fn upload_images(&self, batch: &ImageTextBatch) -> Tensor<4> {
        upload_pixels(batch, 0..batch.len(), self.normalization(), &self.device())
    }

    pub(super) fn upload_texts(&self, batch: &ImageTextBatch) -> PaddedTexts {
        let ids = upload_matrix(
            batch.tokens.clone(),
            [batch.len(), batch.context_length],
            &self.device(),
        );
        PaddedTexts {
            mask_pad: ids.clone().equal_elem(self.texts().pad_id),
            ids,
        }
    }

    fn mask(&self, batch: &ImageTextBatch) -> MaskedBatch {
        let masking = &self.texts().masking;
        let rows = batch.tokens.chunks(batch.context_length.max(1));
        let texts: Vec<MaskedTokens> = std::iter::zip(rows, &batch.sample_seeds)
            .map(|(ids, &seed)| masking.mask(seed, ids))
            .collect();
        let device = self.device();
        let matrix = |part: fn(&MaskedTokens) -> &Vec<i32>| {
            let values: Vec<i32> = texts.iter().flat_map(|text| part(text).iter().copied()).collect();
            let columns = values.len() / texts.len().max(1);
            upload_matrix(values, [texts.len(), columns], &device)
        };
        let weights: Vec<f32> = texts.iter().flat_map(|text| text.weights.iter().copied()).collect();
        MaskedBatch {
            ids: matrix(|text| &text.ids),
            positions: matrix(|text| &text.positions),
            labels: matrix(|text| &text.labels),
            weights: Tensor::from_data(TensorData::new(weights, [texts.len(), masking.slots()]), &device),
        }
    }

    /// `[batch, 1]`: which pairs have hard negatives at all, and how hard they are by now.
    fn draw_hardness(&self, batch: &ImageTextBatch) -> Tensor<2> {
        let (share, hardness) = (self.config().hard_negatives_share, self.hardness(batch) as f32);
        let of_pair = |&seed: &u64| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(HARDNESS_STREAM);
            if rng.random::<f64>() < share { hardness } else { 0.0 }
        };
        let values: Vec<f32> = batch.sample_seeds.iter().map(of_pair).collect();
        let shape = [values.len(), 1];
        Tensor::from_data(TensorData::new(values, shape), &self.device().without_autodiff())
    }

    fn draw_dropout(&self, sample_seeds: &[u64]) -> Option<StepDropout> {
        let table = self.texts().dropout.as_ref()?;
        // FNV-1a over the batch: any other batch, and any other pass, drops something else.
        let seed = |pass: u64| {
            sample_seeds
                .iter()
                .fold(0xcbf2_9ce4_8422_2325 ^ pass, |hash: u64, seed| {
                    (hash ^ seed).wrapping_mul(0x0000_0100_0000_01b3)
                })
        };
        Some(StepDropout {
            text: table.draw(seed(0)),
            momentum_text: table.draw(seed(1)),
            fusion: table.draw(seed(2)),
            mlm: table.draw(seed(3)),
            momentum_mlm: table.draw(seed(4)),
        })
    }
}

/// ChaCha stream of the draw who has hard negatives: others from the same seed take other streams.
const HARDNESS_STREAM: u64 = 0x6861_7264; // "hard"

impl AlbefInputs {
    /// The positives of the batch.
    pub(super) fn targets(&self, kind: TargetKind) -> Targets {
        match kind {
            TargetKind::Diagonal => Targets::Diagonal,
            TargetKind::ById => Targets::ById {
                image_ids: self.image_ids.clone(),
                caption_ids: self.caption_ids.clone(),
            },
        }
    }
}

/// Ids as the queue keeps them: 31 bits, the same for a pair in every batch.
///
/// Two of a queue's 65,536 entries meet by chance once in some 2^31 comparisons. They are then taken for positives of
/// each other, which a queue that large does not feel.
fn queue_ids(ids: &[i64]) -> Vec<i32> {
    ids.iter()
        .map(|&id| {
            let mixed = (id as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            (mixed >> 33) as i32
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::queue_ids;

    #[test]
    fn queue_ids_keep_equality_and_are_not_negative() {
        let ids = queue_ids(&[-3, 7, -3, i64::MIN, i64::MAX, 8]);
        assert_eq!(ids[0], ids[2]);
        let distinct: std::collections::BTreeSet<i32> = ids.iter().copied().collect();
        assert_eq!(distinct.len(), 5);
        assert!(ids.iter().all(|&id| id >= 0));
    }
}
