//! Pre-training and retrieval fine-tuning of an ALBEF (Li et al. 2021, <https://arxiv.org/abs/2107.07651>).

mod config;
mod inputs;
mod score;
mod step;
#[cfg(test)]
mod tests;

pub use config::{AlbefTaskConfig, MomentumPer};
pub use inputs::{AlbefInputs, MaskedBatch, NegativeChoice, Purpose};
pub use score::AlbefScore;
pub use step::{AlbefTask, AlbefTexts};
