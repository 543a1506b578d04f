//! Tasks: a model, a loss and a training step.
//!
//! A task exists because burn's `TrainStep` must be implemented on a module of our own, and it keeps training out of
//! the models. [`ClipTask`] trains a CLIP, [`AlbefTask`] an ALBEF; [`Task`] is either.

mod albef;
mod cached_step;
mod clip_task;
mod config;
mod kind;
mod output;
mod patch_dropout;
#[cfg(test)]
mod tests;
mod upload;

pub use albef::{
    AlbefInputs, AlbefScore, AlbefTask, AlbefTaskConfig, AlbefTexts, MaskedBatch, MomentumPer, NegativeChoice, Purpose,
};
pub use clip_task::{ClipTask, MAX_LOGIT_SCALE, StepGradients};
pub use config::{ClipTaskConfig, LossKind, TargetKind, TaskConfig, TaskError};
pub(crate) use kind::Embeddings;
pub use kind::{ShownMetrics, Task};
pub use output::{StepOutput, StepValues};
pub use patch_dropout::{kept_patches, num_kept_patches};
pub use upload::{DeviceBatch, StepInputs, upload_pixels};
