//! The measurement itself.

use std::time::{Duration, Instant};

use burn::optim::ModuleOptimizer;
use burn::tensor::{Device, Distribution, Tensor};
use cpu_time::{ProcessTime, ThreadTime};
use twinflame_data::ImageTextBatch;
use twinflame_model::ModelConfig;
use twinflame_train::precision::Precision;

use super::memory::peak_bytes;
use super::profile::{Sampler, Stage, StageTime};
use super::staged::{LEARNING_RATE, StagedStep};
use super::workload::Workload;

/// Steps before the clock starts: buffers are allocated and, on a GPU, kernels compiled and tuned.
const WARM_UP_STEPS: usize = 2;

/// What something took.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lap {
    pub(super) wall: Duration,
    /// Of all threads of this process together, user and system.
    pub(super) cpu: Duration,
    /// Of the thread that runs the steps.
    main_thread_cpu: Duration,
}

/// Parts of a step, each timed until the device is idle.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts {
    /// Upload and normalisation.
    pub(super) data: Lap,
    pub(super) forward: Lap,
    pub(super) backward: Lap,
    /// Optimiser, clamp and averages; of an ALBEF, also the queue.
    pub(super) optimizer: Lap,
}

/// What was timed.
#[derive(Clone, Debug)]
pub(super) struct Measurement {
    /// Median time of a whole step, timed without a wait between its parts.
    pub(super) step: Lap,
    /// Median of each part; `None` for a step in micro-batches, whose parts alternate.
    pub(super) parts: Option<Parts>,
    /// Most memory held during the steps, in bytes.
    pub(super) peak_bytes: Option<u64>,
    /// Floating-point operations a second of a large square matrix product in the same precision.
    pub(super) matmul_flops: f64,
    /// Whether the processor did the work, and no device of its own.
    pub(super) is_host: bool,
}

impl Measurement {
    /// Times the steps and, with a sampler, samples those by parts; of steps in micro-batches all.
    pub(super) fn take(workload: &Workload, device: &Device, sampler: Option<&mut Sampler>) -> anyhow::Result<Self> {
        match &workload.config {
            ModelConfig::Clip(config) => Self::of(workload.clip_task(config, device)?, workload, device, sampler),
            ModelConfig::Albef(config) => Self::of(workload.albef_task(config, device)?, workload, device, sampler),
        }
    }

    fn of<T: StagedStep>(
        task: T,
        workload: &Workload,
        device: &Device,
        mut sampler: Option<&mut Sampler>,
    ) -> anyhow::Result<Self> {
        let mut bench = Bench::new(task, workload.synthetic_batch(), device);
        for _ in 0..WARM_UP_STEPS {
            bench.whole_step(None)?;
        }
        // Samples and the names of functions take memory too.
        let peak_before_samples = sampler.is_some().then(|| peak_bytes(device));
        let mut steps = Vec::new();
        let mut parts = Vec::new();
        for _ in 0..workload.steps {
            if workload.is_whole() {
                steps.push(bench.whole_step(None)?);
                parts.push(bench.step_by_parts(sampler.as_deref_mut())?);
            } else {
                steps.push(bench.whole_step(sampler.as_deref_mut())?);
            }
        }
        let peak_bytes = peak_before_samples.unwrap_or_else(|| peak_bytes(device));
        drop(bench);
        let part = |pick: fn(&Parts) -> Lap| median_lap(parts.iter().map(pick));
        Ok(Self {
            step: median_lap(steps.into_iter()),
            parts: (!parts.is_empty()).then(|| Parts {
                data: part(|parts| parts.data),
                forward: part(|parts| parts.forward),
                backward: part(|parts| parts.backward),
                optimizer: part(|parts| parts.optimizer),
            }),
            peak_bytes,
            matmul_flops: matmul_flops(device, workload.precision)?,
            is_host: is_host(device),
        })
    }

    /// The parts of a step, or the step where it has none.
    pub(super) fn stages(&self) -> Vec<StageTime> {
        let time = |stage, lap: Lap| StageTime {
            stage,
            wall_ms: lap.wall.as_secs_f64() * 1e3,
            cpu_ms: lap.cpu.as_secs_f64() * 1e3,
            main_thread_cpu_ms: lap.main_thread_cpu.as_secs_f64() * 1e3,
        };
        match &self.parts {
            Some(parts) => vec![
                time(Stage::Data, parts.data),
                time(Stage::Forward, parts.forward),
                time(Stage::Backward, parts.backward),
                time(Stage::Optimizer, parts.optimizer),
            ],
            None => vec![time(Stage::Step, self.step)],
        }
    }
}

/// A task in training on a batch that stays the same.
struct Bench<T> {
    device: Device,
    // An update consumes the task and returns its successor; it is only absent in between.
    task: Option<T>,
    optimizer: ModuleOptimizer,
    batch: ImageTextBatch,
}

impl<T: StagedStep> Bench<T> {
    fn new(task: T, batch: ImageTextBatch, device: &Device) -> Self {
        Self {
            device: device.clone(),
            optimizer: task.optimizer(),
            task: Some(task),
            batch,
        }
    }

    fn whole_step(&mut self, mut sampler: Option<&mut Sampler>) -> anyhow::Result<Lap> {
        let Some(task) = self.task.take() else {
            anyhow::bail!("an earlier step failed");
        };
        let (task, lap) = timed(&self.device, &mut sampler, Stage::Step, || {
            let output = task.step(self.batch.clone());
            task.optimize(&mut self.optimizer, LEARNING_RATE.into(), output.grads)
        })?;
        self.task = Some(task);
        Ok(lap)
    }

    fn step_by_parts(&mut self, mut sampler: Option<&mut Sampler>) -> anyhow::Result<Parts> {
        let Some(task) = self.task.take() else {
            anyhow::bail!("an earlier step failed");
        };
        let (device, sampler) = (&self.device, &mut sampler);
        let (inputs, data) = timed(device, sampler, Stage::Data, || task.upload_all(&self.batch))?;
        let (score, forward) = timed(device, sampler, Stage::Forward, || task.score_all(inputs))?;
        let ((grads, remainder), backward) = timed(device, sampler, Stage::Backward, || task.gradients_of(score))?;
        let (task, optimizer) = timed(device, sampler, Stage::Optimizer, || {
            task.update(&mut self.optimizer, grads, remainder)
        })?;
        self.task = Some(task);
        Ok(Parts {
            data,
            forward,
            backward,
            optimizer,
        })
    }
}

/// Does some work and times it until the device is idle; with a sampler it is sampled too.
fn timed<R>(
    device: &Device,
    sampler: &mut Option<&mut Sampler>,
    stage: Stage,
    work: impl FnOnce() -> R,
) -> anyhow::Result<(R, Lap)> {
    let clocked = || {
        let clock = Clock::start(device)?;
        let result = work();
        Ok((result, clock.stop()?))
    };
    match sampler {
        Some(sampler) => sampler.during(stage, clocked),
        None => clocked(),
    }
}

/// A stopwatch that waits for the device before it reads the time.
struct Clock<'a> {
    device: &'a Device,
    wall: Instant,
    cpu: ProcessTime,
    main_thread_cpu: ThreadTime,
}

impl<'a> Clock<'a> {
    fn start(device: &'a Device) -> anyhow::Result<Self> {
        device.sync()?;
        Ok(Self {
            device,
            wall: Instant::now(),
            cpu: ProcessTime::try_now()?,
            main_thread_cpu: ThreadTime::try_now()?,
        })
    }

    fn stop(self) -> anyhow::Result<Lap> {
        self.device.sync()?;
        Ok(Lap {
            wall: self.wall.elapsed(),
            cpu: self.cpu.try_elapsed()?,
            main_thread_cpu: self.main_thread_cpu.try_elapsed()?,
        })
    }
}

/// Only devices with memory of their own have pools.
fn is_host(device: &Device) -> bool {
    device.memory_pool_usage().is_none()
}

/// The best of several products of square matrices, large enough to keep the device busy.
fn matmul_flops(device: &Device, precision: Precision) -> anyhow::Result<f64> {
    const REPEATS: usize = 10;
    let size = if is_host(device) { 1024 } else { 4096 };
    let matrix = || Tensor::<2>::random([size, size], Distribution::Default, device).cast(precision.float_dtype());
    let (left, right) = (matrix(), matrix());
    let mut best = Duration::MAX;
    for _ in 0..REPEATS {
        let clock = Clock::start(device)?;
        let product = left.clone().matmul(right.clone());
        best = best.min(clock.stop()?.wall);
        drop(product);
    }
    Ok(2.0 * (size as f64).powi(3) / best.as_secs_f64())
}

/// The median of each time by itself.
fn median_lap(laps: impl Iterator<Item = Lap>) -> Lap {
    let laps: Vec<Lap> = laps.collect();
    let of = |pick: fn(&Lap) -> Duration| median(laps.iter().map(pick));
    Lap {
        wall: of(|lap| lap.wall),
        cpu: of(|lap| lap.cpu),
        main_thread_cpu: of(|lap| lap.main_thread_cpu),
    }
}

/// The middle one; of an even number, the later of the middle two.
fn median(times: impl Iterator<Item = Duration>) -> Duration {
    let mut times: Vec<Duration> = times.collect();
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_ignores_an_outlier() {
        let times = [5, 1, 900].map(Duration::from_millis);
        assert_eq!(median(times.into_iter()), Duration::from_millis(5));
    }

    #[cfg(feature = "cpu")]
    #[test]
    fn a_step_has_parts_unless_it_runs_in_micro_batches() {
        let mut workload = Workload::tiny("tiny-vit");
        let whole = Measurement::take(&workload, &Device::flex(), None).unwrap();
        assert!(whole.parts.is_some());
        assert!(whole.matmul_flops > 0.0);
        workload.micro_batch_size = Some(2);
        let micro = Measurement::take(&workload, &Device::flex(), None).unwrap();
        assert!(micro.parts.is_none());
    }

    #[cfg(feature = "cpu")]
    #[test]
    fn a_step_of_albef_has_parts_and_no_micro_batches() {
        let mut workload = Workload::tiny("tiny-albef");
        let whole = Measurement::take(&workload, &Device::flex(), None).unwrap();
        assert!(whole.parts.is_some());
        workload.micro_batch_size = Some(2);
        let error = Measurement::take(&workload, &Device::flex(), None).unwrap_err();
        assert!(error.to_string().contains("--micro-batch-size"), "{error}");
    }
}
