//! `state.json`: everything a run has to remember beside its records, in one place.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::checkpoint::CheckpointError;

/// Version of the layout of a checkpoint.
pub(super) const FORMAT: u32 = 1;

/// Where a run stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunState {
    /// Version of this layout.
    pub format: u32,
    /// Optimiser steps done.
    pub step: usize,
    /// Epoch in progress, counted from 0.
    pub epoch: usize,
    /// Batches of that epoch that are done: the next one is batch `batch`. After the last one its validation is due.
    pub batch: usize,
    /// Seed of the recipe; with epoch and sample index it decides order and augmentation.
    pub seed: u64,
    /// Image-text pairs trained on.
    pub pairs_seen: u64,
    /// Seconds of training, all processes together.
    pub train_secs: f64,
    /// Best validation so far.
    pub best: Option<Best>,
    /// Validations since the best one, for early stopping.
    pub validations_since_best: usize,
    /// Whether the run has done all its steps.
    pub finished: bool,
}

/// The best validation of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Best {
    /// Step after which it was reached.
    pub step: usize,
    /// Value of the recipe's `run.best` metric.
    pub value: f64,
}

impl RunState {
    /// The beginning of a run.
    pub fn start(seed: u64) -> Self {
        Self {
            format: FORMAT,
            step: 0,
            epoch: 0,
            batch: 0,
            seed,
            pairs_seen: 0,
            train_secs: 0.0,
            best: None,
            validations_since_best: 0,
            finished: false,
        }
    }

    /// Whether the log has a line of this step and split, `"train"` or `"valid"`, from before this state.
    pub(super) fn has_logged(&self, step: usize, split: &str) -> bool {
        // An epoch is not over before its validation is done.
        let validation_is_due = self.batch > 0;
        step < self.step || (step == self.step && (split == "train" || !validation_is_due))
    }

    /// Whether the last `limit` validations, `run.stop_after_validations`, brought nothing better.
    pub(super) fn stopped_early(&self, limit: Option<usize>) -> bool {
        limit.is_some_and(|limit| self.validations_since_best >= limit)
    }

    /// Reads `state.json` of a checkpoint.
    pub(super) fn read(checkpoint: &Path) -> Result<Self, CheckpointError> {
        let path = checkpoint.join(super::checkpoint::STATE_FILE);
        let text = std::fs::read_to_string(&path).map_err(|source| CheckpointError::Io {
            path: path.clone(),
            source,
        })?;
        let state: Self = serde_json::from_str(&text).map_err(|source| CheckpointError::State {
            path: path.clone(),
            source,
        })?;
        match state.format {
            FORMAT => Ok(state),
            found => Err(CheckpointError::Format { path, found }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_validation_that_is_still_due_has_not_been_logged() {
        let mut state = RunState {
            step: 6,
            epoch: 1,
            batch: 3,
            ..RunState::start(0)
        };
        assert!(state.has_logged(6, "train") && state.has_logged(5, "valid"));
        assert!(!state.has_logged(6, "valid") && !state.has_logged(7, "train"));
        state.epoch = 2;
        state.batch = 0;
        assert!(state.has_logged(6, "valid") && !state.has_logged(7, "train"));
    }
}
