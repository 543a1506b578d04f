//! One epoch of batches.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use burn::data::dataloader::{DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;

use super::image_text::{Cursor, Inner, Rank};
use super::pipeline::{Processed, guarded};
use super::plan::{Plan, Slot};
use super::pool::OrderedPool;
use super::{LoaderError, LoaderMode};
use crate::batch::ImageTextBatch;
use crate::dataset::SampleError;
use crate::seed::{Purpose, derive};

/// Samples that a worker takes at a time: few, so that all workers share the first batch and a drop is prompt.
const CHUNK: usize = 16;

/// Neighbouring samples of one batch.
type Chunk = Vec<Slot>;

type Results = Vec<Result<Processed, SampleError>>;

/// The batches of one epoch from a cursor on.
pub(super) struct BatchIterator {
    inner: Arc<Inner>,
    /// Started at the first batch asked for; gone after the last one or an error.
    pool: Option<OrderedPool<Chunk, Results>>,
    epoch: usize,
    /// Next batch to hand out.
    next: usize,
    /// Next batch to submit.
    ahead: usize,
    end: usize,
    plan: Option<(usize, Plan)>,
    failed: bool,
}

impl BatchIterator {
    pub(super) fn new(inner: Arc<Inner>, start: Cursor) -> Self {
        let end = inner.batches_per_epoch();
        let next = start.batch.min(end);
        Self {
            inner,
            pool: None,
            epoch: start.epoch,
            next,
            ahead: next,
            end,
            plan: None,
            failed: false,
        }
    }

    fn start_pool(inner: &Arc<Inner>) -> Result<OrderedPool<Chunk, Results>, LoaderError> {
        let chunks = inner.config.batch_size.div_ceil(CHUNK) * (inner.config.prefetch_batches + 1);
        let work = {
            let inner = inner.clone();
            move |chunk: Chunk| chunk.into_iter().map(|slot| inner.load(slot)).collect()
        };
        OrderedPool::new(inner.config.worker_count().min(chunks), chunks, Arc::new(work))
    }

    /// The samples of batch `batch` of this epoch.
    fn samples(&mut self, batch: usize) -> Vec<Slot> {
        let in_pass = self.inner.planner.num_batches();
        let (pass, batch) = match self.inner.mode {
            LoaderMode::Eval => (0, batch),
            LoaderMode::Train => {
                let overall = self.epoch * self.end + batch;
                (overall / in_pass, overall % in_pass)
            }
        };
        let plan = match self.plan.take() {
            Some((planned, plan)) if planned == pass => plan,
            _ => self.inner.planner.plan(pass),
        };
        // A batch of the plan is one of each process, in their order.
        let Rank { index, .. } = self.inner.rank;
        let size = self.inner.config.batch_size;
        let samples = plan.batch(batch).into_iter().skip(index * size).take(size).collect();
        self.plan = Some((pass, plan));
        samples
    }

    fn submit_ahead(&mut self, pool: &mut OrderedPool<Chunk, Results>) {
        while self.ahead < self.end && self.ahead < self.next + self.inner.config.prefetch_batches {
            for chunk in self.samples(self.ahead).chunks(CHUNK) {
                pool.submit(chunk.to_vec());
            }
            self.ahead += 1;
        }
    }

    fn load_next(&mut self) -> Result<ImageTextBatch, LoaderError> {
        let mut pool = match self.pool.take() {
            Some(pool) => pool,
            None => Self::start_pool(&self.inner)?,
        };
        self.submit_ahead(&mut pool);
        let samples = self.samples(self.next);
        let mut results = Vec::with_capacity(samples.len());
        while results.len() < samples.len()
            && let Some(chunk) = pool.next()
        {
            results.extend(chunk);
        }
        self.next += 1;
        // The workers go on while the batch is put together and used.
        self.submit_ahead(&mut pool);
        self.pool = Some(pool);
        self.inner.assemble(&samples, results)
    }
}

impl Iterator for BatchIterator {
    type Item = Result<ImageTextBatch, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.next >= self.end {
            self.pool = None;
            return None;
        }
        let asked = Instant::now();
        let (epoch, index) = (self.epoch, self.next);
        let batch = self.load_next();
        if batch.is_err() {
            self.failed = true;
            self.pool = None;
        }
        Some(batch.map_err(DatasetError::new).map(|mut batch| {
            batch.epoch = epoch;
            batch.index = index;
            batch.data_wait = asked.elapsed();
            batch
        }))
    }
}

impl DataLoaderIterator<ImageTextBatch> for BatchIterator {
    fn progress(&self) -> Progress {
        let unit = Some("samples".to_owned());
        Progress::new(self.inner.planned(self.next), self.inner.planned(self.end), unit)
    }
}

impl Inner {
    fn load(&self, Slot { pass, sample }: Slot) -> Result<Processed, SampleError> {
        let first = sample - sample % self.source.num_together();
        self.load_with(sample, derive(self.seed, Purpose::Sample, pass, first))
    }

    fn load_with(&self, sample: usize, seed: u64) -> Result<Processed, SampleError> {
        let source = self.source.as_ref();
        guarded(
            || source.name(sample),
            || {
                let stream = sample % source.num_together();
                self.pipeline.process(source, sample, self.mode, seed, stream)
            },
        )
    }

    /// Puts a batch together; counts and replaces or leaves out what is unreadable.
    fn assemble(&self, slots: &[Slot], results: Results) -> Result<ImageTextBatch, LoaderError> {
        let mut batch = ImageTextBatch {
            context_length: self.pipeline.context_length(),
            ..ImageTextBatch::default()
        };
        let mut ids = None;
        for (&slot, result) in slots.iter().zip(results) {
            let Slot { pass, sample } = slot;
            let seed = derive(self.seed, Purpose::Sample, pass, sample);
            match (result, self.mode) {
                (Ok(processed), _) => batch.push(sample, seed, processed, slots.len()),
                (Err(error), LoaderMode::Eval) => self.count_bad(sample, &error)?,
                (Err(error), LoaderMode::Train) => {
                    self.count_bad(sample, &error)?;
                    let ids =
                        ids.get_or_insert_with(|| slots.iter().map(|slot| self.source.image_id(slot.sample)).collect());
                    let (sample, seed, processed) = self.replacement(slot, ids)?;
                    batch.push(sample, seed, processed, slots.len());
                }
            }
        }
        Ok(batch)
    }

    fn count_bad(&self, sample: usize, error: &SampleError) -> Result<(), LoaderError> {
        let mut bad = self.bad();
        bad.add(sample, error.reason(), || error.to_string());
        let max = self.config.max_bad_samples;
        if bad.total() > max {
            return Err(LoaderError::TooManyBad {
                max,
                bad: Box::new(bad.clone()),
            });
        }
        Ok(())
    }

    /// The first readable sample from a random position on; `ids` are the image ids of the batch.
    fn replacement(&self, slot: Slot, ids: &mut HashSet<i64>) -> Result<(usize, u64, Processed), LoaderError> {
        let replaced = slot.sample;
        let seed = derive(self.seed, Purpose::Replacement, slot.pass, replaced);
        let range = self.planner.alike(replaced);
        let first = (seed % range.len() as u64) as usize;
        for step in 0..range.len() {
            let sample = range.start + (first + step) % range.len();
            let id = self.source.image_id(sample);
            if sample == replaced || (self.config.distinct_ids && ids.contains(&id)) {
                continue;
            }
            match self.load_with(sample, seed) {
                Ok(processed) => {
                    ids.insert(id);
                    return Ok((sample, seed, processed));
                }
                Err(error) => self.count_bad(sample, &error)?,
            }
        }
        Err(LoaderError::NoReplacement {
            name: self.source.name(replaced),
            bad: Box::new(self.bad().clone()),
        })
    }
}

impl ImageTextBatch {
    fn push(&mut self, sample: usize, seed: u64, processed: Processed, expected: usize) {
        if self.is_empty() {
            self.images.reserve_exact(expected * processed.pixels.len());
            self.tokens.reserve_exact(expected * processed.tokens.len());
            self.image_size = [processed.size; 2];
        }
        self.images.extend_from_slice(&processed.pixels);
        self.tokens.extend_from_slice(&processed.tokens);
        self.image_ids.push(processed.image_id);
        self.caption_ids.push(processed.caption_id);
        self.sample_indices.push(sample);
        self.sample_seeds.push(seed);
    }
}
