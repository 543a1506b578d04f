//! The images of an evaluation, once and in order.

use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

use super::pipeline::guarded;
use super::pool::OrderedPool;
use super::{LoaderConfig, LoaderError};
use crate::dataset::{EvalSet, ImageList, Place, SampleError};
use crate::report::BadSamples;
use crate::transform::{RgbTensor, Transform};

/// Images of consecutive rows of an [`ImageList`], without the unreadable ones.
///
/// # Shapes
/// - images: `[rows.len(), height, width, 3]`, RGB, `0..=255`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EvalImageBatch {
    /// Rows of the list, ascending.
    pub rows: Vec<usize>,
    /// Pixels.
    pub images: Vec<u8>,
    /// `[height, width]` in pixels.
    pub image_size: [usize; 2],
}

/// Iterates over the images of an [`ImageList`] in batches, loaded ahead by worker threads.
///
/// An unreadable image is counted and left out; over `max_bad_samples` an error ends the iteration.
pub struct EvalImages {
    images: Arc<dyn ImageList>,
    num_images: usize,
    pool: OrderedPool<usize, Result<RgbTensor, SampleError>>,
    submitted: usize,
    row: usize,
    batch_size: usize,
    ahead: usize,
    max_bad_samples: usize,
    bad: BadSamples,
    failed: bool,
}

impl EvalImages {
    /// The images of `set`; see [`EvalImages::over`].
    ///
    /// # Errors
    /// As [`EvalImages::over`].
    pub fn new(set: &EvalSet, transform: Arc<Transform>, config: &LoaderConfig) -> Result<Self, LoaderError> {
        Self::over(Arc::new(set.clone()), transform, config)
    }

    /// Starts the workers. Of `config`, `batch_size`, `num_workers`, `prefetch_batches` and `max_bad_samples` count;
    /// `transform` should be one for evaluation.
    ///
    /// # Errors
    /// An impossible configuration, or no thread to be had.
    pub fn over(
        images: Arc<dyn ImageList>,
        transform: Arc<Transform>,
        config: &LoaderConfig,
    ) -> Result<Self, LoaderError> {
        config.validate()?;
        let ahead = config.batch_size * config.prefetch_batches;
        let work = {
            let images = images.clone();
            move |row: usize| {
                guarded(
                    || images.image_name(row),
                    // Nothing is random in evaluation; the transform merely asks for a generator.
                    || Ok(transform.apply(&images.image(row)?, &mut ChaCha8Rng::seed_from_u64(0))),
                )
            }
        };
        let pool = OrderedPool::new(config.worker_count(), ahead, Arc::new(work))?;
        Ok(Self {
            num_images: images.num_images(),
            images,
            pool,
            submitted: 0,
            row: 0,
            batch_size: config.batch_size,
            ahead,
            max_bad_samples: config.max_bad_samples,
            bad: BadSamples::default(),
            failed: false,
        })
    }

    /// Batches in all.
    pub fn num_batches(&self) -> usize {
        self.num_images.div_ceil(self.batch_size)
    }

    /// The unreadable images met so far, by row.
    pub fn bad_samples(&self) -> &BadSamples {
        &self.bad
    }

    fn load(&mut self) -> Result<EvalImageBatch, LoaderError> {
        let end = (self.row + self.batch_size).min(self.num_images);
        let mut batch = EvalImageBatch::default();
        while self.row < end {
            while self.submitted < (self.row + self.ahead).min(self.num_images) {
                self.pool.submit(self.submitted);
                self.submitted += 1;
            }
            match self.pool.next() {
                Some(Ok(image)) => {
                    batch.rows.push(self.row);
                    batch.images.extend_from_slice(&image.pixels);
                    batch.image_size = [image.size; 2];
                }
                Some(Err(error)) => self.count_bad(&error)?,
                None => break,
            }
            self.row += 1;
        }
        Ok(batch)
    }

    fn count_bad(&mut self, error: &SampleError) -> Result<(), LoaderError> {
        let place = || Place {
            file: None,
            sample: self.images.image_name(self.row),
        };
        self.bad.add(self.row, error, place);
        if self.bad.total() > self.max_bad_samples {
            return Err(LoaderError::TooManyBad {
                max: self.max_bad_samples,
                bad: Box::new(self.bad.clone()),
            });
        }
        Ok(())
    }
}

impl Iterator for EvalImages {
    type Item = Result<EvalImageBatch, LoaderError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.row >= self.num_images {
            return None;
        }
        let batch = self.load();
        self.failed = batch.is_err();
        Some(batch)
    }
}

impl std::fmt::Debug for EvalImages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            images,
            row,
            batch_size,
            bad,
            ..
        } = self;
        f.debug_struct("EvalImages")
            .field("images", images)
            .field("row", row)
            .field("batch_size", batch_size)
            .field("bad", bad)
            .finish_non_exhaustive()
    }
}
