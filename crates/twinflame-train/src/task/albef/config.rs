use serde::{Deserialize, Serialize};
use twinflame_model::{albef::TEMP_RANGE, loss::albef::HardNegatives};

use super::super::{
    TargetKind, TaskError,
    config::{read_recompute, require, require_norm},
};
use crate::precision::Precision;

/// Settings of an [`AlbefTask`](super::AlbefTask). The defaults are the reference's for pre-training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AlbefTaskConfig {
    /// Weight of image-text contrast. 0 turns it off.
    pub itc_weight: f64,
    /// Weight of image-text matching. 0 turns it off.
    pub itm_weight: f64,
    /// Weight of masked language modelling. 0 turns it off, as retrieval fine-tuning does.
    pub mlm_weight: f64,
    /// `"diagonal"` (default, as the reference pre-trains) or `"by-id"` (as it fine-tunes for retrieval): pairs of the
    /// batch and the queue that share an image or caption id are positives of each other.
    pub targets: TargetKind,
    /// `"sampled"` (default, as the released code) or `"hardest"`. A pair of the same image or caption is never a
    /// negative, whatever `targets` says.
    pub hard_negatives: HardNegatives,
    /// Epochs over which sampled negatives grow hard: the similarities that they are drawn by are multiplied by a factor
    /// that grows from 0 (every mismatch is as likely) to 1, step by step. Default: 0, hard from the start, as the reference,
    /// whose encoders come from elsewhere. Matching does not get off the ground in a model that starts from nothing, if
    /// contrast learns first and leaves it the mismatches that it cannot tell.
    pub hard_negatives_ramp_epochs: f64,
    /// Share of the pairs whose sampled negatives are drawn by similarity, 0 to 1; those of the others are drawn evenly
    /// from all mismatches of the batch. Default: 1, as the reference. Where one kind of mismatch is more similar than all
    /// the rest, matching with 1 sees no other and forgets what tells the rest apart, which re-ranking needs.
    pub hard_negatives_share: f64,
    /// Share of the targets that comes from the momentum model, 0 to 1. 0 turns distillation off.
    pub alpha: f64,
    /// Epochs over which `alpha` grows from 0, step by step.
    pub alpha_ramp_epochs: f64,
    /// Share of the momentum encoders that a step keeps, in `[0, 1)`.
    pub momentum: f64,
    /// `"step"` (default): each step counts once. `"samples"`: a step counts for its pairs, so that a batch of twice the
    /// size moves the momentum encoders as two steps do.
    pub momentum_per: MomentumPer,
    /// Pairs for which `momentum` is meant, if it is `momentum_per = "samples"`. Default: 512, the reference's batch.
    pub momentum_batch_size: usize,
    /// Share of the tokens that masked language modelling hides.
    pub mlm_probability: f64,
    /// Whether the temperature is kept within `temp_range`. Default: true; the reference does not in fine-tuning.
    pub clamp_temp: bool,
    /// Smallest and largest temperature. Default: 0.001 and 0.5, the reference's. Adam moves the temperature by as much as
    /// the learning rate in a step, so with ten times the reference's rate it needs a higher floor.
    pub temp_range: [f64; 2],
    /// Largest global L2 norm of the gradient; a longer one is scaled down. Default: no clipping.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_grad_norm: Option<f64>,
    /// `"f32"` (default), `"bf16"` or `"f16"`: what the encoders compute in.
    pub precision: Precision,
    /// Whether the backward pass computes every transformer block again, in place of keeping its activations. Default: false.
    /// Losses and gradients are the same; memory falls for about a fifth more computation.
    #[serde(deserialize_with = "read_recompute")]
    pub recompute: bool,
}

/// What the momentum encoders are paced by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MomentumPer {
    /// Steps.
    #[default]
    Step,
    /// Pairs.
    Samples,
}

impl Default for AlbefTaskConfig {
    fn default() -> Self {
        Self {
            itc_weight: 1.0,
            itm_weight: 1.0,
            mlm_weight: 1.0,
            targets: TargetKind::Diagonal,
            hard_negatives: HardNegatives::Sampled,
            hard_negatives_ramp_epochs: 0.0,
            hard_negatives_share: 1.0,
            alpha: 0.4,
            alpha_ramp_epochs: 1.0,
            momentum: 0.995,
            momentum_per: MomentumPer::Step,
            momentum_batch_size: 512,
            mlm_probability: 0.15,
            clamp_temp: true,
            temp_range: [*TEMP_RANGE.start(), *TEMP_RANGE.end()],
            max_grad_norm: None,
            precision: Precision::F32,
            recompute: false,
        }
    }
}

impl AlbefTaskConfig {
    /// Checks every value that can be judged without a model or device.
    ///
    /// # Errors
    /// [`TaskError`] names the key, the value and what would be right.
    pub fn validate(&self) -> Result<(), TaskError> {
        let weights = [
            ("itc_weight", self.itc_weight),
            ("itm_weight", self.itm_weight),
            ("mlm_weight", self.mlm_weight),
        ];
        for (key, weight) in weights {
            require(
                key,
                weight,
                weight.is_finite() && weight >= 0.0,
                "finite and at least 0",
            )?;
        }
        if weights.iter().all(|(_, weight)| *weight == 0.0) {
            return Err(TaskError::NothingToLearn);
        }
        let share = |key, value: f64| require(key, value, (0.0..=1.0).contains(&value), "in [0, 1]");
        share("alpha", self.alpha)?;
        share("hard_negatives_share", self.hard_negatives_share)?;
        let ramps = [
            ("alpha_ramp_epochs", self.alpha_ramp_epochs),
            ("hard_negatives_ramp_epochs", self.hard_negatives_ramp_epochs),
        ];
        for (key, ramp) in ramps {
            require(key, ramp, ramp.is_finite() && ramp >= 0.0, "finite and at least 0")?;
        }
        let momentum = self.momentum;
        require("momentum", momentum, (0.0..1.0).contains(&momentum), "in [0, 1)")?;
        let pairs = self.momentum_batch_size;
        require("momentum_batch_size", pairs as f64, pairs > 0, "at least 1")?;
        let masked = self.mlm_probability;
        require("mlm_probability", masked, masked > 0.0 && masked < 1.0, "in (0, 1)")?;
        let [low, high] = self.temp_range;
        if !(low > 0.0 && low <= high && high.is_finite()) {
            return Err(TaskError::TempRange { low, high });
        }
        require_norm(self.max_grad_norm)
    }

    /// Share of the momentum encoders that a step of `batch` pairs keeps.
    #[must_use]
    pub fn momentum_of(&self, batch: usize) -> f64 {
        match self.momentum_per {
            MomentumPer::Step => self.momentum,
            MomentumPer::Samples => self.momentum.powf(batch as f64 / self.momentum_batch_size as f64),
        }
    }

    /// `alpha` after so many steps: it grows linearly from 0.
    #[must_use]
    pub fn alpha_at(&self, step: usize, batches_per_epoch: usize) -> f64 {
        self.alpha * ramp(step, self.alpha_ramp_epochs * batches_per_epoch as f64)
    }

    /// What similarities are multiplied by before negatives are drawn by them, after so many steps.
    #[must_use]
    pub fn hardness_at(&self, step: usize, batches_per_epoch: usize) -> f64 {
        ramp(step, self.hard_negatives_ramp_epochs * batches_per_epoch as f64)
    }
}

/// Grows linearly from 0 to 1 over so many steps.
fn ramp(step: usize, num_steps: f64) -> f64 {
    match step as f64 >= num_steps {
        true => 1.0,
        false => step as f64 / num_steps,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alpha_grows_over_the_first_epoch() {
        let config = AlbefTaskConfig::default();
        let alphas: Vec<f64> = [0, 25, 50, 99, 100, 1000]
            .map(|step| config.alpha_at(step, 100))
            .to_vec();
        for (alpha, expected) in alphas.iter().zip([0.0, 0.1, 0.2, 0.396, 0.4, 0.4]) {
            assert!((alpha - expected).abs() < 1e-12, "{alphas:?}");
        }
        let at_once = AlbefTaskConfig {
            alpha_ramp_epochs: 0.0,
            ..config
        };
        assert_eq!(at_once.alpha_at(0, 100), 0.4);
    }

    #[test]
    fn negatives_grow_hard_over_the_epochs_of_their_ramp() {
        let config = AlbefTaskConfig {
            hard_negatives_ramp_epochs: 2.0,
            ..AlbefTaskConfig::default()
        };
        assert_eq!(
            [0, 50, 199, 200, 900].map(|step| config.hardness_at(step, 100)),
            [0.0, 0.25, 0.995, 1.0, 1.0]
        );
        assert_eq!(
            AlbefTaskConfig::default().hardness_at(0, 100),
            1.0,
            "the reference's are hard at once"
        );
    }

    #[test]
    fn twice_the_batch_moves_the_momentum_encoders_as_two_steps_do() {
        let config = AlbefTaskConfig {
            momentum_per: MomentumPer::Samples,
            ..AlbefTaskConfig::default()
        };
        assert!((config.momentum_of(512) - 0.995).abs() < 1e-12);
        assert!((config.momentum_of(1024) - 0.995 * 0.995).abs() < 1e-12);
        assert_eq!(AlbefTaskConfig::default().momentum_of(1024), 0.995);
    }

    #[test]
    fn values_out_of_range_are_named() {
        let broken = |change: fn(&mut AlbefTaskConfig)| {
            let mut config = AlbefTaskConfig::default();
            config.validate().expect("the defaults are valid");
            change(&mut config);
            config.validate().expect_err("broken").to_string()
        };
        assert!(broken(|c| c.itm_weight = -1.0).starts_with("task.itm_weight = -1 is out of range"));
        assert!(broken(|c| c.alpha = 1.5).contains("task.alpha = 1.5"));
        assert!(broken(|c| c.momentum = 1.0).contains("task.momentum = 1 "));
        assert!(broken(|c| c.temp_range = [0.5, 0.1]).contains("task.temp_range = [0.5, 0.1]"));
        assert!(broken(|c| c.hard_negatives_ramp_epochs = -1.0).contains("task.hard_negatives_ramp_epochs = -1 "));
        assert!(broken(|c| c.hard_negatives_share = 1.1).contains("task.hard_negatives_share = 1.1 "));
        assert!(broken(|c| c.mlm_probability = 0.0).contains("task.mlm_probability = 0 "));
        let off = |c: &mut AlbefTaskConfig| (c.itc_weight, c.itm_weight, c.mlm_weight) = (0.0, 0.0, 0.0);
        assert!(broken(off).contains("nothing to learn"));
    }
}
