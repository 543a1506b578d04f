//! What pixels go through before a foreign model, from the files beside its weights.

use std::fs;
use std::path::Path;

use serde::Deserialize;
use toml::{Table, Value};
use twinflame_model::ModelConfig;

use crate::run::RunError;

/// `preprocessor_config.json` of transformers, as far as it matters here.
#[derive(Deserialize)]
struct HuggingFace {
    image_mean: Option<[f64; 3]>,
    image_std: Option<[f64; 3]>,
}

/// `open_clip_config.json` of open_clip, as far as it matters here.
#[derive(Deserialize)]
struct OpenClip {
    preprocess_cfg: Option<PreprocessConfig>,
}

#[derive(Deserialize)]
struct PreprocessConfig {
    mean: Option<[f64; 3]>,
    std: Option<[f64; 3]>,
    interpolation: Option<String>,
    resize_mode: Option<String>,
}

/// `[transform]` of a recipe: a CLIP's default, an ALBEF's squash, changed by what the files say.
pub(super) fn transform(config: &ModelConfig, folder: &Path) -> Result<Table, RunError> {
    let mut transform = Table::new();
    if let ModelConfig::Albef(_) = config {
        transform.insert("mode".into(), "squash".into());
        transform.insert("color_conversion".into(), "before_resize".into());
    }
    if let Some(file) = read::<HuggingFace>(&folder.join("preprocessor_config.json"))? {
        set_colours(&mut transform, file.image_mean, file.image_std);
    }
    let file = read::<OpenClip>(&folder.join("open_clip_config.json"))?;
    if let Some(preprocess) = file.and_then(|file| file.preprocess_cfg) {
        set_colours(&mut transform, preprocess.mean, preprocess.std);
        if let Some(interpolation) = preprocess.interpolation.filter(|name| name != "random") {
            transform.insert("interpolation".into(), interpolation.into());
        }
        let mode = preprocess.resize_mode.as_deref().and_then(|mode| match mode {
            "shortest" => Some("shortest_crop"),
            "squash" => Some("squash"),
            "longest" => Some("longest_pad"),
            _ => None,
        });
        if let Some(mode) = mode {
            transform.insert("mode".into(), mode.into());
        }
    }
    Ok(transform)
}

fn set_colours(transform: &mut Table, mean: Option<[f64; 3]>, std: Option<[f64; 3]>) {
    for (key, values) in [("mean", mean), ("std", std)] {
        if let Some(values) = values {
            transform.insert(key.into(), Value::Array(values.map(Value::Float).to_vec()));
        }
    }
}

/// A JSON file, if it is there.
fn read<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<Option<T>, RunError> {
    if !path.is_file() {
        return Ok(None);
    }
    let text = fs::read_to_string(path).map_err(RunError::io(path))?;
    let parsed = serde_json::from_str(&text).map_err(|source| RunError::Json {
        path: path.to_owned(),
        source,
    })?;
    Ok(Some(parsed))
}
