//! ALBEF: align an image and a text encoder, then fuse what they say.
//!
//! Li et al. 2021, <https://arxiv.org/abs/2107.07651>. [`AlbefConfig`] describes a model, [`Albef`] is what trains,
//! [`AlbefEncoders`] the part of it that has a momentum copy, [`FeatureQueue`] what the copy said about earlier batches,
//! [`MlmMasking`] chooses the tokens to predict. The losses are in [`loss::albef`](crate::loss::albef).

mod config;
mod count;
mod flops;
mod masking;
mod model;
mod presets;
mod queue;
#[cfg(test)]
mod tests;

pub use config::{AlbefConfig, BertConfig, DEFAULT_TEMP};
pub use count::AlbefParamCount;
pub use flops::AlbefFlops;
pub use masking::{MaskedTokens, MlmMasking};
pub use model::{Albef, AlbefEncoders, TEMP_RANGE};
pub use presets::albef_presets;
pub use queue::{FeatureQueue, NO_ID, QueueEntries};
