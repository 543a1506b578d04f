//! Which tokens a text hides from the model, decided on the host.

use std::collections::BTreeSet;

use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng, seq::SliceRandom};

/// Share of the chosen tokens that become the mask token (Devlin et al. 2018, section 3.1).
const MASK_SHARE: f64 = 0.8;
/// Share of the chosen tokens that become a random one; the rest stays as it is.
const RANDOM_SHARE: f64 = 0.1;
/// Deviations above the mean for which there are slots.
const SLOT_DEVIATIONS: f64 = 3.0;

/// Masked language modelling: how tokens are chosen and replaced.
#[derive(Clone, Debug, PartialEq)]
pub struct MlmMasking {
    probability: f64,
    slots: usize,
    mask_id: i32,
    special_ids: BTreeSet<i32>,
    vocab_size: usize,
}

/// A text with tokens to predict. All but the ids have one element per slot, whether it is in use or not.
#[derive(Clone, Debug, PartialEq)]
pub struct MaskedTokens {
    /// The text as the model sees it.
    pub ids: Vec<i32>,
    /// Where each slot's token is, ascending; 0 in an unused slot.
    pub positions: Vec<i32>,
    /// What each slot's token was; 0 in an unused slot.
    pub labels: Vec<i32>,
    /// 1 for a slot in use, 0 for another.
    pub weights: Vec<f32>,
}

impl MlmMasking {
    /// Chooses tokens with this probability each, except for `special_ids`, of which `mask_id` is one.
    ///
    /// The number of slots is fixed, so that shapes are: the expected number of chosen tokens in a text of
    /// `context_length` tokens, `[CLS]` not counted, and three standard deviations more, rounded up.
    pub fn new(
        probability: f64,
        context_length: usize,
        vocab_size: usize,
        mask_id: i32,
        special_ids: impl IntoIterator<Item = i32>,
    ) -> Self {
        let tokens = context_length.saturating_sub(1);
        let mean = probability * tokens as f64;
        let slots = (mean + SLOT_DEVIATIONS * (mean * (1.0 - probability)).sqrt()).ceil() as usize;
        let special_ids = special_ids.into_iter().chain([mask_id]).collect();
        Self {
            probability,
            slots: slots.clamp(1, tokens.max(1)),
            mask_id,
            special_ids,
            vocab_size,
        }
    }

    /// Slots of every text.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// Chooses and replaces tokens of one text: a function of `seed` and `ids` alone.
    ///
    /// Each token is chosen by itself. If more are chosen than there are slots, which happens to a full text once in a
    /// few hundred times, a random choice among them stays. Of the chosen ones 80 % become the mask token, 10 % any
    /// token of the vocabulary, 10 % stay.
    #[must_use]
    pub fn mask(&self, seed: u64, ids: &[i32]) -> MaskedTokens {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(STREAM);
        let mut chosen: Vec<usize> = (0..ids.len())
            .filter(|&at| rng.random_bool(self.probability) && !self.special_ids.contains(&ids[at]))
            .collect();
        if chosen.len() > self.slots {
            chosen.shuffle(&mut rng);
            chosen.truncate(self.slots);
            chosen.sort_unstable();
        }
        let mut masked = MaskedTokens {
            ids: ids.to_vec(),
            positions: vec![0; self.slots],
            labels: vec![0; self.slots],
            weights: vec![0.0; self.slots],
        };
        for (slot, at) in chosen.into_iter().enumerate() {
            masked.positions[slot] = at as i32;
            masked.labels[slot] = ids[at];
            masked.weights[slot] = 1.0;
            let draw: f64 = rng.random();
            if draw < MASK_SHARE {
                masked.ids[at] = self.mask_id;
            } else if draw < MASK_SHARE + RANDOM_SHARE {
                masked.ids[at] = rng.random_range(0..self.vocab_size) as i32;
            }
        }
        masked
    }
}

/// ChaCha stream of these draws: others from the same seed take other streams.
const STREAM: u64 = 0x6d6c_6d00;
