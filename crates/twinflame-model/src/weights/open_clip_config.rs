//! `model_cfg` of open_clip's `open_clip_config.json`.

use serde_json::{Value, json};

use super::WeightsError;
use crate::{ClipConfig, ConfigError, TextKind, TextPool};

/// Keys of `text_cfg` that say how texts become ids, which is no matter of the model.
const OF_THE_TOKENIZER: [&str; 3] = ["hf_tokenizer_name", "tokenizer_kwargs", "tokenizer_mode"];
/// open_clip's default for `eos_id`.
const EOS_ID: u64 = 2;

/// The configuration that open_clip's `model_cfg` describes.
///
/// # Errors
/// If it has a key that no model of this crate has, or lacks one, or describes no model.
pub fn config_from_open_clip(mut model_cfg: Value) -> Result<ClipConfig, WeightsError> {
    if let Some(text) = model_cfg.get_mut("text_cfg").and_then(Value::as_object_mut) {
        text.retain(|key, _| !OF_THE_TOKENIZER.contains(&key.as_str()));
        let eos_id = text.remove("eos_id");
        match text.get("pool_type").and_then(Value::as_str) {
            Some("argmax") => drop(text.remove("pool_type")),
            Some("eos") => {
                text.remove("pool_type");
                text.insert("pool".into(), json!({"eos": eos_id.unwrap_or(EOS_ID.into())}));
            }
            // Left in, it is named as the key that is unknown.
            _ => {}
        }
    }
    Ok(ClipConfig::from_json(&model_cfg.to_string())?)
}

/// open_clip's `model_cfg` of a configuration.
///
/// # Errors
/// If the text encoder is a bag of words, which open_clip has not.
pub fn config_to_open_clip(config: &ClipConfig) -> Result<Value, WeightsError> {
    if config.text_cfg.kind == TextKind::Cbow {
        return Err(WeightsError::Inexpressible {
            format: "open_clip",
            reason: "its text tower is a bag of words, and open_clip has transformers only".into(),
        });
    }
    let mut json = serde_json::to_value(config).map_err(ConfigError::Json)?;
    if let Some(text) = json["text_cfg"].as_object_mut() {
        text.remove("kind");
        text.remove("pool");
        if let TextPool::Eos(id) = config.text_cfg.pool {
            text.insert("pool_type".into(), json!("eos"));
            text.insert("eos_id".into(), json!(id));
        }
    }
    Ok(json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back_is_the_same_configuration() {
        for name in ["tiny-vit", "tiny-rn", "vit-b-32-quickgelu"] {
            for pool in [TextPool::Argmax, TextPool::Eos(7)] {
                let mut config = ClipConfig::named(name).unwrap();
                config.text_cfg.pool = pool;
                config.init_logit_bias = (name == "tiny-vit").then_some(-10.0);
                let mut json = config_to_open_clip(&config).unwrap();
                json["text_cfg"]["hf_tokenizer_name"] = json!("some/where");
                json["text_cfg"]["tokenizer_kwargs"] = json!({"clean": "lower"});
                assert_eq!(config_from_open_clip(json).unwrap(), config);
            }
        }
    }

    #[test]
    fn what_the_other_side_lacks_is_named() {
        let error = config_to_open_clip(&ClipConfig::named("emoji-cbow").unwrap()).unwrap_err();
        assert!(error.to_string().contains("bag of words"), "{error}");
        for (key, value) in [("pool_type", json!("last")), ("hf_model_name", json!("roberta-base"))] {
            let mut json = config_to_open_clip(&ClipConfig::named("tiny-vit").unwrap()).unwrap();
            json["text_cfg"][key] = value;
            let error = config_from_open_clip(json).unwrap_err().to_string();
            assert!(error.contains(&format!("unknown field `{key}`")), "{error}");
        }
        config_from_open_clip(json!(3)).unwrap_err();
    }
}
