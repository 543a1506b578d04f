//! A training step in its stages.

use burn::module::Module;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::train::TrainStep;
use twinflame_data::ImageTextBatch;
use twinflame_model::Pass;
use twinflame_model::albef::QueueEntries;
use twinflame_model::loss::{LossScore, Targets};
use twinflame_train::optim::{OptimConfig, adamw};
use twinflame_train::task::{AlbefInputs, AlbefScore, AlbefTask, ClipTask, DeviceBatch, Purpose};

/// Learning rate of the timed steps; its value changes no time.
pub(super) const LEARNING_RATE: f64 = 1e-4;

/// A task whose step can be run stage by stage, with the same result.
pub(super) trait StagedStep: Module + TrainStep<Input = ImageTextBatch> {
    /// A batch on the device.
    type Inputs;
    /// The loss with its graph.
    type Score;
    /// What the update wants of a score beside the gradients.
    type Remainder;

    fn optimizer(&self) -> ModuleOptimizer;

    fn upload_all(&self, batch: &ImageTextBatch) -> Self::Inputs;

    fn score_all(&self, inputs: Self::Inputs) -> Self::Score;

    fn gradients_of(&self, score: Self::Score) -> (GradientsParams, Self::Remainder);

    /// Optimiser, clamp and averages.
    fn update(self, optimizer: &mut ModuleOptimizer, grads: GradientsParams, remainder: Self::Remainder) -> Self;
}

impl StagedStep for ClipTask {
    type Inputs = (DeviceBatch, Targets);
    type Score = LossScore;
    type Remainder = ();

    fn optimizer(&self) -> ModuleOptimizer {
        adamw(&OptimConfig::default(), &self.model)
    }

    fn upload_all(&self, batch: &ImageTextBatch) -> Self::Inputs {
        (self.upload(batch, 0..batch.len(), Pass::Train), self.targets(batch))
    }

    fn score_all(&self, (inputs, targets): Self::Inputs) -> LossScore {
        self.forward_loss(inputs, &targets, Pass::Train)
    }

    fn gradients_of(&self, score: LossScore) -> (GradientsParams, ()) {
        (self.backward(&score), ())
    }

    fn update(self, optimizer: &mut ModuleOptimizer, grads: GradientsParams, (): ()) -> Self {
        self.optimize(optimizer, LEARNING_RATE.into(), grads)
    }
}

impl StagedStep for AlbefTask {
    type Inputs = AlbefInputs;
    type Score = AlbefScore;
    type Remainder = QueueEntries;

    fn optimizer(&self) -> ModuleOptimizer {
        adamw(&OptimConfig::default(), &self.model)
    }

    fn upload_all(&self, batch: &ImageTextBatch) -> AlbefInputs {
        self.upload(batch, Purpose::Train)
    }

    fn score_all(&self, inputs: AlbefInputs) -> AlbefScore {
        self.score(&inputs, self.config().alpha)
    }

    fn gradients_of(&self, score: AlbefScore) -> (GradientsParams, QueueEntries) {
        (self.backward(&score), score.entries)
    }

    fn update(self, optimizer: &mut ModuleOptimizer, grads: GradientsParams, entries: QueueEntries) -> Self {
        let [batch] = entries.image_ids.dims();
        // No step left entries behind, so that the task by itself would leave queue and momentum encoders as they are.
        self.optimize(optimizer, LEARNING_RATE.into(), grads)
            .enqueue(entries)
            .follow(batch)
    }
}
