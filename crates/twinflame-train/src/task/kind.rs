//! All tasks behind one type, so that learner, loop and dashboard exist once in the binary.

use burn::{
    lr_scheduler::module_lr_scheduler::ModuleLearningRate,
    module::Module,
    optim::{GradientsParams, ModuleOptimizer},
    tensor::{Device, Tensor},
    train::{InferenceStep, TrainOutput, TrainStep},
};
use twinflame_data::ImageTextBatch;

use super::{AlbefTask, ClipTask, LossKind, StepOutput};
use crate::metric::MetricSpec;
use crate::optim::{OptimConfig, adamw};

/// What a run trains.
#[derive(Module, Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "one value per run; boxing would add a level to every parameter path"
)]
pub enum Task {
    /// Contrastive training.
    Clip(ClipTask),
    /// Contrast, matching and masked language.
    Albef(AlbefTask),
}

/// Which quantities a run shows, in this order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ShownMetrics {
    /// Of each training step.
    pub train: Vec<&'static MetricSpec>,
    /// Of each validation batch.
    pub valid: Vec<&'static MetricSpec>,
    /// Of the whole validation set.
    pub scores: Vec<&'static MetricSpec>,
}

/// Unit-length embeddings of pairs.
pub(crate) struct Embeddings {
    /// `[pairs, embed_dim]`
    pub(crate) images: Tensor<2>,
    /// `[pairs, embed_dim]`
    pub(crate) texts: Tensor<2>,
}

impl Task {
    /// What a run of this task shows.
    #[must_use]
    pub fn metrics(&self) -> ShownMetrics {
        match self {
            Self::Clip(task) => task.metrics(),
            Self::Albef(task) => task.metrics(),
        }
    }

    /// The optimiser of the task.
    #[must_use]
    pub fn optimizer(&self, config: &OptimConfig) -> ModuleOptimizer {
        match self {
            Self::Clip(task) => adamw(config, &task.model),
            Self::Albef(task) => adamw(config, &task.model),
        }
    }

    /// Whether training steps report the norm of the gradient.
    pub(crate) fn reports_grad_norm(&self) -> bool {
        match self {
            Self::Clip(task) => task.config().max_grad_norm.is_some(),
            Self::Albef(task) => task.config().max_grad_norm.is_some(),
        }
    }

    /// Whether a loss of `ln(batch)` is what a model without knowledge has.
    pub(crate) fn chance_is_ln_batch(&self) -> bool {
        match self {
            Self::Clip(task) => task.config().loss == LossKind::Clip,
            Self::Albef(_) => false,
        }
    }

    /// Embeds a batch with the trained weights, as evaluation does.
    pub(crate) fn embed(&self, batch: &ImageTextBatch) -> Embeddings {
        match self {
            Self::Clip(task) => task.embed(&task.model, batch),
            Self::Albef(task) => task.embed(batch),
        }
    }

    /// The same with the averaged weights, if there are any.
    pub(crate) fn embed_averaged(&self, batch: &ImageTextBatch) -> Option<Embeddings> {
        match self {
            Self::Clip(task) => task.ema.as_ref().map(|ema| task.embed(ema, batch)),
            Self::Albef(_) => None,
        }
    }

    /// The device of the model, without autodiff.
    #[must_use]
    pub fn device(&self) -> Device {
        match self {
            Self::Clip(task) => task.device(),
            Self::Albef(task) => task.device(),
        }
    }
}

impl TrainStep for Task {
    type Input = ImageTextBatch;
    type Output = StepOutput;

    fn step(&self, batch: ImageTextBatch) -> TrainOutput<StepOutput> {
        match self {
            Self::Clip(task) => TrainStep::step(task, batch),
            Self::Albef(task) => TrainStep::step(task, batch),
        }
    }

    fn optimize(self, optim: &mut ModuleOptimizer, lr: ModuleLearningRate, grads: GradientsParams) -> Self {
        match self {
            Self::Clip(task) => Self::Clip(task.optimize(optim, lr, grads)),
            Self::Albef(task) => Self::Albef(task.optimize(optim, lr, grads)),
        }
    }
}

impl InferenceStep for Task {
    type Input = ImageTextBatch;
    type Output = StepOutput;

    fn step(&self, batch: ImageTextBatch) -> StepOutput {
        match self {
            Self::Clip(task) => InferenceStep::step(task, batch),
            Self::Albef(task) => InferenceStep::step(task, batch),
        }
    }
}
