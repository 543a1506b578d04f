//! A recipe: everything that decides a run, in typed sections.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use twinflame_data::{DataConfig, LoaderConfig, TokenizerConfig, TransformConfig};
use twinflame_model::{AlbefConfig, ClipConfig, ModelConfig};

use super::RunConfig;
use crate::eval::EvalConfig;
use crate::optim::OptimConfig;
use crate::task::{ClipTaskConfig, TaskConfig};

/// One run as its TOML file describes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Name of the run's folder: letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// One line for `twinflame recipes`.
    #[serde(default)]
    pub description: String,
    /// Decides initial weights, order, augmentation and patch dropout. Default 0.
    #[serde(default)]
    pub seed: u64,
    /// Weights to start from.
    #[serde(default, skip_serializing_if = "InitRecipe::is_empty")]
    pub init: InitRecipe,
    /// The model.
    pub model: ModelRecipe,
    /// Text to token ids. Default: CLIP's.
    #[serde(default)]
    pub tokenizer: TokenizerConfig,
    /// Where pairs come from.
    pub data: DataRecipe,
    /// Resizing and augmentation. The image size is the model's.
    #[serde(default)]
    pub transform: TransformConfig,
    /// Batches and worker threads.
    pub loader: LoaderConfig,
    /// Loss, precision, micro-batches, averaging.
    #[serde(default = "clip_task")]
    pub task: TaskConfig,
    /// Optimiser and schedule.
    #[serde(default)]
    pub optim: OptimConfig,
    /// Length, checkpoints, validation.
    pub run: RunConfig,
    /// Test figures.
    #[serde(default)]
    pub eval: EvalConfig,
}

fn clip_task() -> TaskConfig {
    TaskConfig::Clip(ClipTaskConfig::default())
}

/// Where a run starts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InitRecipe {
    /// A run, its `best`, or a checkpoint, whose weights the model starts with; or one of another program: open_clip's or
    /// OpenAI's file, a folder with Hugging Face's CLIP, a checkpoint of salesforce/ALBEF. Positions of another image size
    /// or text length are resampled; a momentum copy starts equal to the model. Left out: weights drawn from the seed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<PathBuf>,
    /// A checkpoint of another program, whose image encoder the model starts with, after `model`: for an ALBEF a timm or
    /// DeiT Vision Transformer, for a CLIP that of a CLIP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<PathBuf>,
    /// A checkpoint of another program, whose text encoder the model starts with: for an ALBEF a BERT of Hugging Face,
    /// for a CLIP that of a CLIP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<PathBuf>,
    /// Names of tensors, or patterns with `*` and `?`, that may be missing in such a checkpoint or left over.
    /// `quick_gelu`, `normalization` and `vocabulary` allow weights, also this recipe's own checkpoints, that were trained
    /// with another activation, other statistics of pixels or other ids of texts than this recipe has.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
}

impl InitRecipe {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The data of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataRecipe {
    /// Pairs to train on.
    pub train: DataConfig,
    /// Pairs to validate on during the run. Left out: no validation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid: Option<DataConfig>,
    /// Named test sets of `twinflame eval`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub test: BTreeMap<String, DataConfig>,
}

/// A named configuration or one in a file, with changes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelRecipe {
    /// Name of a configuration: `twinflame models` lists them. Exactly one of this and `config`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A configuration in open_clip's format: a JSON file, or its keys as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<ModelSource>,
    /// Side of the square image, in pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_size: Option<usize>,
    /// Share of image patches left out in training; Vision Transformers only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch_dropout: Option<f64>,
    /// Tokens per text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_length: Option<usize>,
    /// Rows of the token embedding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vocab_size: Option<usize>,
    /// Whether both towers use QuickGELU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quick_gelu: Option<bool>,
    /// Logarithm of the initial factor of the cosine similarities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_logit_scale: Option<f64>,
    /// Initial bias of the logits: SigLIP's loss needs one (-10 in the paper).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_logit_bias: Option<f64>,
    /// ALBEF: pairs whose momentum features are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_size: Option<usize>,
    /// ALBEF: initial temperature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_temp: Option<f64>,
    /// ALBEF: whether there is a head that predicts masked tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mlm_head: Option<bool>,
    /// ALBEF: share of hidden states and attention weights of the text that training drops.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropout: Option<f64>,
}

/// A configuration without a name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "`model.config` is the path of a JSON file or a table with its keys"
)]
pub enum ModelSource {
    /// A JSON file.
    File(PathBuf),
    /// The keys of such a file: a recipe that needs no other file.
    Keys(toml::Table),
}

impl ModelSource {
    fn resolve(&self) -> Result<ModelConfig, String> {
        match self {
            Self::File(path) => from_file(path),
            Self::Keys(keys) => {
                let json = serde_json::to_string(keys).map_err(|error| error.to_string())?;
                ModelConfig::from_json(&json).map_err(|error| error.to_string())
            }
        }
    }
}

/// Key below the recipe's root and what is wrong with it.
pub(super) type Complaint = (String, String);

impl ModelRecipe {
    /// The configuration with its changes; an error names the key.
    pub(super) fn resolve(&self) -> Result<ModelConfig, Complaint> {
        let at = |key: &str| format!("model.{key}");
        let mut config = match (&self.name, &self.config) {
            (Some(name), None) => named(name).map_err(|message| (at("name"), message))?,
            (None, Some(source)) => source.resolve().map_err(|message| (at("config"), message))?,
            (Some(_), Some(_)) => {
                return Err((
                    at("config"),
                    "model.name and model.config exclude each other: keep one".into(),
                ));
            }
            (None, None) => {
                return Err((
                    "model".into(),
                    "the model is missing: set model.name (see `twinflame models`) or model.config".into(),
                ));
            }
        };
        if let Some(key) = self.key_of_another_kind(&config) {
            return Err((
                at(key),
                format!("model.{key} is not a setting of this kind of model: leave it out"),
            ));
        }
        match &mut config {
            ModelConfig::Clip(config) => self.change_clip(config),
            ModelConfig::Albef(config) => self.change_albef(config),
        }
        config.validate().map_err(|error| {
            let message = error.to_string();
            (key_of_config_error(&message), message)
        })?;
        Ok(config)
    }

    /// A key that was given and that this kind of model does not have.
    fn key_of_another_kind(&self, config: &ModelConfig) -> Option<&'static str> {
        let of_clip = [
            ("patch_dropout", self.patch_dropout.is_some()),
            ("quick_gelu", self.quick_gelu.is_some()),
            ("init_logit_scale", self.init_logit_scale.is_some()),
            ("init_logit_bias", self.init_logit_bias.is_some()),
        ];
        let of_albef = [
            ("queue_size", self.queue_size.is_some()),
            ("init_temp", self.init_temp.is_some()),
            ("mlm_head", self.mlm_head.is_some()),
            ("dropout", self.dropout.is_some()),
        ];
        let strange: &[(&str, bool)] = match config {
            ModelConfig::Clip(_) => &of_albef,
            ModelConfig::Albef(_) => &of_clip,
        };
        strange.iter().find(|(_, given)| *given).map(|(key, _)| *key)
    }

    fn change_clip(&self, config: &mut ClipConfig) {
        set(&mut config.vision_cfg.image_size, self.image_size);
        set(&mut config.text_cfg.context_length, self.context_length);
        set(&mut config.text_cfg.vocab_size, self.vocab_size);
        set(&mut config.vision_cfg.patch_dropout, self.patch_dropout);
        set(&mut config.quick_gelu, self.quick_gelu);
        set(&mut config.init_logit_scale, self.init_logit_scale);
        config.init_logit_bias = self.init_logit_bias.or(config.init_logit_bias);
    }

    fn change_albef(&self, config: &mut AlbefConfig) {
        set(&mut config.vision_cfg.image_size, self.image_size);
        set(&mut config.text_cfg.context_length, self.context_length);
        set(&mut config.text_cfg.vocab_size, self.vocab_size);
        set(&mut config.queue_size, self.queue_size);
        set(&mut config.init_temp, self.init_temp);
        set(&mut config.text_cfg.mlm_head, self.mlm_head);
        set(&mut config.text_cfg.dropout, self.dropout);
    }
}

fn set<T: Copy>(target: &mut T, value: Option<T>) {
    *target = value.unwrap_or(*target);
}

/// The recipe's key for a message of the model, which begins with the configuration's (`vision_cfg.image_size is ...`).
fn key_of_config_error(message: &str) -> String {
    let path = message.split(' ').next().unwrap_or_default();
    match path.rsplit_once('.') {
        Some((_, key)) => format!("model.{key}"),
        None => "model".to_owned(),
    }
}

fn named(name: &str) -> Result<ModelConfig, String> {
    ModelConfig::named(name).map_err(|error| format!("{error}{}", super::error::near(name, ModelConfig::names())))
}

fn from_file(path: &Path) -> Result<ModelConfig, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    ModelConfig::from_json(&text).map_err(|error| format!("{}: {error}", path.display()))
}
