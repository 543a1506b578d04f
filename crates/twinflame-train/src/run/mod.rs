//! A run: from a recipe to a trained model in a folder.
//!
//! burn's `SupervisedTraining` and `Learner` do the work, with a training loop of our own that saves after any
//! step; see [`train()`], [`resume`] and [`load()`]. [`import()`] makes one from the checkpoint of another program.

mod checkpoint;
mod durable;
mod error;
mod finite;
mod folder;
mod import;
mod init;
mod load;
mod log_file;
mod mailbox;
mod options;
mod parts;
mod plan;
mod quiet;
mod state;
mod strategy;
mod terminal;
mod train;
mod validate;

pub use burn::train::Interrupter;
pub use checkpoint::{Checkpoint, CheckpointError, Checkpoints};
pub use error::{LastGood, Resume, RunError};
pub use folder::{RunFolder, RunOrigin};
pub use import::{ImportOptions, import};
pub use load::{LoadedModel, load};
pub use options::{Display, Outcome, RunOptions, RunSummary};
pub use state::{Best, RunState};
pub use terminal::restore_terminal;
pub use train::{resume, train};
