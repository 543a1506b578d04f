//! What stops a loader.

use std::io;

use thiserror::Error;

use crate::report::BadSamples;
use crate::tokenizer::TokenizerError;

/// Why a loader cannot be made or cannot go on.
#[derive(Debug, Error)]
pub enum LoaderError {
    /// A count that must be positive.
    #[error("loader.{key} = 0: it must be at least 1")]
    Zero {
        /// Key of the configuration.
        key: &'static str,
    },
    /// Not one full batch.
    #[error(
        "loader.batch_size = {batch_size} but an epoch of the training data has {num_samples} samples, so there is no full batch; lower \
         batch_size to at most {num_samples}"
    )]
    TooFewSamples {
        /// Pairs per batch.
        batch_size: usize,
        /// Samples of an epoch.
        num_samples: usize,
    },
    /// Not one full batch without a repeated image id.
    #[error(
        "loader.batch_size = {batch_size} with distinct_ids = true, but the training data has {num_ids} different image ids, so \
         there is no full batch; lower batch_size to at most {num_ids} or set distinct_ids = false"
    )]
    TooFewIds {
        /// Pairs per batch.
        batch_size: usize,
        /// Distinct image ids in the source.
        num_ids: usize,
    },
    /// Samples that the source wants in one batch and the loader in different ones.
    #[error(
        "loader.distinct_ids = true deals samples to batches one by one, but {num_together} samples of the training data belong \
         together in a batch (counterparts = true); set one of them to false"
    )]
    DistinctTogether {
        /// Samples that belong together.
        num_together: usize,
    },
    /// Distinct ids in a mixture.
    #[error(
        "loader.distinct_ids = true deals all samples to batches, but kind = \"mixture\" takes stated shares; set it to false"
    )]
    DistinctMixture,
    /// A part of a mixture that no epoch has a sample of.
    #[error(
        "data.train.sources.{name}: of {samples_per_epoch} samples an epoch its weight is not worth one; raise it or \
         samples_per_epoch"
    )]
    EmptyShare {
        /// Name of the part.
        name: String,
        /// Samples of an epoch.
        samples_per_epoch: usize,
    },
    /// A context too short for the special tokens.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// Over the budget of unreadable samples.
    #[error("more unreadable samples than loader.max_bad_samples = {max}: {bad}")]
    TooManyBad {
        /// The budget.
        max: usize,
        /// What was found.
        bad: Box<BadSamples>,
    },
    /// No readable sample is left that may stand in for an unreadable one.
    #[error("no readable sample can replace {name} in its batch: {bad}")]
    NoReplacement {
        /// The unreadable sample.
        name: String,
        /// What was found.
        bad: Box<BadSamples>,
    },
    /// The system gives no thread.
    #[error("cannot start a loader thread: {source}; lower loader.num_workers")]
    Thread {
        /// Cause.
        source: io::Error,
    },
}
