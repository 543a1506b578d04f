//! The losses of ALBEF (Li et al. 2021, <https://arxiv.org/abs/2107.07651>): functions of embeddings and logits.
//!
//! - [`itc_loss`] aligns images and texts, against momentum features of the batch and of a queue (section 3.2);
//! - [`hard_negatives`] picks, for every image and every text, one that resembles it and does not belong to it;
//! - [`itm_loss`] tells matching pairs from those (section 3.2);
//! - [`mlm_loss`] predicts masked tokens (section 3.2).
//!
//! The first and the last are distilled from the momentum model (section 3.3), by a share `alpha` of the target.

mod itc;
mod itm;
mod mlm;
mod negatives;
#[cfg(test)]
mod tests;

pub use itc::{Embeds, ItcScore, ItcTargets, Similarities, itc_loss};
pub use itm::{ItmScore, itm_loss};
pub use mlm::{MlmScore, mlm_loss};
pub use negatives::{GumbelNoise, HardNegatives, Negatives, candidate_logits, hard_negatives};
