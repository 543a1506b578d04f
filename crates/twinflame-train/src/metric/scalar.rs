//! A numeric burn metric for one quantity.

use std::sync::Arc;
use std::time::Instant;

use burn::tensor::TensorReadError;
use burn::train::metric::state::NumericMetricState;
use burn::train::metric::{
    Metric, MetricAttributes, MetricMetadata, MetricName, Numeric, NumericAttributes, NumericEntry, SerializedEntry,
};

use super::{MetricSpec, Scores, spec};
use crate::task::StepOutput;
use crate::watchdog::Watchdog;

/// Where a metric's value comes from.
#[derive(Clone)]
enum Source {
    /// From what each step computed.
    Step,
    /// From what the trainer knows about each step.
    Trainer(fn(&MetricMetadata) -> Option<f64>),
    /// From the seconds that each step took.
    Time(fn(&StepOutput, f64) -> f64),
    /// From the figures of the whole validation set.
    Score(Scores),
}

/// A metric that shows one number per step and its mean over the epoch.
#[derive(Clone)]
pub struct ScalarMetric {
    spec: &'static MetricSpec,
    source: Source,
    state: NumericMetricState,
    seen: bool,
    last_update: Option<Instant>,
    watchdog: Option<Arc<Watchdog>>,
}

impl ScalarMetric {
    /// A metric that shows what each step reports under `spec`; a step without it is left out.
    pub fn step(spec: &'static MetricSpec) -> Self {
        Self::new(spec, Source::Step)
    }

    /// The learning rate of each step.
    pub fn learning_rate() -> Self {
        let read = |metadata: &MetricMetadata| metadata.lr.as_ref().map(|lr| lr.base());
        Self::new(&spec::LEARNING_RATE, Source::Trainer(read))
    }

    /// Pairs per second: how fast steps arrive, whatever the device does in between.
    pub fn pairs_per_second() -> Self {
        Self::new(
            &spec::SAMPLES_PER_SECOND,
            Source::Time(|step, secs| step.batch_size as f64 / secs),
        )
    }

    /// Share of a step's time that it waited for its batch.
    pub fn data_wait() -> Self {
        Self::new(
            &spec::DATA_WAIT,
            Source::Time(|step, secs| (100.0 * step.data_wait.as_secs_f64() / secs).min(100.0)),
        )
    }

    /// A metric that shows a figure of the whole validation set.
    pub fn score(spec: &'static MetricSpec, scores: Scores) -> Self {
        Self::new(spec, Source::Score(scores))
    }

    fn new(spec: &'static MetricSpec, source: Source) -> Self {
        Self {
            spec,
            source,
            state: NumericMetricState::new(),
            seen: false,
            last_update: None,
            watchdog: None,
        }
    }

    /// Shows every value to the watchdog, too: for the training loss.
    #[must_use]
    pub fn watched(mut self, watchdog: Arc<Watchdog>) -> Self {
        self.watchdog = Some(watchdog);
        self
    }

    /// In the words of burn's own metrics, but without powers of ten for small numbers.
    fn entry(&self, stored: &NumericEntry) -> SerializedEntry {
        if !self.seen {
            return SerializedEntry::not_available(self.spec.unit);
        }
        let show = |entry: NumericEntry| self.spec.show(entry.current());
        let (epoch, batch) = (show(self.state.running_value()), show(self.state.current_value()));
        SerializedEntry::new(format!("epoch {epoch} - batch {batch}"), stored.serialize())
    }
}

impl Metric for ScalarMetric {
    type Input = StepOutput;

    fn name(&self) -> MetricName {
        Arc::new(self.spec.title.to_owned())
    }

    fn attributes(&self) -> MetricAttributes {
        NumericAttributes {
            unit: self.spec.unit.map(str::to_owned),
            higher_is_better: self.spec.higher_is_better,
        }
        .into()
    }

    fn update(&mut self, input: &StepOutput, metadata: &MetricMetadata) -> Result<SerializedEntry, TensorReadError> {
        let value = match &self.source {
            Source::Step => input.values()?.get(self.spec),
            Source::Trainer(read) => read(metadata),
            Source::Time(read) => self.last_update.map(|last| read(input, last.elapsed().as_secs_f64())),
            Source::Score(scores) => scores.get(self.spec.key),
        };
        self.last_update = Some(Instant::now());
        if let Some(value) = value {
            if let Some(watchdog) = &self.watchdog {
                watchdog.observe(metadata.iteration.unwrap_or_default(), value, input.batch_size);
            }
            // A figure of the whole set does not average with what was there before.
            if matches!(self.source, Source::Score(_)) {
                self.state.reset();
            }
            self.state.update(value, input.batch_size.max(1));
            self.seen = true;
        }
        Ok(self.entry(&self.state.current_value()))
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        Ok(self.entry(&self.state.final_value()))
    }

    fn clear(&mut self) {
        self.state.reset();
        self.seen = false;
        // What comes between two epochs is not a step.
        self.last_update = None;
    }
}

impl Numeric for ScalarMetric {
    fn value(&self) -> Option<NumericEntry> {
        self.seen.then(|| self.state.current_value())
    }

    fn running_value(&self) -> Option<NumericEntry> {
        self.seen.then(|| self.state.running_value())
    }

    fn final_value(&self) -> NumericEntry {
        self.state.final_value()
    }
}
