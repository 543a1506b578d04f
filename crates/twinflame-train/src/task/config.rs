use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use thiserror::Error;
use twinflame_model::Recompute;
use twinflame_model::loss::{ClipLoss, ContrastiveLoss, SigLipLoss};

use super::AlbefTaskConfig;
use crate::precision::{Precision, PrecisionError};

/// What is trained and how a step is computed (`[task]` in a recipe).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum TaskConfig {
    /// Contrastive image-text training.
    Clip(ClipTaskConfig),
    /// Contrast, matching and masked language with momentum distillation.
    Albef(AlbefTaskConfig),
}

/// Settings of a [`ClipTask`](super::ClipTask).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClipTaskConfig {
    /// `"clip"` (softmax, default) or `"siglip"` (sigmoid; needs a `logit_bias` in the model).
    pub loss: LossKind,
    /// `"diagonal"` (default) or `"by-id"`: pairs that share an image or caption id are not negatives.
    pub targets: TargetKind,
    /// Pairs that are on the device at a time. Default: the whole batch. The gradient is that of the whole batch
    /// either way, for about a third more computation; only BatchNorm sees smaller batches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub micro_batch_size: Option<usize>,
    /// Averages the weights with this factor after each step, in `[0, 1)`: 0.999 looks back about 1,000 steps.
    /// Default: no average.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ema_decay: Option<f64>,
    /// Largest global L2 norm of the gradient; a longer one is scaled down. Default: no clipping.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_grad_norm: Option<f64>,
    /// `"f32"` (default), `"bf16"` or `"f16"`: what the towers compute in.
    pub precision: Precision,
    /// Whether the backward pass computes every transformer block again, in place of keeping its activations. Default: false.
    /// Losses and gradients are the same; memory falls for about a third more computation. A ResNet and a CBOW have no such
    /// blocks and keep theirs.
    #[serde(deserialize_with = "read_recompute")]
    pub recompute: bool,
}

/// Which contrastive loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LossKind {
    /// [`ClipLoss`].
    #[default]
    Clip,
    /// [`SigLipLoss`].
    Siglip,
}

impl LossKind {
    /// The loss itself.
    #[must_use]
    pub fn loss(self) -> ContrastiveLoss {
        match self {
            Self::Clip => ContrastiveLoss::Clip(ClipLoss),
            Self::Siglip => ContrastiveLoss::SigLip(SigLipLoss),
        }
    }
}

/// Which pairs of a batch are positives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetKind {
    /// Only the pair itself.
    #[default]
    Diagonal,
    /// All that share an image or caption id.
    ById,
}

/// Settings that cannot be trained with.
#[derive(Debug, Error, PartialEq)]
pub enum TaskError {
    /// A number is outside its range.
    #[error("task.{key} = {value} is out of range: it must be {allowed}")]
    OutOfRange {
        /// The field.
        key: &'static str,
        /// What was given.
        value: f64,
        /// What would be right.
        allowed: &'static str,
    },
    /// SigLIP without a bias does not train: at the start, nearly all pairs are negatives.
    #[error(
        "task.loss = \"siglip\" needs a model with a logit bias: set model.init_logit_bias (SigLIP starts at -10) and \
         model.init_logit_scale (ln 10 = 2.302585)"
    )]
    MissingLogitBias,
    /// No range of temperatures.
    #[error("task.temp_range = [{low}, {high}] is no range: it must be two temperatures, 0 < low <= high")]
    TempRange {
        /// What was given first.
        low: f64,
        /// What was given second.
        high: f64,
    },
    /// The model is of another kind than the task.
    #[error("task.kind and model.name are of two kinds: \"clip\" trains a CLIP, \"albef\" an ALBEF")]
    OtherModel,
    /// Masked language modelling with a tokenizer that has no mask token.
    #[error(
        "task.kind = \"albef\" needs a tokenizer with padding, class and mask tokens: set tokenizer.kind = \"bert\""
    )]
    NoMaskToken,
    /// The model's own settings.
    #[error("model: {0}")]
    Model(String),
    /// All losses of ALBEF are turned off.
    #[error("task: there is nothing to learn: itc_weight, itm_weight and mlm_weight are all 0")]
    NothingToLearn,
    /// Masked language modelling without the head for it.
    #[error(
        "task.mlm_weight is above 0, but the model has no head that predicts tokens: set task.mlm_weight = 0, or \
         model.mlm_head = true"
    )]
    MissingMlmHead,
    /// The device lacks the float type.
    #[error("task.{0}")]
    Precision(#[from] PrecisionError),
}

impl From<twinflame_model::ConfigError> for TaskError {
    fn from(error: twinflame_model::ConfigError) -> Self {
        Self::Model(error.to_string())
    }
}

impl ClipTaskConfig {
    /// Checks every value that can be judged without a model or device.
    ///
    /// # Errors
    /// [`TaskError`] names the key, the value and what would be right.
    pub fn validate(&self) -> Result<(), TaskError> {
        if let Some(size) = self.micro_batch_size {
            require("micro_batch_size", size as f64, size > 0, "at least 1")?;
        }
        if let Some(decay) = self.ema_decay {
            require("ema_decay", decay, (0.0..1.0).contains(&decay), "in [0, 1)")?;
        }
        require_norm(self.max_grad_norm)
    }
}

/// Reads `recompute`; of a section with a `kind`, serde's own error names no key.
pub(super) fn read_recompute<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    bool::deserialize(deserializer)
        .map_err(|error| D::Error::custom(format!("recompute must be true or false: {error}")))
}

/// What a model is told that `recompute` says.
pub(super) fn recompute(is_on: bool) -> Recompute {
    match is_on {
        true => Recompute::Blocks,
        false => Recompute::Nothing,
    }
}

/// An error unless the largest norm of the gradient, if there is one, is a length.
pub(super) fn require_norm(max_grad_norm: Option<f64>) -> Result<(), TaskError> {
    match max_grad_norm {
        Some(norm) => {
            let fine = norm.is_finite() && norm > 0.0;
            require("max_grad_norm", norm, fine, "finite and above 0")
        }
        None => Ok(()),
    }
}

/// An error that names `key`, unless the value is fine.
pub(super) fn require(key: &'static str, value: f64, fine: bool, allowed: &'static str) -> Result<(), TaskError> {
    match fine {
        true => Ok(()),
        false => Err(TaskError::OutOfRange { key, value, allowed }),
    }
}

impl TaskConfig {
    /// Checks every value that can be judged without a model or device.
    ///
    /// # Errors
    /// [`TaskError`] names the key, the value and what would be right.
    pub fn validate(&self) -> Result<(), TaskError> {
        match self {
            Self::Clip(config) => config.validate(),
            Self::Albef(config) => config.validate(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<TaskConfig, toml::de::Error> {
        toml::from_str(text)
    }

    #[test]
    fn a_recipe_section_parses_and_a_typo_does_not() {
        let TaskConfig::Clip(config) =
            parse("kind = \"clip\"\ntargets = \"by-id\"\nmicro_batch_size = 32").expect("valid")
        else {
            panic!("another kind");
        };
        assert_eq!(config.targets, TargetKind::ById);
        assert_eq!(config.micro_batch_size, Some(32));
        assert_eq!(config.precision, Precision::F32);
        let error = parse("kind = \"clip\"\nmicro_batch = 32").expect_err("typo");
        assert!(error.to_string().contains("micro_batch"), "{error}");
    }

    #[test]
    fn values_out_of_range_are_named() {
        let config = ClipTaskConfig {
            ema_decay: Some(1.0),
            ..ClipTaskConfig::default()
        };
        assert_eq!(
            config.validate().expect_err("decay of 1").to_string(),
            "task.ema_decay = 1 is out of range: it must be in [0, 1)"
        );
        let config = ClipTaskConfig {
            max_grad_norm: Some(f64::NAN),
            ..ClipTaskConfig::default()
        };
        assert!(config.validate().is_err());
    }
}
