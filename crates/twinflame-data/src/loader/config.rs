//! `[loader]` of a recipe.

use std::num::NonZero;
use std::thread;

use serde::{Deserialize, Serialize};

use super::LoaderError;

/// What the batches are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoaderMode {
    /// Random order and draws, full batches only; an unreadable sample is replaced.
    Train,
    /// The source's order, its evaluation images with their first caption, a short last batch; an unreadable sample is
    /// left out.
    Eval,
}

/// How batches are made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LoaderConfig {
    /// Pairs per batch. Default 256.
    pub batch_size: usize,
    /// Worker threads; 0 does the work in the thread that asks for a batch. Left out: as many as the machine has cores.
    /// No effect on what the batches hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_workers: Option<usize>,
    /// Batches that are made or wait ahead of the one being used; host memory grows with it. Default 4.
    pub prefetch_batches: usize,
    /// Distinct unreadable samples that are tolerated; one more stops the run. Default 100.
    pub max_bad_samples: usize,
    /// Whether, in training, no two samples of a batch share an image id. Such samples are each other's false negatives.
    /// Default false.
    pub distinct_ids: bool,
    /// Where the data lies in shards: how many of them are mixed at a time in training. The shards of a pass are put in
    /// another order, and samples are shuffled within each so many; few are read from disk with less seeking, all mix best.
    /// Left out: all. No effect with `distinct_ids`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shuffle_shards: Option<usize>,
    /// Training batches that count as an epoch, to evaluate and save more or less often than once per pass over the data. The
    /// passes go on across such epochs: nothing is repeated before a pass is complete. Left out: one pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batches_per_epoch: Option<usize>,
}

impl Default for LoaderConfig {
    fn default() -> Self {
        Self {
            batch_size: 256,
            num_workers: None,
            prefetch_batches: 4,
            max_bad_samples: 100,
            distinct_ids: false,
            shuffle_shards: None,
            batches_per_epoch: None,
        }
    }
}

impl LoaderConfig {
    /// Checks what needs no data.
    ///
    /// # Errors
    /// If a count that must be positive is 0.
    pub fn validate(&self) -> Result<(), LoaderError> {
        let counts = [
            ("batch_size", self.batch_size),
            ("prefetch_batches", self.prefetch_batches),
            ("shuffle_shards", self.shuffle_shards.unwrap_or(1)),
            ("batches_per_epoch", self.batches_per_epoch.unwrap_or(1)),
        ];
        match counts.into_iter().find(|(_, count)| *count == 0) {
            Some((key, _)) => Err(LoaderError::Zero { key }),
            None => Ok(()),
        }
    }

    pub(super) fn worker_count(&self) -> usize {
        self.num_workers
            .unwrap_or_else(|| thread::available_parallelism().map_or(1, NonZero::get))
    }
}
