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

#[cfg(all(test, feature = "cpu"))]
mod tests {
    use burn::tensor::{Device, Tensor};
    use twinflame_model::ModelConfig;

    use super::super::workload::Workload;
    use super::*;

    fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().iter().collect()
    }

    #[test]
    fn an_albef_step_by_stages_changes_what_a_whole_step_changes() {
        let workload = Workload::tiny("tiny-albef");
        let ModelConfig::Albef(config) = &workload.config else {
            panic!("tiny-albef is an ALBEF");
        };
        let batch = workload.synthetic_batch();
        let task = || workload.albef_task(config, &Device::flex()).unwrap();
        let state = |task: &AlbefTask| {
            [
                values(task.model.encoders.text_proj.weight.val()),
                values(task.momentum.text_proj.weight.val()),
                values(task.queue.text_embeds.val()),
            ]
        };

        let whole = task();
        let before = state(&whole);
        let mut optimizer = whole.optimizer();
        let output = whole.step(batch.clone());
        let whole = state(&whole.optimize(&mut optimizer, LEARNING_RATE.into(), output.grads));

        let staged = task();
        let mut optimizer = staged.optimizer();
        let (grads, entries) = staged.gradients_of(staged.score_all(staged.upload_all(&batch)));
        let staged = state(&staged.update(&mut optimizer, grads, entries));

        assert_eq!(whole, staged);
        for (before, after) in before.iter().zip(&staged) {
            assert_ne!(before, after);
        }
    }
}
