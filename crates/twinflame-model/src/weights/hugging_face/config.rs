//! `config.json` of a `CLIPModel`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::inexpressible;
use crate::{
    ClipConfig, ConfigError, Layers, TextConfig, TextKind, TextPool, VisionConfig, config::DEFAULT_LOGIT_SCALE,
    weights::WeightsError,
};

/// The addend of every layer normalisation of a CLIP.
const NORM_EPSILON: f64 = 1e-5;
/// With this `eos_token_id`, whatever the vocabulary says, transformers reads a text out at its largest id: that is how
/// it keeps the first published configurations working.
const LARGEST_ID: u32 = 2;

/// The part of `config.json` that decides what a `CLIPModel` computes; keys left out have transformers' defaults.
#[derive(Debug, Serialize, Deserialize)]
#[serde(default)]
struct Config {
    model_type: String,
    architectures: Vec<String>,
    projection_dim: usize,
    logit_scale_init_value: f64,
    text_config: Text,
    vision_config: Vision,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(default)]
struct Text {
    model_type: String,
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    projection_dim: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    max_position_embeddings: usize,
    hidden_act: String,
    layer_norm_eps: f64,
    eos_token_id: Option<u32>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(default)]
struct Vision {
    model_type: String,
    hidden_size: usize,
    intermediate_size: usize,
    projection_dim: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_channels: usize,
    image_size: usize,
    patch_size: usize,
    hidden_act: String,
    layer_norm_eps: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            model_type: "clip".into(),
            architectures: vec!["CLIPModel".into()],
            projection_dim: 512,
            logit_scale_init_value: DEFAULT_LOGIT_SCALE,
            text_config: Text::default(),
            vision_config: Vision::default(),
        }
    }
}

impl Default for Text {
    fn default() -> Self {
        Self {
            model_type: "clip_text_model".into(),
            vocab_size: 49_408,
            hidden_size: 512,
            intermediate_size: 2048,
            projection_dim: 512,
            num_hidden_layers: 12,
            num_attention_heads: 8,
            max_position_embeddings: 77,
            hidden_act: QUICK_GELU.into(),
            layer_norm_eps: NORM_EPSILON,
            eos_token_id: Some(49_407),
        }
    }
}

impl Default for Vision {
    fn default() -> Self {
        Self {
            model_type: "clip_vision_model".into(),
            hidden_size: 768,
            intermediate_size: 3072,
            projection_dim: 512,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            num_channels: 3,
            image_size: 224,
            patch_size: 32,
            hidden_act: QUICK_GELU.into(),
            layer_norm_eps: NORM_EPSILON,
        }
    }
}

const QUICK_GELU: &str = "quick_gelu";
const GELU: &str = "gelu";

/// The configuration that a `config.json` describes; keys without meaning for a forward pass are passed over.
///
/// # Errors
/// If it is not JSON, of another kind of model than CLIP, or describes one that this crate does not have: other
/// activations, an activation for each tower, another epsilon or number of colours.
pub fn config_from_json(json: &str) -> Result<ClipConfig, WeightsError> {
    let mut root: Map<String, Value> = serde_json::from_str(json).map_err(ConfigError::Json)?;
    for tower in ["text_config", "vision_config"] {
        prefer_old_key(&mut root, tower);
    }
    let config: Config = serde_json::from_value(Value::Object(root)).map_err(ConfigError::Json)?;
    config.check()?;
    let (text, vision) = (&config.text_config, &config.vision_config);
    let vocab_size = text.vocab_size;
    let result = ClipConfig {
        embed_dim: config.projection_dim,
        quick_gelu: text.hidden_act == QUICK_GELU,
        init_logit_scale: config.logit_scale_init_value,
        init_logit_bias: None,
        vision_cfg: VisionConfig {
            image_size: vision.image_size,
            layers: Layers::Depth(vision.num_hidden_layers),
            width: vision.hidden_size,
            patch_size: Some(vision.patch_size),
            head_width: vision.hidden_size / vision.num_attention_heads,
            mlp_ratio: ratio(vision.hidden_size, vision.intermediate_size),
            patch_dropout: 0.0,
        },
        text_cfg: TextConfig {
            kind: TextKind::Transformer,
            context_length: text.max_position_embeddings,
            vocab_size,
            width: text.hidden_size,
            heads: text.num_attention_heads,
            layers: text.num_hidden_layers,
            mlp_ratio: ratio(text.hidden_size, text.intermediate_size),
            pool: match text.eos_token_id {
                // The largest id of the vocabulary is the largest of a text, too.
                Some(id) if id != LARGEST_ID && id as usize + 1 != vocab_size => TextPool::Eos(id),
                _ => TextPool::Argmax,
            },
        },
    };
    result.validate()?;
    Ok(result)
}

/// The `config.json` of a `CLIPModel` of this configuration.
///
/// # Errors
/// If there is none: a ResNet, a bag of words, a bias of the logits, or heads that do not have the same width.
pub fn config_to_json(config: &ClipConfig) -> Result<Value, WeightsError> {
    let (vision, text) = (&config.vision_cfg, &config.text_cfg);
    let (Layers::Depth(layers), Some(patch_size)) = (vision.layers, vision.patch_size) else {
        return Err(inexpressible(
            "its image tower is a ResNet, and CLIPModel has Vision Transformers only".into(),
        ));
    };
    if text.kind == TextKind::Cbow {
        return Err(inexpressible(
            "its text tower is a bag of words, and CLIPModel has transformers only".into(),
        ));
    }
    if config.init_logit_bias.is_some() {
        return Err(inexpressible(
            "it has a bias of the logits, which SigLIP's loss trains and CLIPModel lacks".into(),
        ));
    }
    let eos_token_id = match text.pool {
        TextPool::Argmax => LARGEST_ID,
        TextPool::Eos(LARGEST_ID) => {
            return Err(inexpressible(
                "its texts end with token 2, and CLIPModel takes that for \"the largest id\"".into(),
            ));
        }
        TextPool::Eos(id) => id,
    };
    let hidden_act = if config.quick_gelu { QUICK_GELU } else { GELU };
    let config = Config {
        projection_dim: config.embed_dim,
        logit_scale_init_value: config.init_logit_scale,
        text_config: Text {
            vocab_size: text.vocab_size,
            hidden_size: text.width,
            intermediate_size: text.d_ff(),
            projection_dim: config.embed_dim,
            num_hidden_layers: text.layers,
            num_attention_heads: text.heads,
            max_position_embeddings: text.context_length,
            hidden_act: hidden_act.into(),
            eos_token_id: Some(eos_token_id),
            ..Text::default()
        },
        vision_config: Vision {
            hidden_size: vision.width,
            intermediate_size: vision.d_ff(),
            projection_dim: config.embed_dim,
            num_hidden_layers: layers,
            num_attention_heads: vision.num_heads(),
            image_size: vision.image_size,
            patch_size,
            hidden_act: hidden_act.into(),
            ..Vision::default()
        },
        ..Config::default()
    };
    Ok(serde_json::to_value(config).map_err(ConfigError::Json)?)
}

impl Config {
    fn check(&self) -> Result<(), WeightsError> {
        let (text, vision) = (&self.text_config, &self.vision_config);
        let key = |key: &str, found: &dyn std::fmt::Debug, expected: &'static str| WeightsError::Setting {
            key: key.to_owned(),
            found: format!("{found:?}"),
            expected,
        };
        if self.model_type != "clip" {
            return Err(key("model_type", &self.model_type, "\"clip\""));
        }
        if vision.num_channels != 3 {
            return Err(key("vision_config.num_channels", &vision.num_channels, "3"));
        }
        let heads = vision.num_attention_heads;
        if heads == 0 || !vision.hidden_size.is_multiple_of(heads) {
            let name = "vision_config.num_attention_heads";
            return Err(key(name, &heads, "a number of heads that divides hidden_size"));
        }
        for (name, activation, epsilon) in [
            ("text_config", &text.hidden_act, text.layer_norm_eps),
            ("vision_config", &vision.hidden_act, vision.layer_norm_eps),
        ] {
            if ![GELU, QUICK_GELU].contains(&activation.as_str()) {
                return Err(key(
                    &format!("{name}.hidden_act"),
                    activation,
                    "\"gelu\" or \"quick_gelu\"",
                ));
            }
            if epsilon != NORM_EPSILON {
                return Err(key(&format!("{name}.layer_norm_eps"), &epsilon, "1e-5"));
            }
        }
        if text.hidden_act != vision.hidden_act {
            return Err(key(
                "vision_config.hidden_act",
                &vision.hidden_act,
                "that of text_config",
            ));
        }
        Ok(())
    }
}

/// Old files have the values that count in `<tower>_dict`, beside a `<tower>` of defaults.
fn prefer_old_key(root: &mut Map<String, Value>, tower: &str) {
    let old = root.remove(&format!("{tower}_dict"));
    if root.get(tower) == Some(&Value::Null) {
        root.remove(tower);
    }
    if let Some(Value::Object(old)) = old
        && let Value::Object(new) = root.entry(tower).or_insert_with(|| Value::Object(Map::new()))
    {
        new.extend(old.into_iter().filter(|(_, value)| !value.is_null()));
    }
}

/// The ratio that gives exactly `d_ff` when it is multiplied by `width` and truncated.
fn ratio(width: usize, d_ff: usize) -> f64 {
    let ratio = d_ff as f64 / width as f64;
    match (width as f64 * ratio) as usize == d_ff {
        true => ratio,
        false => ratio.next_up(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::presets;

    #[test]
    fn every_vision_transformer_goes_there_and_back() {
        let mut checked = 0;
        for preset in presets() {
            let is_vit = matches!(preset.config.vision_cfg.layers, Layers::Depth(_));
            let Ok(json) = config_to_json(&preset.config) else {
                assert!(!is_vit, "{}", preset.name);
                continue;
            };
            let mut back = config_from_json(&json.to_string()).unwrap();
            assert_eq!(
                back.vision_cfg.d_ff(),
                preset.config.vision_cfg.d_ff(),
                "{}",
                preset.name
            );
            back.vision_cfg.mlp_ratio = preset.config.vision_cfg.mlp_ratio;
            assert_eq!(back, preset.config, "{}", preset.name);
            checked += 1;
        }
        assert!(checked > 15);
    }

    #[test]
    fn left_out_keys_are_those_of_openais_vit_b_32() {
        let expected = ClipConfig::named("vit-b-32-quickgelu").unwrap();
        let json =
            r#"{"model_type": "clip", "transformers_version": "4.0", "logit_scale_init_value": 2.659260036932778}"#;
        assert_eq!(config_from_json(json).unwrap(), expected);
        // As the first published folders have it: defaults in one key, what counts in another.
        let json = r#"{"model_type": "clip", "projection_dim": 768, "text_config": null,
            "text_config_dict": {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12,
                "eos_token_id": 2, "hidden_act": "gelu"},
            "vision_config": {"hidden_size": 1, "hidden_act": "quick_gelu"},
            "vision_config_dict": {"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16,
                "num_hidden_layers": 24, "patch_size": 14, "hidden_act": "gelu"}}"#;
        assert_eq!(config_from_json(json).unwrap(), ClipConfig::named("vit-l-14").unwrap());
    }

    #[test]
    fn ends_of_text_keep_their_meaning() {
        let mut config = ClipConfig::named("tiny-vit").unwrap();
        for pool in [TextPool::Argmax, TextPool::Eos(7)] {
            config.text_cfg.pool = pool;
            let json = config_to_json(&config).unwrap().to_string();
            assert_eq!(config_from_json(&json).unwrap().text_cfg.pool, pool);
        }
        config.text_cfg.pool = TextPool::Eos(2);
        assert!(config_to_json(&config).unwrap_err().to_string().contains("token 2"));
    }

    #[test]
    fn what_cannot_be_said_says_why() {
        let message = |name: &str, bias: Option<f64>| {
            let mut config = ClipConfig::named(name).unwrap();
            config.init_logit_bias = bias;
            config_to_json(&config).unwrap_err().to_string()
        };
        assert!(message("tiny-rn", None).contains("ResNet"));
        assert!(message("tiny-vit", Some(-10.0)).contains("bias of the logits"));
        let mut cbow = ClipConfig::named("tiny-vit").unwrap();
        cbow.text_cfg.kind = TextKind::Cbow;
        assert!(config_to_json(&cbow).unwrap_err().to_string().contains("bag of words"));
    }

    #[test]
    fn mistakes_are_named() {
        let message = |json: &str| config_from_json(json).unwrap_err().to_string();
        assert!(message("{").contains("EOF"), "{}", message("{"));
        for (json, expected) in [
            (r#"{"model_type": "siglip"}"#, "model_type is \"siglip\""),
            (
                r#"{"text_config": {"hidden_act": "gelu_new"}}"#,
                "text_config.hidden_act is \"gelu_new\"",
            ),
            (
                r#"{"text_config": {"hidden_act": "gelu"}}"#,
                "vision_config.hidden_act is \"quick_gelu\"",
            ),
            (
                r#"{"vision_config": {"num_channels": 1}}"#,
                "vision_config.num_channels is 1",
            ),
            (
                r#"{"vision_config": {"layer_norm_eps": 1e-6}}"#,
                "vision_config.layer_norm_eps is 1e-6",
            ),
            (r#"{"vision_config": {"hidden_size": 0}}"#, "vision_cfg.width"),
            (
                r#"{"vision_config": {"num_attention_heads": 0}}"#,
                "vision_config.num_attention_heads is 0",
            ),
            (r#"{"vision_config": {"hidden_size": "x"}}"#, "invalid type"),
        ] {
            let text = message(json);
            assert!(text.contains(expected), "{json}: {text}");
        }
    }
}
