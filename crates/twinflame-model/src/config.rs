//! What a CLIP looks like, as data.

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use crate::{
    Clip,
    activation::Activation,
    error::ConfigError,
    presets::{find, presets},
};

/// `ln(1 / 0.07)`: the initial logit scale (Radford et al. 2021, section 2.5).
pub const DEFAULT_LOGIT_SCALE: f64 = 2.659_260_036_932_778;

/// A CLIP's hyper-parameters.
///
/// Its JSON is a superset of open_clip's `model_configs/*.json` for the models that this crate has: those files parse
/// as they are. An unknown key is an error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClipConfig {
    /// Width of the joint space.
    pub embed_dim: usize,
    /// Image encoder.
    pub vision_cfg: VisionConfig,
    /// Text encoder.
    pub text_cfg: TextConfig,
    /// Whether both transformers use QuickGELU (OpenAI's weights need it) and not GELU.
    #[serde(default)]
    pub quick_gelu: bool,
    /// Initial natural logarithm of the inverse temperature. SigLIP starts at `ln 10`.
    #[serde(default = "default_logit_scale")]
    pub init_logit_scale: f64,
    /// Initial bias of the logits; `None` means that there is none. SigLIP starts at -10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_logit_bias: Option<f64>,
}

/// Depth of an image encoder; its form says which encoder it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "`layers` is one number (blocks of a vision transformer) or four (blocks of a ResNet's stages)"
)]
pub enum Layers {
    /// Blocks of a vision transformer.
    Depth(usize),
    /// Bottlenecks in each stage of a modified ResNet.
    Stages([usize; 4]),
}

/// Image encoder of a [`ClipConfig`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VisionConfig {
    /// Side of the square image, in pixels.
    pub image_size: usize,
    /// Depth.
    pub layers: Layers,
    /// Width of the transformer, or of the ResNet's first stage.
    pub width: usize,
    /// Side of a patch, in pixels; a ResNet has none. Default (open_clip's): 16.
    #[serde(default = "default_patch_size")]
    pub patch_size: Option<usize>,
    /// Width of one attention head. Default (open_clip's): 64.
    #[serde(default = "default_head_width")]
    pub head_width: usize,
    /// Width of the feed-forward layer over the transformer's. Default (open_clip's): 4.
    #[serde(default = "default_mlp_ratio")]
    pub mlp_ratio: f64,
    /// Share of the patches that training leaves out, in `[0, 1)`. Default: 0.
    #[serde(default)]
    pub patch_dropout: f64,
}

/// Kind of text encoder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TextKind {
    /// Causal transformer.
    #[default]
    Transformer,
    /// Mean of token embeddings; ignores heads, layers and `mlp_ratio`.
    Cbow,
}

/// Which token a text encoder takes for the end of the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TextPool {
    /// The largest id, which is the end-of-text token of CLIP's vocabulary.
    #[default]
    Argmax,
    /// This id.
    Eos(u32),
}

/// Text encoder of a [`ClipConfig`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextConfig {
    /// Transformer or bag of words.
    #[serde(default)]
    pub kind: TextKind,
    /// Tokens per text, padding included.
    pub context_length: usize,
    /// Number of token ids.
    pub vocab_size: usize,
    /// Width of the embeddings.
    pub width: usize,
    /// Attention heads. Default (open_clip's): 8.
    #[serde(default = "default_text_heads")]
    pub heads: usize,
    /// Blocks. Default (open_clip's): 12.
    #[serde(default = "default_text_layers")]
    pub layers: usize,
    /// Width of the feed-forward layer over the transformer's. Default (open_clip's): 4.
    #[serde(default = "default_mlp_ratio")]
    pub mlp_ratio: f64,
    /// End of the text.
    #[serde(default)]
    pub pool: TextPool,
}

fn default_logit_scale() -> f64 {
    DEFAULT_LOGIT_SCALE
}
fn default_patch_size() -> Option<usize> {
    Some(16)
}
fn default_head_width() -> usize {
    64
}
fn default_mlp_ratio() -> f64 {
    4.0
}
fn default_text_heads() -> usize {
    8
}
fn default_text_layers() -> usize {
    12
}

impl ClipConfig {
    /// The preset of this name, in upper or lower case. A preset's name followed by `-quickgelu` is that preset with
    /// QuickGELU.
    ///
    /// # Errors
    /// If there is no such preset; the error lists those that there are.
    pub fn named(name: &str) -> Result<Self, ConfigError> {
        let named = |name: &str| find(presets(), name).cloned();
        named(name).or_else(|unknown| {
            let name = name.to_lowercase();
            match name.strip_suffix("-quickgelu").map(named) {
                Some(Ok(plain)) => Ok(Self {
                    quick_gelu: true,
                    ..plain
                }),
                _ => Err(unknown),
            }
        })
    }

    /// Reads the JSON of open_clip's `model_configs` or of this crate.
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
        self.vision_cfg.validate()?;
        self.text_cfg.validate()
    }

    /// A model with fresh weights, the same on every backend: values are drawn on the host, each parameter's from
    /// `seed` and its name, when it is first used.
    ///
    /// # Panics
    /// If [`ClipConfig::validate`] would fail.
    pub fn init(&self, seed: u64, device: &Device) -> Clip {
        Clip::new(self, seed, device)
    }

    pub(crate) fn activation(&self) -> Activation {
        if self.quick_gelu {
            Activation::QuickGelu
        } else {
            Activation::Gelu
        }
    }
}

impl VisionConfig {
    /// Number of attention heads: of a transformer's blocks, or of a ResNet's attention pool, which is 32 times as wide
    /// as its first stage.
    pub fn num_heads(&self) -> usize {
        match self.layers {
            Layers::Depth(_) => self.width / self.head_width,
            Layers::Stages(_) => self.width * 32 / self.head_width,
        }
    }

    /// Number of patches of an image; `None` for a ResNet.
    pub fn num_patches(&self) -> Option<usize> {
        match self.layers {
            Layers::Depth(_) => self.patch_size.map(|size| self.num_patches_of(size)),
            Layers::Stages(_) => None,
        }
    }

    pub(crate) fn num_patches_of(&self, patch_size: usize) -> usize {
        (self.image_size / patch_size).pow(2)
    }

    /// Truncated, as open_clip does: ViT-g's 1408 * 4.3637 is 6144.
    pub(crate) fn d_ff(&self) -> usize {
        (self.width as f64 * self.mlp_ratio) as usize
    }

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        require_size("vision_cfg.image_size", self.image_size)?;
        require_size("vision_cfg.width", self.width)?;
        require_size("vision_cfg.head_width", self.head_width)?;
        match self.layers {
            Layers::Depth(layers) => self.validate_vit(layers),
            Layers::Stages(stages) => self.validate_resnet(stages),
        }
    }

    fn validate_vit(&self, layers: usize) -> Result<(), ConfigError> {
        require_layers("vision_cfg.layers", layers)?;
        require_size("vision_cfg.width * mlp_ratio", self.d_ff())?;
        let patch_size = self.patch_size.ok_or(ConfigError::NoPatchSize)?;
        require_size("vision_cfg.patch_size", patch_size)?;
        require_divides("vision_cfg.patch_size", patch_size, "image_size", self.image_size)?;
        require_divides("vision_cfg.head_width", self.head_width, "width", self.width)?;
        if !(0.0..1.0).contains(&self.patch_dropout) {
            return Err(ConfigError::PatchDropout(self.patch_dropout));
        }
        Ok(())
    }

    fn validate_resnet(&self, stages: [usize; 4]) -> Result<(), ConfigError> {
        for blocks in stages {
            require_layers("vision_cfg.layers", blocks)?;
        }
        require_divides("2 (half of the stem)", 2, "vision_cfg.width", self.width)?;
        require_divides(
            "32 (the ResNet's reduction)",
            32,
            "vision_cfg.image_size",
            self.image_size,
        )?;
        require_divides("vision_cfg.head_width", self.head_width, "32 * width", self.width * 32)?;
        if self.patch_dropout != 0.0 {
            return Err(ConfigError::PatchDropoutOfResNet(self.patch_dropout));
        }
        Ok(())
    }
}

impl TextConfig {
    pub(crate) fn d_ff(&self) -> usize {
        (self.width as f64 * self.mlp_ratio) as usize
    }

    fn validate(&self) -> Result<(), ConfigError> {
        require_size("text_cfg.vocab_size", self.vocab_size)?;
        require_size("text_cfg.width", self.width)?;
        require_size("text_cfg.context_length", self.context_length)?;
        if self.context_length < 3 {
            return Err(ConfigError::ContextLength(self.context_length));
        }
        if let TextPool::Eos(id) = self.pool
            && id as usize >= self.vocab_size
        {
            return Err(ConfigError::EosId {
                id,
                vocab_size: self.vocab_size,
            });
        }
        if self.kind == TextKind::Transformer {
            require_layers("text_cfg.layers", self.layers)?;
            require_size("text_cfg.heads", self.heads)?;
            require_size("text_cfg.width * mlp_ratio", self.d_ff())?;
            require_divides("text_cfg.heads", self.heads, "width", self.width)?;
        }
        Ok(())
    }
}

/// Largest width, side or number of tokens, and most blocks: what is counted from them does not overflow.
const MAX_SIZE: usize = 1 << 20;
const MAX_LAYERS: usize = 1 << 10;

pub(crate) fn require_size(key: &'static str, value: usize) -> Result<(), ConfigError> {
    require_at_most(MAX_SIZE, key, value)
}

pub(crate) fn require_layers(key: &'static str, value: usize) -> Result<(), ConfigError> {
    require_at_most(MAX_LAYERS, key, value)
}

fn require_at_most(most: usize, key: &'static str, value: usize) -> Result<(), ConfigError> {
    match value {
        0 => Err(ConfigError::Zero(key)),
        _ if value <= most => Ok(()),
        _ => Err(ConfigError::Large { key, value, most }),
    }
}

pub(crate) fn require_divides(
    divisor_key: &'static str,
    divisor: usize,
    key: &'static str,
    value: usize,
) -> Result<(), ConfigError> {
    if divisor == 0 || !value.is_multiple_of(divisor) {
        return Err(ConfigError::Divide {
            divisor_key,
            divisor,
            key,
            value,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RN50: &str = r#"{"embed_dim": 1024,
        "vision_cfg": {"image_size": 224, "layers": [3, 4, 6, 3], "width": 64, "patch_size": null},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 12}}"#;
    const BIGG: &str = r#"{"embed_dim": 1280, "quick_gelu": true,
        "vision_cfg": {"image_size": 224, "layers": 48, "width": 1664, "head_width": 104, "mlp_ratio": 4.9231,
            "patch_size": 14},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 1280, "heads": 20, "layers": 32}}"#;

    #[test]
    fn open_clips_files_are_the_presets() {
        assert_eq!(ClipConfig::from_json(RN50).unwrap(), ClipConfig::named("RN50").unwrap());
        assert_eq!(
            ClipConfig::from_json(BIGG).unwrap(),
            ClipConfig::named("vit-bigg-14-quickgelu").unwrap()
        );
    }

    #[test]
    fn json_round_trip_keeps_everything() {
        let mut config = ClipConfig::named("emoji-cbow").unwrap();
        config.init_logit_bias = Some(-10.0);
        config.text_cfg.pool = TextPool::Eos(7);
        let json = serde_json::to_string(&config).unwrap();
        assert_eq!(ClipConfig::from_json(&json).unwrap(), config);
    }

    #[test]
    fn mistakes_are_named() {
        let message = |json: &str| ClipConfig::from_json(json).unwrap_err().to_string();
        let typo = RN50.replace("\"width\": 64", "\"widht\": 64");
        assert!(message(&typo).contains("unknown field `widht`"), "{}", message(&typo));
        let layers = RN50.replace("[3, 4, 6, 3]", "[3, 4, 6]");
        assert!(message(&layers).contains("four"), "{}", message(&layers));
        let size = RN50.replace("224", "225");
        assert!(message(&size).contains("225"), "{}", message(&size));
        let unknown = ClipConfig::named("vit-b-31").unwrap_err().to_string();
        assert!(
            unknown.contains("vit-b-31") && unknown.contains("vit-b-32"),
            "{unknown}"
        );
    }

    #[test]
    fn every_rule_of_validate_can_fail() {
        let broken = |name: &str, change: &dyn Fn(&mut ClipConfig)| {
            let mut config = ClipConfig::named(name).unwrap();
            config.validate().unwrap();
            change(&mut config);
            config.validate().unwrap_err().to_string()
        };
        assert!(broken("vit-b-32", &|c| c.vision_cfg.patch_size = None).contains("patch_size"));
        assert!(broken("vit-b-32", &|c| c.vision_cfg.patch_size = Some(30)).contains("30"));
        assert!(broken("vit-b-32", &|c| c.vision_cfg.head_width = 100).contains("head_width"));
        assert!(broken("vit-b-32", &|c| c.vision_cfg.patch_dropout = 1.0).contains("patch_dropout"));
        assert!(broken("rn50", &|c| c.vision_cfg.patch_dropout = 0.5).contains("patch_dropout"));
        assert!(broken("rn50", &|c| c.embed_dim = 0).contains("embed_dim"));
        assert!(broken("rn50", &|c| c.vision_cfg.width = usize::MAX / 8).contains("at most 1048576"));
        assert!(broken("rn50", &|c| c.text_cfg.heads = 7).contains("heads"));
        assert!(broken("rn50", &|c| c.text_cfg.context_length = 2).contains("context_length"));
        assert!(broken("rn50", &|c| c.text_cfg.pool = TextPool::Eos(49408)).contains("49408"));
    }
}
