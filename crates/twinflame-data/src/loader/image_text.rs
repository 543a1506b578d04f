//! The loader of image-text pairs.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::data::dataloader::{DataLoader, DataLoaderIterator};
use burn::tensor::Device;

use super::iter::BatchIterator;
use super::plan::Planner;
use super::{LoaderConfig, LoaderError, LoaderMode, Pipeline};
use crate::batch::ImageTextBatch;
use crate::dataset::{Share, Source};
use crate::report::BadSamples;

/// Where the next [`iter`](DataLoader::iter) starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// Epoch, from 0.
    pub epoch: usize,
    /// Batch in the epoch, from 0.
    pub batch: usize,
}

/// One of several processes that train together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rank {
    pub(super) index: usize,
    pub(super) count: usize,
}

impl Rank {
    const ALONE: Self = Self { index: 0, count: 1 };
}

/// What a loader is over: samples of the source, and which process takes them.
struct Extent {
    range: Range<usize>,
    rank: Rank,
}

/// Loads batches of image-text pairs on worker threads.
///
/// **Order and augmentation** are a pure function of (seed, pass over the data, sample index): they depend neither on the
/// number of workers nor on what was loaded before, so that [`start_at`](Self::start_at) continues a run exactly.
///
/// **Epochs.** Each `iter()` is the next epoch; [`num_batches`](Self::num_batches) of it is known beforehand. In training an
/// epoch is one pass over the shuffled samples, less what does not fill a batch (another part in each pass), or
/// `batches_per_epoch`. With `distinct_ids` a pass has as many batches as can be filled without a repeated image id. In
/// evaluation every epoch is the same: all samples in order with a short last batch. A mixture ([`Source::shares`]) has
/// `samples_per_epoch` instead of a pass, so many of each part, and each part goes through passes of its own: none of its
/// samples comes again before it had them all.
///
/// **Processes.** [`for_rank`](Self::for_rank) deals the batches out to processes that train together: all get the same number,
/// and each sample goes to one.
///
/// **Unreadable samples** are counted by reason in [`bad_samples`](Self::bad_samples). In training one is replaced, so that the
/// batch size stays: by the next readable sample after a position derived from (seed, pass, index), without an image id that
/// the batch has if `distinct_ids` is set. In evaluation it is left out and the batch is shorter. Over `max_bad_samples` the
/// iterator yields an error with the list and ends. In a mixture it is replaced by one of its part.
///
/// **Shutting down.** Dropping the iterator drops what is queued and joins the workers, at the latest after 16 samples each.
///
/// Batches stay on the host: `to_device` changes nothing.
#[derive(Clone)]
pub struct ImageTextLoader {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) source: Arc<dyn Source>,
    pub(super) pipeline: Pipeline,
    pub(super) config: LoaderConfig,
    pub(super) mode: LoaderMode,
    pub(super) seed: u64,
    pub(super) range: Range<usize>,
    pub(super) rank: Rank,
    pub(super) planner: Planner,
    next: Mutex<Cursor>,
    bad: Mutex<BadSamples>,
}

impl ImageTextLoader {
    /// A loader over all samples of `source`.
    ///
    /// # Errors
    /// A configuration that cannot be, or training data that does not fill one batch.
    pub fn new(
        source: Arc<dyn Source>,
        pipeline: Pipeline,
        config: &LoaderConfig,
        mode: LoaderMode,
        seed: u64,
    ) -> Result<Self, LoaderError> {
        config.validate()?;
        let range = 0..source.num_samples();
        let num_together = source.num_together();
        if mode == LoaderMode::Train && config.distinct_ids {
            if num_together > 1 {
                return Err(LoaderError::DistinctTogether { num_together });
            }
            if !source.shares().is_empty() {
                return Err(LoaderError::DistinctMixture);
            }
        }
        let rank = Rank::ALONE;
        Self::over(source, pipeline, config.clone(), mode, seed, Extent { range, rank }).checked()
    }

    /// The share of process `rank` of `num_ranks` that train together, with epochs and cursor of its own: batches of
    /// `batch_size` each, the same number for every process. Their batches with one index are `num_ranks * batch_size` samples
    /// that follow one another in the order of a pass, so that `distinct_ids` holds across processes too. In evaluation nothing is
    /// shared out.
    ///
    /// # Errors
    /// Training data that does not fill one batch of each process.
    ///
    /// # Panics
    /// If `rank` is not below `num_ranks`.
    pub fn for_rank(&self, rank: usize, num_ranks: usize) -> Result<Self, LoaderError> {
        assert!(rank < num_ranks, "rank {rank} of {num_ranks}: ranks are counted from 0");
        let rank = match self.inner.mode {
            LoaderMode::Train => Rank {
                index: rank,
                count: num_ranks,
            },
            LoaderMode::Eval => Rank::ALONE,
        };
        self.again(self.inner.range.clone(), rank).checked()
    }

    /// The same loader if it has a batch to give, of every part of a mixture.
    fn checked(self) -> Result<Self, LoaderError> {
        let Inner {
            planner,
            source,
            rank,
            mode,
            ..
        } = &*self.inner;
        let batch_size = self.inner.config.batch_size * rank.count;
        if *mode == LoaderMode::Eval {
            return Ok(self);
        }
        if planner.num_batches() == 0 {
            return Err(match planner.num_groups() {
                Some(num_ids) => LoaderError::TooFewIds { batch_size, num_ids },
                None => LoaderError::TooFewSamples {
                    batch_size,
                    num_samples: planner.num_wanted(),
                },
            });
        }
        let counts = planner.counts();
        if let Some(empty) = counts.iter().position(|&count| count == 0) {
            return Err(LoaderError::EmptyShare {
                name: source.shares()[empty].name.clone(),
                samples_per_epoch: planner.num_samples(),
            });
        }
        Ok(self)
    }

    /// A loader of the same kind, at the beginning.
    fn again(&self, range: Range<usize>, rank: Rank) -> Self {
        let Inner {
            source,
            pipeline,
            config,
            mode,
            seed,
            ..
        } = self.inner.as_ref();
        Self::over(
            source.clone(),
            pipeline.clone(),
            config.clone(),
            *mode,
            *seed,
            Extent { range, rank },
        )
    }

    fn over(
        source: Arc<dyn Source>,
        pipeline: Pipeline,
        config: LoaderConfig,
        mode: LoaderMode,
        seed: u64,
        Extent { range, rank }: Extent,
    ) -> Self {
        let batch_size = config.batch_size * rank.count;
        let planner = mode.planner(source.as_ref(), range.clone(), &config, batch_size, seed);
        let (next, bad) = (Mutex::default(), Mutex::default());
        let inner = Inner {
            source,
            pipeline,
            config,
            mode,
            seed,
            range,
            rank,
            planner,
            next,
            bad,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Batches of every epoch.
    pub fn num_batches(&self) -> usize {
        self.inner.batches_per_epoch()
    }

    /// Samples per pass that no batch has: the rest after the last full batch, and with `distinct_ids` what fits into no
    /// batch. Others in each pass. Of a mixture, what rounds `samples_per_epoch` down.
    pub fn num_left_out(&self) -> usize {
        self.inner.planner.num_wanted() - self.inner.planner.num_samples()
    }

    /// How the number of batches of an epoch comes about, in words: for the log of a run.
    pub fn epoch_in_words(&self) -> String {
        let Inner {
            source,
            config,
            planner,
            range,
            ..
        } = &*self.inner;
        let (batches, size, pass) = (self.num_batches(), config.batch_size, planner.num_batches());
        let mut words = format!("an epoch is {batches} batches of {size}");
        match config.batches_per_epoch {
            Some(_) => words.push_str(" as loader.batches_per_epoch says; "),
            None => words.push_str(": "),
        }
        let of_part = |(share, count): (&Share, usize)| {
            let samples = share.samples.len();
            format!("{} {count} of {samples}", share.name)
        };
        let counts = planner.counts();
        let shares: Vec<String> = source.shares().iter().zip(counts).map(of_part).collect();
        match shares.is_empty() {
            true => words.push_str(&format!("a pass over {} samples fills {pass}", range.len())),
            false => words.push_str(&format!(
                "{} samples fill {pass}, each time {}",
                planner.num_wanted(),
                shares.join(", ")
            )),
        }
        match self.num_left_out() {
            0 => {}
            rest if shares.is_empty() => words.push_str(&format!(" and leaves out {rest}, others each time")),
            rest => words.push_str(&format!("; the {rest} that fill no batch are not drawn")),
        }
        words
    }

    /// Makes the next `iter()` start at batch `batch` of epoch `epoch` (both from 0); the ones after it start at the
    /// beginning of the following epochs. `batch` may be `num_batches()`: nothing is left of that epoch.
    pub fn start_at(&self, epoch: usize, batch: usize) {
        *lock(&self.inner.next) = Cursor { epoch, batch };
    }

    /// Where the next `iter()` starts.
    pub fn next_start(&self) -> Cursor {
        *lock(&self.inner.next)
    }

    /// The unreadable samples met so far.
    pub fn bad_samples(&self) -> BadSamples {
        lock(&self.inner.bad).clone()
    }

    /// Where the samples come from.
    pub fn source(&self) -> &Arc<dyn Source> {
        &self.inner.source
    }

    /// What turns samples into model input.
    pub fn pipeline(&self) -> &Pipeline {
        &self.inner.pipeline
    }
}

impl Inner {
    pub(super) fn batches_per_epoch(&self) -> usize {
        let pass = self.planner.num_batches();
        match (self.mode, self.config.batches_per_epoch) {
            (LoaderMode::Train, Some(batches)) if pass > 0 => batches,
            _ => pass,
        }
    }

    /// Samples that batches `0..batches` of an epoch plan.
    pub(super) fn planned(&self, batches: usize) -> usize {
        match self.mode {
            LoaderMode::Train => batches * self.config.batch_size,
            LoaderMode::Eval => (batches * self.config.batch_size).min(self.range.len()),
        }
    }

    pub(super) fn bad(&self) -> MutexGuard<'_, BadSamples> {
        lock(&self.bad)
    }
}

/// The data behind our locks is valid after every statement, so that a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl DataLoader<ImageTextBatch> for ImageTextLoader {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<ImageTextBatch> + 'a> {
        let start = {
            let mut next = lock(&self.inner.next);
            let start = *next;
            *next = Cursor {
                epoch: start.epoch + 1,
                batch: 0,
            };
            start
        };
        Box::new(BatchIterator::new(self.inner.clone(), start))
    }

    fn num_items(&self) -> usize {
        self.inner.planned(self.num_batches())
    }

    fn to_device(&self, _device: &Device) -> Arc<dyn DataLoader<ImageTextBatch>> {
        Arc::new(self.clone())
    }

    /// A loader over the samples `start..end` of the source with epochs and cursor of its own. In training its epoch may be
    /// empty, if they do not fill a batch.
    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<ImageTextBatch>> {
        let range = &self.inner.range;
        let end = (range.start + end).min(range.end);
        let start = (range.start + start).min(end);
        Arc::new(self.again(start..end, self.inner.rank))
    }
}
