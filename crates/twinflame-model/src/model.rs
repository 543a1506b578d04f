//! Either kind of model, for everything that works with both.

use burn::tensor::{Device, Int, Tensor};
use serde::Serialize;

use crate::{
    Albef, AlbefConfig, Clip, ClipConfig, ConfigError, ImageInput, Pass, albef_presets, presets, presets::find,
};

/// What a model looks like. Its JSON is that of the configuration of its kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
#[allow(clippy::large_enum_variant, reason = "one value per run")]
pub enum ModelConfig {
    /// Two encoders.
    Clip(ClipConfig),
    /// Two encoders and a third that fuses them.
    Albef(AlbefConfig),
}

impl ModelConfig {
    /// The preset of this name, in upper or lower case, of either kind.
    ///
    /// # Errors
    /// If there is no such preset; the error lists those that there are.
    pub fn named(name: &str) -> Result<Self, ConfigError> {
        if let Ok(config) = find(albef_presets(), name) {
            return Ok(Self::Albef(config.clone()));
        }
        ClipConfig::named(name).map(Self::Clip).map_err(|error| match error {
            ConfigError::UnknownPreset { name, known } => {
                let albef: Vec<&str> = albef_presets().iter().map(|preset| preset.name).collect();
                ConfigError::UnknownPreset {
                    name,
                    known: format!("{known}, {}", albef.join(", ")),
                }
            }
            other => other,
        })
    }

    /// Names of all presets.
    pub fn names() -> impl Iterator<Item = &'static str> {
        let clip = presets().iter().map(|preset| preset.name);
        clip.chain(albef_presets().iter().map(|preset| preset.name))
    }

    /// Reads the JSON of a configuration, of the kind that its keys show.
    ///
    /// # Errors
    /// If the text is not JSON, has an unknown, missing or mistyped key, or describes no model.
    pub fn from_json(json: &str) -> Result<Self, ConfigError> {
        let value: serde_json::Value = serde_json::from_str(json).map_err(ConfigError::Json)?;
        // Only ALBEF has a queue. Trying one kind after the other would answer a typo with "matches no variant".
        match value.get("queue_size") {
            Some(_) => AlbefConfig::from_json(json).map(Self::Albef),
            None => ClipConfig::from_json(json).map(Self::Clip),
        }
    }

    /// Checks that the sizes fit together.
    ///
    /// # Errors
    /// On the first that does not.
    pub fn validate(&self) -> Result<(), ConfigError> {
        match self {
            Self::Clip(config) => config.validate(),
            Self::Albef(config) => config.validate(),
        }
    }

    /// Side of the square image, in pixels.
    #[must_use]
    pub fn image_size(&self) -> usize {
        match self {
            Self::Clip(config) => config.vision_cfg.image_size,
            Self::Albef(config) => config.vision_cfg.image_size,
        }
    }

    /// Tokens per text, padding included.
    #[must_use]
    pub fn context_length(&self) -> usize {
        match self {
            Self::Clip(config) => config.text_cfg.context_length,
            Self::Albef(config) => config.text_cfg.context_length,
        }
    }

    /// Number of token ids.
    #[must_use]
    pub fn vocab_size(&self) -> usize {
        match self {
            Self::Clip(config) => config.text_cfg.vocab_size,
            Self::Albef(config) => config.text_cfg.vocab_size,
        }
    }

    /// Width of the joint space.
    #[must_use]
    pub fn embed_dim(&self) -> usize {
        match self {
            Self::Clip(config) => config.embed_dim,
            Self::Albef(config) => config.embed_dim,
        }
    }
}

/// A model of either kind.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "one value per run")]
pub enum Model {
    /// Two encoders.
    Clip(Clip),
    /// Two encoders and a third that fuses them.
    Albef(Albef),
}

impl Model {
    /// Where the model is.
    #[must_use]
    pub fn device(&self) -> Device {
        match self {
            Self::Clip(clip) => clip.logit_scale.val().device(),
            Self::Albef(albef) => albef.temp.val().device(),
        }
    }

    /// Images in the joint space, as evaluation sees them: no running statistic moves, nothing is dropped.
    ///
    /// # Shapes
    /// - output: `[batch, embed_dim]`; the rows of a CLIP are not brought to length 1
    ///
    /// # Panics
    /// If the image has another size than the model.
    #[must_use]
    pub fn encode_image(&self, input: impl Into<ImageInput>) -> Tensor<2> {
        match self {
            Self::Clip(clip) => clip.encode_image(input, Pass::Eval),
            Self::Albef(albef) => albef.encoders.encode_image(input),
        }
    }

    /// Texts in the joint space, as evaluation sees them.
    ///
    /// # Shapes
    /// - tokens: `[batch, context_length]`
    /// - pad_id: what fills a row; a CLIP does not ask
    /// - output: `[batch, embed_dim]`; the rows of a CLIP are not brought to length 1
    #[must_use]
    pub fn encode_text(&self, tokens: Tensor<2, Int>, pad_id: u32) -> Tensor<2> {
        match self {
            Self::Clip(clip) => clip.encode_text(tokens),
            Self::Albef(albef) => {
                let mask_pad = tokens.clone().equal_elem(i64::from(pad_id));
                albef.encoders.encode_text(tokens, &mask_pad, None)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_or_json_finds_its_kind() {
        for name in ["tiny-vit", "vit-b-32-quickgelu", "tiny-albef"] {
            let config = ModelConfig::named(name).unwrap();
            let json = serde_json::to_string(&config).unwrap();
            assert_eq!(ModelConfig::from_json(&json).unwrap(), config);
            assert_eq!(matches!(config, ModelConfig::Albef(_)), name.contains("albef"));
        }
        let unknown = ModelConfig::named("albef-bse").unwrap_err().to_string();
        assert!(
            unknown.contains("albef-base") && unknown.contains("vit-b-32"),
            "{unknown}"
        );
        assert!(ModelConfig::names().any(|name| name == "emoji-albef"));
        let typo = r#"{"embed_dim": 8, "queue_size": 4, "vison_cfg": {}}"#;
        let error = ModelConfig::from_json(typo).unwrap_err().to_string();
        assert!(error.contains("vison_cfg"), "{error}");
    }
}
