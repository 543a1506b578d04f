use std::sync::{Arc, Mutex, PoisonError};

use burn::{
    lr_scheduler::module_lr_scheduler::ModuleLearningRate,
    module::Module,
    optim::{GradientsParams, ModuleOptimizer},
    tensor::{Device, Tensor},
    train::{InferenceStep, TrainOutput, TrainStep},
};
use twinflame_data::{ImageTextBatch, Normalization};
use twinflame_model::{
    Albef, AlbefEncoders, DropoutTable, FeatureQueue,
    albef::{MlmMasking, QueueEntries},
    weights::{LoadReport, WeightsError, transfer},
};

use super::super::{Embeddings, ShownMetrics, StepOutput, TaskError, clip_task::update_value, config::recompute};
use super::{
    AlbefScore, AlbefTaskConfig,
    inputs::{PaddedTexts, Purpose},
};
use crate::{
    ema::{averaged_copy, update_average},
    grad_norm::clip_to,
    metric::{MetricSpec, spec},
    precision::Precision,
};

/// Pre-training, or retrieval fine-tuning, of an [`Albef`] with momentum distillation.
///
/// A step scores a batch with the online and the momentum encoders, the optimiser updates the online ones; then the
/// batch's momentum features enter the queue, the temperature is clamped, and the momentum encoders follow. The
/// reference lets them follow at the start of the next step, which is the same.
///
/// # Panics
/// A step panics if its batch is empty; in training also if the model is not on an autodiff device.
#[derive(Module, Debug)]
pub struct AlbefTask {
    /// What is trained.
    pub model: Albef,
    /// Moving average of the encoders of `model`, which teaches them. It has parameter ids of its own and no gradient.
    pub momentum: AlbefEncoders,
    /// Momentum features of the latest pairs.
    pub queue: FeatureQueue,
    #[module(skip)]
    settings: Arc<Settings>,
}

/// What a task has to know about texts.
#[derive(Clone, Debug)]
pub struct AlbefTexts {
    /// Id that fills a row.
    pub pad_id: i32,
    /// Which tokens are hidden.
    pub masking: MlmMasking,
    /// Random zeros of dropout, if there is any.
    pub dropout: Option<DropoutTable>,
}

/// Everything about the task that is not a weight.
#[derive(Debug)]
struct Settings {
    config: AlbefTaskConfig,
    texts: AlbefTexts,
    normalization: Normalization,
    batches_per_epoch: usize,
    /// On its way from a step to the queue: burn's step must not change the task, and its update does not see the batch.
    scored: Mutex<Option<QueueEntries>>,
}

impl AlbefTask {
    /// A task on the device of `model`, which needs autodiff for training. `batches_per_epoch` paces the ramp of
    /// `alpha`.
    ///
    /// # Errors
    /// [`TaskError`] if a value is invalid, the model cannot predict tokens and should, or the device lacks the
    /// precision.
    pub fn new(
        model: Albef,
        queue: FeatureQueue,
        config: AlbefTaskConfig,
        texts: AlbefTexts,
        normalization: Normalization,
        batches_per_epoch: usize,
    ) -> Result<Self, TaskError> {
        config.validate()?;
        if config.mlm_weight > 0.0 && model.encoders.text_encoder.mlm_head.is_none() {
            return Err(TaskError::MissingMlmHead);
        }
        config.precision.check(&model.temp.val().device())?;
        let model = model.with_recompute(recompute(config.recompute));
        let task = Self {
            momentum: averaged_copy(&model.encoders),
            model,
            queue,
            settings: Arc::new(Settings {
                config,
                texts,
                normalization,
                batches_per_epoch,
                scored: Mutex::new(None),
            }),
        };
        Ok(task.clamp_temp())
    }

    /// The same with the weights of `other`; the momentum encoders start equal to them.
    ///
    /// # Errors
    /// If they do not fit.
    pub fn started_from(mut self, other: &Albef) -> Result<(Self, LoadReport), WeightsError> {
        let report = transfer(&mut self.model, other)?;
        self.momentum = averaged_copy(&self.model.encoders);
        Ok((self.clamp_temp(), report))
    }

    /// How the task was set up.
    #[must_use]
    pub fn config(&self) -> &AlbefTaskConfig {
        &self.settings.config
    }

    pub(super) fn texts(&self) -> &AlbefTexts {
        &self.settings.texts
    }

    pub(super) fn normalization(&self) -> &Normalization {
        &self.settings.normalization
    }

    /// The device of the model, without autodiff: a batch is a constant of the graph.
    #[must_use]
    pub fn device(&self) -> Device {
        self.model.temp.val().device().without_autodiff()
    }

    /// What a run of this task shows.
    #[must_use]
    pub fn metrics(&self) -> ShownMetrics {
        let config = self.config();
        let mut shown = vec![&spec::LOSS];
        if config.itc_weight > 0.0 {
            shown.push(&spec::ITC);
        }
        if config.itm_weight > 0.0 {
            shown.extend([&spec::ITM, &spec::ITM_ACCURACY]);
        }
        if config.mlm_weight > 0.0 {
            shown.extend([&spec::MLM, &spec::MLM_ACCURACY]);
        }
        shown.extend([&spec::ACCURACY_I2T, &spec::ACCURACY_T2I]);
        let valid = shown.clone();
        shown.extend([&spec::ALPHA, &spec::TEMPERATURE]);
        ShownMetrics {
            train: shown,
            valid,
            scores: spec::RECALLS.to_vec(),
        }
    }

    /// Share of the momentum model in the targets of a batch.
    pub(super) fn alpha(&self, batch: &ImageTextBatch) -> f64 {
        self.paced(batch, AlbefTaskConfig::alpha_at)
    }

    /// What similarities are multiplied by before the negatives of a batch are drawn by them.
    pub(super) fn hardness(&self, batch: &ImageTextBatch) -> f64 {
        self.paced(batch, AlbefTaskConfig::hardness_at)
    }

    fn paced(&self, batch: &ImageTextBatch, at: fn(&AlbefTaskConfig, usize, usize) -> f64) -> f64 {
        let per_epoch = self.settings.batches_per_epoch;
        at(self.config(), batch.epoch * per_epoch + batch.index, per_epoch)
    }

    /// Gradients of the online model's parameters.
    ///
    /// # Panics
    /// If the model is not on an autodiff device.
    #[must_use]
    pub fn backward(&self, score: &AlbefScore) -> GradientsParams {
        GradientsParams::from_grads(score.loss.backward(), &self.model)
    }

    /// Puts the momentum features of a scored batch into the queue.
    #[must_use]
    pub fn enqueue(mut self, entries: QueueEntries) -> Self {
        self.queue = self.queue.enqueue(entries);
        self
    }

    /// Lets the momentum encoders follow the online ones by one step of `batch` pairs.
    #[must_use]
    pub fn follow(mut self, batch: usize) -> Self {
        let momentum = self.config().momentum_of(batch);
        self.momentum = update_average(self.momentum, &self.model.encoders, momentum);
        self
    }

    fn clamp_temp(self) -> Self {
        match self.config().clamp_temp {
            true => self.with_clamped_temp(),
            false => self,
        }
    }

    /// With the temperature brought into its range, whatever `clamp_temp` says.
    pub(crate) fn with_clamped_temp(mut self) -> Self {
        let [low, high] = self.config().temp_range;
        self.model.temp = update_value(self.model.temp, |temp| temp.clamp(low, high));
        self
    }

    /// Unit-length embeddings of a batch, without dropout.
    pub(in super::super) fn embed(&self, batch: &ImageTextBatch) -> Embeddings {
        let precision = self.config().precision;
        let encoders = precision.cast(&self.model.encoders.valid());
        let pixels = self.upload_images(batch).cast(precision.float_dtype());
        let PaddedTexts { ids, mask_pad } = self.upload_texts(batch);
        let f32 = Precision::F32.float_dtype();
        Embeddings {
            images: encoders.encode_image(pixels).cast(f32),
            texts: encoders.encode_text(ids, &mask_pad, None).cast(f32),
        }
    }
}

/// What is reported of a score.
fn numbers(score: AlbefScore) -> Vec<(&'static MetricSpec, Tensor<1>)> {
    let mut numbers = vec![
        (&spec::LOSS, score.loss),
        (&spec::ACCURACY_I2T, score.accuracy.image_to_text),
        (&spec::ACCURACY_T2I, score.accuracy.text_to_image),
    ];
    numbers.extend(score.itc.map(|itc| (&spec::ITC, itc.loss)));
    if let Some(itm) = score.itm {
        numbers.extend([(&spec::ITM, itm.loss), (&spec::ITM_ACCURACY, itm.accuracy)]);
    }
    if let Some(mlm) = score.mlm {
        numbers.extend([(&spec::MLM, mlm.loss), (&spec::MLM_ACCURACY, mlm.accuracy)]);
    }
    numbers
}

impl TrainStep for AlbefTask {
    type Input = ImageTextBatch;
    type Output = StepOutput;

    fn step(&self, batch: ImageTextBatch) -> TrainOutput<StepOutput> {
        if self.config().itm_weight > 0.0 && one_image(&batch) {
            tracing::warn!(
                "batch {} of epoch {} shows one image only: nothing to match it against, so it does not count for ITM",
                batch.index + 1,
                batch.epoch + 1
            );
        }
        let alpha = self.alpha(&batch);
        let score = self.score(&self.upload(&batch, Purpose::Train), alpha);
        let grads = self.backward(&score);
        let (grads, norm) = clip_to(grads, &self.model, self.config().max_grad_norm);
        let scored = score.entries.clone();
        *self.settings.scored.lock().unwrap_or_else(PoisonError::into_inner) = Some(scored);
        let mut numbers = numbers(score);
        numbers.push((&spec::ALPHA, Tensor::from_floats([alpha as f32], &self.device())));
        numbers.push((&spec::TEMPERATURE, self.model.temp.val()));
        numbers.extend(norm.map(|norm| (&spec::GRAD_NORM, norm)));
        let item = StepOutput::new(numbers, batch.len(), batch.data_wait);
        TrainOutput { grads, item }
    }

    fn optimize(self, optim: &mut ModuleOptimizer, lr: ModuleLearningRate, grads: GradientsParams) -> Self {
        let task = optim.step(lr, self, grads).clamp_temp();
        let scored = task
            .settings
            .scored
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        match scored {
            Some(entries) => {
                let [batch] = entries.image_ids.dims();
                task.enqueue(entries).follow(batch)
            }
            None => task,
        }
    }
}

impl InferenceStep for AlbefTask {
    type Input = ImageTextBatch;
    type Output = StepOutput;

    /// The losses without dropout and distillation; negatives are the hardest.
    fn step(&self, batch: ImageTextBatch) -> StepOutput {
        let score = self.score(&self.upload(&batch, Purpose::Judge), 0.0);
        StepOutput::new(numbers(score), batch.len(), batch.data_wait)
    }
}

/// Whether all pairs show the same thing.
fn one_image(batch: &ImageTextBatch) -> bool {
    let mut ids = batch.image_ids.iter();
    let first = ids.next();
    ids.all(|id| Some(id) == first)
}
