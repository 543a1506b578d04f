use std::{ops::Range, sync::Arc};

use burn::{
    lr_scheduler::module_lr_scheduler::ModuleLearningRate,
    module::{Module, Param},
    optim::{GradientsParams, ModuleOptimizer},
    tensor::{Device, Int, Tensor},
    train::{InferenceStep, TrainOutput, TrainStep},
};
use twinflame_data::{ImageTextBatch, Normalization};
use twinflame_model::{
    Clip, ImageInput, Pass,
    loss::{ContrastiveLoss, LossScore, Targets, matching_accuracy},
    normalize,
    weights::{LoadReport, WeightsError, transfer},
};

use super::{
    ClipTaskConfig, DeviceBatch, Embeddings, ShownMetrics, StepInputs, StepOutput, TargetKind, TaskError,
    config::recompute,
    upload::{HostInputs, upload_ids},
};
use crate::{
    ema::{averaged_copy, update_average},
    grad_norm::clip_to,
    metric::{MetricSpec, spec},
    precision::Precision,
};

/// `ln 100`: CLIP never scales similarities by more than 100 (Radford et al. 2021, section 2.5).
pub const MAX_LOGIT_SCALE: f64 = 4.605_170_185_988_092;

/// Contrastive training of a [`Clip`].
///
/// A step uploads a batch, computes the loss and its gradient, clips it, and lets the optimiser update the model;
/// then the scale is clamped to `[1, 100]` and the average of the weights moves. Nothing is read back to the host.
///
/// burn's `grads_accumulation` must stay off: it would add up losses of small batches instead of enlarging the batch.
/// That is what [`ClipTaskConfig::micro_batch_size`] is for.
///
/// # Panics
/// A step panics if its batch is empty; in training also if the model is not on an autodiff device.
#[derive(Module, Debug)]
pub struct ClipTask {
    /// What is trained.
    pub model: Clip,
    /// Moving average of the weights of `model`, if `ema_decay` is set. It has parameter ids of its own.
    pub ema: Option<Clip>,
    #[module(skip)]
    settings: Arc<Settings>,
}

/// Everything about the task that is not a weight.
#[derive(Debug)]
struct Settings {
    config: ClipTaskConfig,
    patch_dropout: f64,
    normalization: Normalization,
}

/// Gradients of a step and what it scored.
#[derive(Debug)]
pub struct StepGradients {
    /// Of the model's parameters.
    pub grads: GradientsParams,
    /// Loss and in-batch accuracy.
    pub score: LossScore,
}

impl ClipTask {
    /// A task on the device of `model`, which needs autodiff for training.
    ///
    /// `patch_dropout` is the share of patches that a training step drops, 0 to 1; it does nothing for a ResNet.
    ///
    /// # Errors
    /// [`TaskError`] if a value is invalid, the loss does not fit the model, or the device lacks the precision.
    pub fn new(
        model: Clip,
        config: ClipTaskConfig,
        patch_dropout: f64,
        normalization: Normalization,
    ) -> Result<Self, TaskError> {
        config.validate()?;
        if matches!(config.loss.loss(), ContrastiveLoss::SigLip(_)) && model.logit_bias.is_none() {
            return Err(TaskError::MissingLogitBias);
        }
        config.precision.check(&model.logit_scale.val().device())?;
        let model = model.with_recompute(recompute(config.recompute));
        let ema = config.ema_decay.map(|_| averaged_copy(&model));
        let settings = Settings {
            config,
            patch_dropout,
            normalization,
        };
        Ok(Self {
            model,
            ema,
            settings: Arc::new(settings),
        })
    }

    /// The same with the weights of `other`; the average starts there, too.
    ///
    /// # Errors
    /// If they do not fit.
    pub fn started_from(mut self, other: &Clip) -> Result<(Self, LoadReport), WeightsError> {
        let report = transfer(&mut self.model, other)?;
        self.ema = self.ema.map(|_| averaged_copy(&self.model));
        Ok((self, report))
    }

    /// How the task was set up.
    #[must_use]
    pub fn config(&self) -> &ClipTaskConfig {
        &self.settings.config
    }

    /// What a run of this task shows.
    #[must_use]
    pub fn metrics(&self) -> ShownMetrics {
        let mut shown = ShownMetrics {
            train: vec![
                &spec::LOSS,
                &spec::ACCURACY_I2T,
                &spec::ACCURACY_T2I,
                &spec::LOGIT_SCALE,
            ],
            valid: vec![&spec::LOSS, &spec::ACCURACY_I2T, &spec::ACCURACY_T2I],
            scores: spec::RECALLS.to_vec(),
        };
        if self.config().ema_decay.is_some() {
            shown.valid.push(&spec::EMA_LOSS);
            shown.scores.extend([&spec::EMA_RECALL_I2T_1, &spec::EMA_RECALL_T2I_1]);
        }
        shown
    }

    /// The device of the model, without autodiff: a batch is a constant of the graph.
    #[must_use]
    pub fn device(&self) -> Device {
        self.model.logit_scale.val().device().without_autodiff()
    }

    /// Uploads the pairs in `range` and draws the patches of their images.
    ///
    /// # Panics
    /// If `range` is not within the batch.
    #[must_use]
    pub fn upload(&self, batch: &ImageTextBatch, range: Range<usize>, pass: Pass) -> DeviceBatch {
        self.host_inputs(batch).upload(range, pass)
    }

    fn host_inputs<'a>(&self, batch: &'a ImageTextBatch) -> HostInputs<'a> {
        HostInputs {
            batch,
            normalization: self.settings.normalization,
            num_patches: self.model.num_patches(),
            patch_dropout: self.settings.patch_dropout,
            device: self.device(),
        }
    }

    /// The positives of a batch.
    #[must_use]
    pub fn targets(&self, batch: &ImageTextBatch) -> Targets {
        match self.config().targets {
            TargetKind::Diagonal => Targets::Diagonal,
            TargetKind::ById => Targets::ById {
                image_ids: upload_ids(batch.dense_image_ids(), &self.device()),
                caption_ids: upload_ids(batch.dense_caption_ids(), &self.device()),
            },
        }
    }

    /// Runs the model on a whole batch and scores it; the loss has its graph.
    ///
    /// # Panics
    /// If `targets` is of another batch size.
    #[must_use]
    pub fn forward_loss(&self, batch: DeviceBatch, targets: &Targets, pass: Pass) -> LossScore {
        let precision = self.config().precision;
        let model = precision.cast(&self.model);
        let images = embed_images(&model, batch.images, precision, pass);
        let texts = embed_texts(&model, batch.tokens);
        let loss = self.config().loss.loss().forward(
            images.clone(),
            texts.clone(),
            self.model.logit_scale.val(),
            self.model.logit_bias.as_ref().map(Param::val),
            targets,
        );
        let accuracy = matching_accuracy(images, texts, targets);
        LossScore { loss, accuracy }
    }

    /// Gradients of the model's parameters from what [`forward_loss`](Self::forward_loss) gave.
    ///
    /// # Panics
    /// If the model is not on an autodiff device.
    #[must_use]
    pub fn backward(&self, score: &LossScore) -> GradientsParams {
        GradientsParams::from_grads(score.loss.backward(), &self.model)
    }

    /// Loss and gradients of a batch, at once or in micro-batches.
    ///
    /// # Panics
    /// If the model is not on an autodiff device, or `targets` is of another batch size.
    #[must_use]
    pub fn gradients(&self, inputs: &impl StepInputs, targets: &Targets) -> StepGradients {
        let pairs = inputs.num_pairs();
        match self.config().micro_batch_size {
            Some(size) if size < pairs => self.cached_gradients(inputs, targets, size),
            _ => {
                let score = self.forward_loss(inputs.upload(0..pairs, Pass::Train), targets, Pass::Train);
                StepGradients {
                    grads: self.backward(&score),
                    score,
                }
            }
        }
    }

    /// Embeds a batch with `model`, without graph, micro-batch by micro-batch.
    pub(super) fn embed(&self, model: &Clip, batch: &ImageTextBatch) -> Embeddings {
        let size = self.config().micro_batch_size.unwrap_or(batch.len());
        self.embed_in_parts(model, &self.host_inputs(batch), size, Pass::Eval)
    }

    /// Loss and accuracy of `model` on a batch.
    fn score(&self, model: &Clip, batch: &ImageTextBatch) -> LossScore {
        let embeds = self.embed(model, batch);
        self.config().loss.loss().score(
            embeds.images,
            embeds.texts,
            model.logit_scale.val(),
            model.logit_bias.as_ref().map(Param::val),
            &self.targets(batch),
        )
    }

    /// Keeps the scale within `[1, 100]`; open_clip clamps both ends, and for SigLIP as well.
    fn clamp_logit_scale(mut self) -> Self {
        self.model.logit_scale = update_value(self.model.logit_scale, |s| s.clamp(0.0, MAX_LOGIT_SCALE));
        self
    }

    fn update_average(mut self) -> Self {
        if let (Some(ema), Some(decay)) = (self.ema.take(), self.config().ema_decay) {
            self.ema = Some(update_average(ema, &self.model, decay));
        }
        self
    }
}

/// Unit-length image embeddings in f32.
pub(super) fn embed_images(model: &Clip, images: ImageInput, precision: Precision, pass: Pass) -> Tensor<2> {
    let images = ImageInput {
        pixels: images.pixels.cast(precision.float_dtype()),
        keep_patches: images.keep_patches,
    };
    let features = model.encode_image(images, pass);
    normalize(features.cast(Precision::F32.float_dtype()))
}

/// Unit-length text embeddings in f32.
pub(super) fn embed_texts(model: &Clip, tokens: Tensor<2, Int>) -> Tensor<2> {
    let features = model.encode_text(tokens);
    normalize(features.cast(Precision::F32.float_dtype()))
}

/// Changes the value of a parameter outside the graph; whether and how it is tracked stays.
pub(super) fn update_value<const D: usize>(
    param: Param<Tensor<D>>,
    update: impl FnOnce(Tensor<D>) -> Tensor<D>,
) -> Param<Tensor<D>> {
    param.map(|tensor| {
        let strategy = tensor.gradient_checkpointing_strategy();
        let require_grad = tensor.is_require_grad();
        let updated = update(tensor.without_autodiff());
        match strategy {
            Some(strategy) => updated
                .autodiff()
                .with_gradient_checkpointing_strategy(strategy)
                .set_require_grad(require_grad),
            None => updated,
        }
    })
}

/// Loss and accuracies of a batch, ready to report.
fn matching(score: LossScore) -> [(&'static MetricSpec, Tensor<1>); 3] {
    [
        (&spec::LOSS, score.loss),
        (&spec::ACCURACY_I2T, score.accuracy.image_to_text),
        (&spec::ACCURACY_T2I, score.accuracy.text_to_image),
    ]
}

impl TrainStep for ClipTask {
    type Input = ImageTextBatch;
    type Output = StepOutput;

    fn step(&self, batch: ImageTextBatch) -> TrainOutput<StepOutput> {
        let StepGradients { grads, score } = self.gradients(&self.host_inputs(&batch), &self.targets(&batch));
        // Here and not in `optimize`, which has no way to report the norm.
        let (grads, norm) = clip_to(grads, &self.model, self.config().max_grad_norm);
        let mut numbers = matching(score).to_vec();
        numbers.push((&spec::LOGIT_SCALE, self.model.logit_scale.val().exp()));
        numbers.extend(norm.map(|norm| (&spec::GRAD_NORM, norm)));
        let item = StepOutput::new(numbers, batch.len(), batch.data_wait);
        TrainOutput { grads, item }
    }

    fn optimize(self, optim: &mut ModuleOptimizer, lr: ModuleLearningRate, grads: GradientsParams) -> Self {
        optim.step(lr, self, grads).clamp_logit_scale().update_average()
    }
}

impl InferenceStep for ClipTask {
    type Input = ImageTextBatch;
    type Output = StepOutput;

    fn step(&self, batch: ImageTextBatch) -> StepOutput {
        let mut numbers = matching(self.score(&self.model, &batch)).to_vec();
        if let Some(ema) = &self.ema {
            numbers.push((&spec::EMA_LOSS, self.score(ema, &batch).loss));
        }
        StepOutput::new(numbers, batch.len(), batch.data_wait)
    }
}
