//! A given configuration held against the one that shapes show.

use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use crate::{
    AlbefConfig, ClipConfig, Layers, TextKind,
    weights::{Allow, WeightsError},
};

/// Settings of which shapes say nothing, or that may differ: positions are resampled.
const FREE: [&str; 10] = [
    "vision_cfg.image_size",
    "vision_cfg.head_width",
    "vision_cfg.patch_dropout",
    "text_cfg.context_length",
    "text_cfg.heads",
    "text_cfg.pool",
    "text_cfg.dropout",
    "init_logit_scale",
    "init_temp",
    "init_std",
];

/// # Errors
/// If shapes show another model, or the weights are known to need another activation and `quick_gelu` is not allowed to
/// differ.
pub(super) fn clip(
    file: &Path,
    given: &ClipConfig,
    found: &ClipConfig,
    quick_gelu: Option<bool>,
    allow: &Allow,
) -> Result<(), WeightsError> {
    let is_cbow = found.text_cfg.kind == TextKind::Cbow;
    let is_resnet = matches!(found.vision_cfg.layers, Layers::Stages(_));
    let is_free = |key: &str| {
        FREE.contains(&key)
            || (key == "quick_gelu" && (quick_gelu.is_none() || allow.allows(key)))
            || (is_resnet && key == "vision_cfg.patch_size")
            || (is_cbow && ["text_cfg.layers", "text_cfg.mlp_ratio"].contains(&key))
            // Its presence shows, not its value.
            || (key == "init_logit_bias" && given.init_logit_bias.is_some() == found.init_logit_bias.is_some())
    };
    compare(file, given, found, is_free)
}

/// # Errors
/// If shapes show another model. A checkpoint with a head for masked tokens fits a model without.
pub(super) fn albef(file: &Path, given: &AlbefConfig, found: &AlbefConfig) -> Result<(), WeightsError> {
    let drops_head = found.text_cfg.mlm_head && !given.text_cfg.mlm_head;
    let is_free = |key: &str| FREE.contains(&key) || key == "queue_size" || (key == "text_cfg.mlm_head" && drops_head);
    compare(file, given, found, is_free)
}

/// # Errors
/// If a configuration that came with the weights has other heads, which shapes do not show.
pub(super) fn heads(file: &Path, given: &ClipConfig, with_weights: &ClipConfig) -> Result<(), WeightsError> {
    let is_free = |key: &str| !["vision_cfg.head_width", "text_cfg.heads"].contains(&key);
    compare(file, given, with_weights, is_free)
}

fn compare(
    file: &Path,
    given: &impl Serialize,
    found: &impl Serialize,
    is_free: impl Fn(&str) -> bool,
) -> Result<(), WeightsError> {
    let [given, found] =
        [serde_json::to_value(given), serde_json::to_value(found)].map(|value| settings(&value.unwrap_or_default()));
    let mut keys: Vec<&String> = given.iter().chain(&found).map(|(key, _)| key).collect();
    keys.sort();
    keys.dedup();
    let value = |settings: &[(String, Value)], key: &str| {
        let found = settings.iter().find(|(name, _)| name == key);
        found.map_or_else(|| "not there".to_owned(), |(_, value)| value.to_string())
    };
    let differs = |key: &&&String| !is_free(key);
    let differences: Vec<String> = keys
        .iter()
        .filter(differs)
        .map(|key| (key, value(&given, key), value(&found, key)))
        .filter(|(_, given, found)| given != found)
        .map(|(key, given, found)| format!("{key} is {found} in the weights and {given} in the configuration"))
        .collect();
    match differences.is_empty() {
        true => Ok(()),
        false => Err(WeightsError::Contradiction {
            path: file.to_owned(),
            differences,
        }),
    }
}

/// Keys with their sections, and values.
fn settings(config: &Value) -> Vec<(String, Value)> {
    let mut settings = Vec::new();
    for (key, value) in config.as_object().into_iter().flatten() {
        match value.as_object() {
            Some(section) if key.ends_with("_cfg") => {
                settings.extend(
                    section
                        .iter()
                        .map(|(inner, value)| (format!("{key}.{inner}"), value.clone())),
                );
            }
            _ => settings.push((key.clone(), value.clone())),
        }
    }
    settings
}
