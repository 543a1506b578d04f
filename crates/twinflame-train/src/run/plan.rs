//! What the training loop is given, and what it gives back.

use super::checkpoint::{Checkpoint, Checkpoints};
use super::error::RunError;
use super::folder::RunFolder;
use super::options::Outcome;
use super::state::RunState;
use crate::recipe::RunConfig;

/// Everything that the loop needs and that does not change.
pub(super) struct Plan {
    /// Steps of the whole run.
    pub(super) num_steps: usize,
    /// Batches of an epoch.
    pub(super) batches_per_epoch: usize,
    /// `[run]` of the recipe.
    pub(super) config: RunConfig,
    /// Whether there is a validation set.
    pub(super) validates: bool,
    /// The resolved recipe, which goes into every checkpoint.
    pub(super) recipe_toml: String,
    /// The card, which does so too.
    pub(super) card_json: String,
    /// Where the run begins.
    pub(super) start: RunState,
    /// Where it writes.
    pub(super) folder: RunFolder,
    /// Where it saves.
    pub(super) checkpoints: Checkpoints,
}

/// What the loop leaves behind; burn's own result forgets why it ended when the dashboard closes.
pub(super) struct End {
    /// How it ended.
    pub(super) outcome: Result<Outcome, RunError>,
    /// Where it ended.
    pub(super) state: RunState,
    /// The last checkpoint.
    pub(super) checkpoint: Option<Checkpoint>,
}
