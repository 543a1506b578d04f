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
    loss::{ContrastiveLoss, MatchingAccuracy, Targets, matching_accuracy},
    normalize,
};

use super::{
    ClipStepOutput, ClipTaskConfig, DeviceBatch, TargetKind, TaskError, kept_patches, num_kept_patches,
    upload::{upload_ids, upload_indices, upload_pixels, upload_tokens},
};
use crate::{
    ema::{averaged_copy, update_average},
    grad_norm::clip_global_norm,
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

/// Loss of a forward pass, with its graph.
#[derive(Clone, Debug)]
pub struct Forward {
    /// `[1]`, in nats.
    pub loss: Tensor<1>,
    /// In-batch accuracy, without graph.
    pub accuracy: MatchingAccuracy,
}

/// Gradients of a step and what it scored.
pub(super) struct StepGradients {
    pub(super) grads: GradientsParams,
    pub(super) scores: Scores,
}

/// Loss and accuracy on the device, without graph.
pub(super) struct Scores {
    pub(super) loss: Tensor<1>,
    pub(super) accuracy: MatchingAccuracy,
}

impl Scores {
    /// Loss, image-to-text and text-to-image accuracy.
    pub(super) fn parts(self) -> Vec<Tensor<1>> {
        vec![self.loss, self.accuracy.image_to_text, self.accuracy.text_to_image]
    }
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

    /// How the task was set up.
    #[must_use]
    pub fn config(&self) -> &ClipTaskConfig {
        &self.settings.config
    }

    /// The device of the model, without autodiff: a batch is a constant of the graph.
    #[must_use]
    pub fn device(&self) -> Device {
        self.model.logit_scale.val().device().without_autodiff()
    }

    /// Uploads the pairs in `range` and draws their patches.
    ///
    /// # Panics
    /// If `range` is not within the batch.
    #[must_use]
    pub fn upload(&self, batch: &ImageTextBatch, range: Range<usize>, pass: Pass) -> DeviceBatch {
        DeviceBatch {
            images: self.upload_images(batch, range.clone(), pass),
            tokens: self.upload_tokens(batch, range),
        }
    }

    pub(super) fn upload_tokens(&self, batch: &ImageTextBatch, range: Range<usize>) -> Tensor<2, Int> {
        upload_tokens(batch, range, &self.device())
    }

    pub(super) fn upload_images(&self, batch: &ImageTextBatch, range: Range<usize>, pass: Pass) -> ImageInput {
        let device = self.device();
        let normalization = &self.settings.normalization;
        let keep_patches = match (pass, self.model.num_patches()) {
            (Pass::Train | Pass::Preview, Some(num)) if self.settings.patch_dropout > 0.0 => {
                let kept = num_kept_patches(num, self.settings.patch_dropout);
                let patches = kept_patches(&batch.sample_seeds[range.clone()], num, kept);
                Some(upload_indices(patches, [range.len(), kept], &device))
            }
            _ => None,
        };
        ImageInput {
            pixels: upload_pixels(batch, range, normalization, &device),
            keep_patches,
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

    /// Runs the model on a whole batch and scores it.
    ///
    /// # Panics
    /// If `targets` is of another batch size.
    #[must_use]
    pub fn forward_loss(&self, batch: DeviceBatch, targets: &Targets, pass: Pass) -> Forward {
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
        Forward { loss, accuracy }
    }

    /// Gradients of the model's parameters.
    ///
    /// # Panics
    /// If the model is not on an autodiff device.
    #[must_use]
    pub fn backward(&self, forward: &Forward) -> GradientsParams {
        GradientsParams::from_grads(forward.loss.backward(), &self.model)
    }

    fn gradients(&self, batch: &ImageTextBatch) -> StepGradients {
        match self.config().micro_batch_size {
            Some(size) if size < batch.len() => self.cached_gradients(batch, size),
            _ => {
                let inputs = self.upload(batch, 0..batch.len(), Pass::Train);
                let forward = self.forward_loss(inputs, &self.targets(batch), Pass::Train);
                StepGradients {
                    grads: self.backward(&forward),
                    scores: Scores {
                        loss: forward.loss,
                        accuracy: forward.accuracy,
                    },
                }
            }
        }
    }

    /// Loss and accuracy of `model` on a batch, without graph, micro-batch by micro-batch.
    fn scores(&self, model: &Clip, batch: &ImageTextBatch) -> Scores {
        let size = self.config().micro_batch_size.unwrap_or(batch.len());
        let embeds = self.embed_in_parts(model, batch, size, Pass::Eval);
        let scored = self.config().loss.loss().score(
            embeds.images,
            embeds.texts,
            model.logit_scale.val(),
            model.logit_bias.as_ref().map(Param::val),
            &self.targets(batch),
        );
        Scores {
            loss: scored.loss,
            accuracy: scored.accuracy,
        }
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
fn update_value<const D: usize>(
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

impl TrainStep for ClipTask {
    type Input = ImageTextBatch;
    type Output = ClipStepOutput;

    fn step(&self, batch: ImageTextBatch) -> TrainOutput<ClipStepOutput> {
        let StepGradients { grads, scores } = self.gradients(&batch);
        // Here and not in `optimize`, which has no way to report the norm.
        let (grads, norm) = match self.config().max_grad_norm {
            Some(max_norm) => {
                let clipped = clip_global_norm(grads, &self.model, max_norm);
                (clipped.grads, Some(clipped.norm))
            }
            None => (grads, None),
        };
        let item = ClipStepOutput::new(scores, self.model.logit_scale.val(), norm, None)
            .of_batch(batch.len(), batch.data_wait);
        TrainOutput { grads, item }
    }

    fn optimize(self, optim: &mut ModuleOptimizer, lr: ModuleLearningRate, grads: GradientsParams) -> Self {
        optim.step(lr, self, grads).clamp_logit_scale().update_average()
    }
}

impl InferenceStep for ClipTask {
    type Input = ImageTextBatch;
    type Output = ClipStepOutput;

    fn step(&self, batch: ImageTextBatch) -> ClipStepOutput {
        let scores = self.scores(&self.model, &batch);
        let average = self.ema.as_ref().map(|ema| self.scores(ema, &batch));
        ClipStepOutput::new(scores, self.model.logit_scale.val(), None, average).of_batch(batch.len(), batch.data_wait)
    }
}
