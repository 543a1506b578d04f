use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use burn::{
    tensor::{ExecutionError, Tensor, TensorReadError},
    train::metric::ItemLazy,
};

use crate::metric::{MetricSpec, spec};

/// What a training or validation step reports: a few numbers, each with what it is.
///
/// The numbers stay on the device, packed into one tensor, until [`values`](Self::values) reads them in a single
/// transfer. Copies share the result, so several metrics cost one readback.
#[derive(Clone, Debug)]
pub struct StepOutput {
    packed: Tensor<1>,
    specs: Vec<&'static MetricSpec>,
    read: Arc<OnceLock<StepValues>>,
    /// Pairs in the batch.
    pub batch_size: usize,
    /// Time the step waited for its batch.
    pub data_wait: Duration,
}

/// The numbers of a step on the host.
#[derive(Clone, Debug, PartialEq)]
pub struct StepValues(Vec<(&'static MetricSpec, f64)>);

impl StepValues {
    /// The number, in the unit of its spec (shares in percent); `None` if the step does not report it.
    #[must_use]
    pub fn get(&self, spec: &MetricSpec) -> Option<f64> {
        self.0
            .iter()
            .find(|(found, _)| found.key == spec.key)
            .map(|(_, value)| *value)
    }

    /// The loss that was minimised, in nats.
    #[must_use]
    pub fn loss(&self) -> f64 {
        self.get(&spec::LOSS).unwrap_or(f64::NAN)
    }
}

impl StepOutput {
    /// Packs numbers of a step.
    ///
    /// # Shapes
    /// - each number: `[1]`; a share is between 0 and 1
    pub(super) fn new(numbers: Vec<(&'static MetricSpec, Tensor<1>)>, batch_size: usize, data_wait: Duration) -> Self {
        let (specs, numbers): (Vec<_>, Vec<_>) = numbers.into_iter().unzip();
        Self {
            packed: Tensor::cat(numbers.into_iter().map(Tensor::without_autodiff).collect(), 0),
            specs,
            read: Arc::new(OnceLock::new()),
            batch_size,
            data_wait,
        }
    }

    /// The numbers, read from the device the first time.
    ///
    /// # Errors
    /// If the device fails.
    pub fn values(&self) -> Result<StepValues, TensorReadError> {
        if let Some(values) = self.read.get() {
            return Ok(values.clone());
        }
        let numbers: Vec<f32> = self.packed.try_to_vec_as()?;
        let in_unit = |(spec, number): (&&'static MetricSpec, f32)| (*spec, spec.in_unit(f64::from(number)));
        let values = StepValues(self.specs.iter().zip(numbers).map(in_unit).collect());
        Ok(self.read.get_or_init(|| values).clone())
    }
}

impl ItemLazy for StepOutput {
    /// Starts the pending work; nothing is read back yet.
    fn sync(self) -> Result<Self, ExecutionError> {
        self.packed.device().flush()?;
        Ok(self)
    }
}
