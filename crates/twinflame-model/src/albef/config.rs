use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::{Albef, FeatureQueue, presets::albef_presets};
use crate::{
    ConfigError, Layers, VisionConfig,
    config::{require_divides, require_layers, require_size},
    dropout::{MAX_SITES, check_probability},
    presets::find,
};

/// `0.07`: the initial temperature (Li et al. 2021, section 3.2).
pub const DEFAULT_TEMP: f64 = 0.07;

/// Standard deviation of the initial weights of BERT (Devlin et al. 2018) and DeiT.
pub(super) const DEFAULT_INIT_STD: f64 = 0.02;

/// An ALBEF's hyper-parameters. Its JSON is kept beside weights; an unknown key is an error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlbefConfig {
    /// Width of the contrastive space.
    pub embed_dim: usize,
    /// Image encoder, which is a vision transformer.
    pub vision_cfg: VisionConfig,
    /// Text and fusion encoder.
    pub text_cfg: BertConfig,
    /// Pairs whose momentum features are kept as further negatives.
    pub queue_size: usize,
    /// Initial temperature, by which similarities are divided. Default: 0.07.
    #[serde(default = "default_temp")]
    pub init_temp: f64,
    /// Standard deviation of the initial weights. Default: 0.02, that of BERT and DeiT, which suits their width of 768; a
    /// product with such weights keeps `0.02 sqrt(width)` of what goes in, so narrow models want more.
    #[serde(default = "default_init_std")]
    pub init_std: f64,
}

/// Text and fusion encoder of an [`AlbefConfig`]: one BERT, split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BertConfig {
    /// Tokens per text, `[CLS]` and padding included.
    pub context_length: usize,
    /// Number of token ids.
    pub vocab_size: usize,
    /// Width of the states.
    pub width: usize,
    /// Attention heads.
    pub heads: usize,
    /// Lower layers, which see the text alone.
    pub text_layers: usize,
    /// Upper layers, which see the image as well.
    pub fusion_layers: usize,
    /// Width of the feed-forward layer over that of the states. Default (BERT's): 4.
    #[serde(default = "default_mlp_ratio")]
    pub mlp_ratio: f64,
    /// Rows of the position table, at least `context_length`. Default (BERT's): 512.
    #[serde(default = "default_max_positions")]
    pub max_positions: usize,
    /// Share of hidden states and attention weights that training drops, in `[0, 1)`. Default (BERT's): 0.1.
    #[serde(default = "default_dropout")]
    pub dropout: f64,
    /// Whether there is a head that predicts masked tokens, which fine-tuning does without. Default: true.
    #[serde(default = "default_mlm_head")]
    pub mlm_head: bool,
}

fn default_init_std() -> f64 {
    DEFAULT_INIT_STD
}
fn default_temp() -> f64 {
    DEFAULT_TEMP
}
fn default_mlp_ratio() -> f64 {
    4.0
}
fn default_max_positions() -> usize {
    512
}
fn default_dropout() -> f64 {
    0.1
}
fn default_mlm_head() -> bool {
    true
}

impl AlbefConfig {
    /// The preset of this name, in upper or lower case.
    ///
    /// # Errors
    /// If there is no such preset; the error lists those that there are.
    pub fn named(name: &str) -> Result<Self, ConfigError> {
        find(albef_presets(), name).cloned()
    }

    /// Reads the JSON of a configuration.
    ///
    /// # Errors
    /// If the text is not JSON, has an unknown, missing or mistyped key, or describes no model.
    pub fn from_json(json: &str) -> Result<Self, ConfigError> {
        let config: Self = serde_json::from_str(json).map_err(ConfigError::Json)?;
        config.validate()?;
        Ok(config)
    }

    /// Checks that the sizes fit together.
    ///
    /// # Errors
    /// On the first that does not.
    pub fn validate(&self) -> Result<(), ConfigError> {
        require_size("embed_dim", self.embed_dim)?;
        require_size("queue_size", self.queue_size)?;
        if !(self.init_temp.is_finite() && self.init_temp > 0.0) {
            return Err(ConfigError::Temperature(self.init_temp));
        }
        if !(self.init_std.is_finite() && self.init_std > 0.0) {
            return Err(ConfigError::InitStd(self.init_std));
        }
        if let Layers::Stages(_) = self.vision_cfg.layers {
            return Err(ConfigError::AlbefResNet);
        }
        self.vision_cfg.validate()?;
        self.text_cfg.validate()
    }

    /// A model with fresh weights, the same on every backend: values are drawn on the host, each parameter's from
    /// `seed` and its name, when it is first used.
    ///
    /// # Panics
    /// If [`AlbefConfig::validate`] would fail.
    pub fn init(&self, seed: u64, device: &Device) -> Albef {
        Albef::new(self, seed, device)
    }

    /// A queue of random directions, as the reference starts with.
    pub fn init_queue(&self, seed: u64, device: &Device) -> FeatureQueue {
        FeatureQueue::new(self.queue_size, self.embed_dim, seed, device)
    }

    /// Blocks of the image encoder.
    pub(super) fn image_layers(&self) -> usize {
        match self.vision_cfg.layers {
            Layers::Depth(layers) => layers,
            Layers::Stages(_) => 0,
        }
    }
}

impl BertConfig {
    pub(crate) fn d_ff(&self) -> usize {
        (self.width as f64 * self.mlp_ratio) as usize
    }

    fn validate(&self) -> Result<(), ConfigError> {
        require_size("text_cfg.vocab_size", self.vocab_size)?;
        require_size("text_cfg.width", self.width)?;
        require_size("text_cfg.heads", self.heads)?;
        require_size("text_cfg.max_positions", self.max_positions)?;
        require_layers("text_cfg.text_layers", self.text_layers)?;
        require_layers("text_cfg.fusion_layers", self.fusion_layers)?;
        require_size("text_cfg.width * mlp_ratio", self.d_ff())?;
        require_divides("text_cfg.heads", self.heads, "width", self.width)?;
        check_probability(self.dropout)?;
        if !(2..=self.max_positions).contains(&self.context_length) {
            return Err(ConfigError::BertContextLength {
                context_length: self.context_length,
                max_positions: self.max_positions,
            });
        }
        let layers = self.text_layers + self.fusion_layers;
        let most = crate::text::bert::max_layers(MAX_SITES);
        if layers > most {
            return Err(ConfigError::BertLayers { layers, most });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_round_trip_keeps_everything() {
        let mut config = AlbefConfig::named("emoji-albef").unwrap();
        config.text_cfg.mlm_head = false;
        config.text_cfg.dropout = 0.25;
        let json = serde_json::to_string(&config).unwrap();
        assert_eq!(AlbefConfig::from_json(&json).unwrap(), config);
    }

    #[test]
    fn mistakes_are_named() {
        let json = serde_json::to_string(&AlbefConfig::named("tiny-albef").unwrap()).unwrap();
        let message = |json: &str| AlbefConfig::from_json(json).unwrap_err().to_string();
        let typo = json.replace("\"queue_size\"", "\"queue_len\"");
        assert!(
            message(&typo).contains("unknown field `queue_len`"),
            "{}",
            message(&typo)
        );
        let unknown = AlbefConfig::named("albef-huge").unwrap_err().to_string();
        assert!(
            unknown.contains("albef-huge") && unknown.contains("albef-base"),
            "{unknown}"
        );
    }

    #[test]
    fn every_rule_of_validate_can_fail() {
        let broken = |change: &dyn Fn(&mut AlbefConfig)| {
            let mut config = AlbefConfig::named("tiny-albef").unwrap();
            config.validate().unwrap();
            change(&mut config);
            config.validate().unwrap_err().to_string()
        };
        assert!(broken(&|c| c.embed_dim = 0).contains("embed_dim"));
        assert!(broken(&|c| c.queue_size = 0).contains("queue_size"));
        assert!(broken(&|c| c.init_temp = 0.0).contains("init_temp"));
        assert!(broken(&|c| c.init_std = f64::NAN).contains("init_std"));
        assert!(broken(&|c| c.vision_cfg.layers = Layers::Stages([1; 4])).contains("vision transformer"));
        assert!(broken(&|c| c.vision_cfg.patch_size = Some(7)).contains('7'));
        assert!(broken(&|c| c.text_cfg.heads = 3).contains("heads"));
        assert!(broken(&|c| c.text_cfg.text_layers = 0).contains("text_layers"));
        assert!(broken(&|c| c.text_cfg.fusion_layers = 0).contains("fusion_layers"));
        assert!(broken(&|c| c.text_cfg.fusion_layers = 1000).contains("1001"));
        assert!(broken(&|c| c.text_cfg.dropout = 1.0).contains("dropout"));
        assert!(broken(&|c| c.text_cfg.context_length = 1).contains("context_length"));
        assert!(broken(&|c| c.text_cfg.context_length = 513).contains("513"));
    }
}
