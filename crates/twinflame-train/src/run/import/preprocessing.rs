//! What pixels go through before a foreign model, from the files beside its weights.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;
use toml::{Table, Value as TomlValue};
use twinflame_model::{ClipConfig, ModelConfig};

use crate::run::RunError;

const HUGGING_FACE_FILE: &str = "preprocessor_config.json";
const OPEN_CLIP_FILE: &str = "open_clip_config.json";

/// `preprocessor_config.json` of transformers; what is not said is as `CLIPImageProcessor` has it.
#[derive(Deserialize)]
struct HuggingFace {
    do_resize: Option<bool>,
    do_center_crop: Option<bool>,
    do_rescale: Option<bool>,
    do_normalize: Option<bool>,
    rescale_factor: Option<f64>,
    /// A number or an object with `shortest_edge` or with `height` and `width`.
    size: Option<Value>,
    crop_size: Option<Value>,
    /// Pillow's number of the kernel.
    resample: Option<u8>,
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
///
/// # Errors
/// If a file asks for something that the transform cannot do.
pub(super) fn transform(config: &ModelConfig, folder: &Path) -> Result<Table, RunError> {
    let mut transform = Table::new();
    if let ModelConfig::Albef(_) = config {
        transform.insert("mode".into(), "squash".into());
        transform.insert("color_conversion".into(), "before_resize".into());
    }
    let path = folder.join(HUGGING_FACE_FILE);
    if let Some(file) = read::<HuggingFace>(&path)? {
        file.apply(&mut transform, image_size(config)).map_err(at(path))?;
    }
    let path = folder.join(OPEN_CLIP_FILE);
    if let Some(preprocess) = read::<OpenClip>(&path)?.and_then(|file| file.preprocess_cfg) {
        preprocess.apply(&mut transform).map_err(at(path))?;
    }
    Ok(transform)
}

fn image_size(config: &ModelConfig) -> usize {
    match config {
        ModelConfig::Clip(ClipConfig { vision_cfg, .. }) => vision_cfg.image_size,
        ModelConfig::Albef(config) => config.vision_cfg.image_size,
    }
}

/// A setting that the transform cannot do: key, value, what it can.
struct Unknown(&'static str, String, String);

fn at(path: PathBuf) -> impl FnOnce(Unknown) -> RunError {
    move |Unknown(key, value, expected)| RunError::Preprocessing {
        path,
        key,
        value,
        expected,
    }
}

impl HuggingFace {
    fn apply(&self, transform: &mut Table, image_size: usize) -> Result<(), Unknown> {
        for (key, value) in [
            ("do_resize", self.do_resize),
            ("do_rescale", self.do_rescale),
            ("do_normalize", self.do_normalize),
        ] {
            if value == Some(false) {
                return Err(Unknown(key, "false".to_owned(), "true".to_owned()));
            }
        }
        // Written as 1 / 255, and by some with fewer digits.
        let factor = self.rescale_factor.unwrap_or(1.0 / 255.0);
        if (factor * 255.0 - 1.0).abs() > 1e-4 {
            return Err(Unknown("rescale_factor", factor.to_string(), "1/255".to_owned()));
        }
        if let Some(mode) = self.mode(image_size)? {
            transform.insert("mode".into(), mode.into());
        }
        let kernel = match self.resample {
            None => None,
            Some(2) => Some("bilinear"),
            Some(3) => Some("bicubic"),
            Some(other) => {
                let expected = "2 (bilinear) or 3 (bicubic)".to_owned();
                return Err(Unknown("resample", other.to_string(), expected));
            }
        };
        if let Some(kernel) = kernel {
            transform.insert("interpolation".into(), kernel.into());
        }
        set_colours(transform, self.image_mean, self.image_std);
        Ok(())
    }

    /// How a rectangle becomes a square of `image_size` pixels.
    fn mode(&self, image_size: usize) -> Result<Option<&'static str>, Unknown> {
        let pixels = |value: &Value| value.as_u64() == Some(image_size as u64);
        let square = |value: &Value| pixels(&value["height"]) && pixels(&value["width"]);
        let crops = self.do_center_crop.unwrap_or(true);
        if let Some(crop) = self.crop_size.as_ref().filter(|_| crops)
            && !(pixels(crop) || square(crop))
        {
            let expected = format!("{image_size}, the side of the model's images");
            return Err(Unknown("crop_size", crop.to_string(), expected));
        }
        match &self.size {
            None => Ok(None),
            Some(size) if square(size) => Ok(Some("squash")),
            Some(size) if crops && (pixels(size) || pixels(&size["shortest_edge"])) => Ok(Some("shortest_crop")),
            Some(size) => {
                let expected = format!(
                    "{{\"shortest_edge\": {image_size}}} with do_center_crop, or {{\"height\": {image_size}, \"width\": \
                     {image_size}}}"
                );
                Err(Unknown("size", size.to_string(), expected))
            }
        }
    }
}

impl PreprocessConfig {
    fn apply(&self, transform: &mut Table) -> Result<(), Unknown> {
        set_colours(transform, self.mean, self.std);
        match self.interpolation.as_deref() {
            // open_clip draws a kernel in training and takes the bicubic one elsewhere.
            None | Some("random") => {}
            Some(kernel @ ("bicubic" | "bilinear")) => {
                transform.insert("interpolation".into(), kernel.into());
            }
            Some(other) => {
                let expected = "\"bicubic\" or \"bilinear\"".to_owned();
                return Err(Unknown("preprocess_cfg.interpolation", format!("{other:?}"), expected));
            }
        }
        let mode = match self.resize_mode.as_deref() {
            None => return Ok(()),
            Some("shortest") => "shortest_crop",
            Some("squash") => "squash",
            Some("longest") => "longest_pad",
            Some(other) => {
                let expected = "\"shortest\", \"longest\" or \"squash\"".to_owned();
                return Err(Unknown("preprocess_cfg.resize_mode", format!("{other:?}"), expected));
            }
        };
        transform.insert("mode".into(), mode.into());
        Ok(())
    }
}

fn set_colours(transform: &mut Table, mean: Option<[f64; 3]>, std: Option<[f64; 3]>) {
    for (key, values) in [("mean", mean), ("std", std)] {
        if let Some(values) = values {
            transform.insert(key.into(), TomlValue::Array(values.map(TomlValue::Float).to_vec()));
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The table for a model of 224 pixels with this file beside it.
    fn with(file: &str, text: &str) -> Result<Table, String> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(file), text).unwrap();
        let config = ModelConfig::Clip(ClipConfig::named("vit-b-32").unwrap());
        transform(&config, folder.path()).map_err(|error| {
            let text = error.to_string();
            text.replace(&format!("{}/", folder.path().display()), "")
        })
    }

    #[test]
    fn published_files_are_understood() {
        // openai/clip-vit-base-patch32, in the form of 2021 and in the later one.
        for (size, crop) in [
            ("224", "224"),
            ("{\"shortest_edge\": 224}", "{\"height\": 224, \"width\": 224}"),
        ] {
            let text = format!(
                "{{\"crop_size\": {crop}, \"do_center_crop\": true, \"do_normalize\": true, \"do_resize\": true, \"image_mean\": \
                 [0.1, 0.2, 0.3], \"image_std\": [0.4, 0.5, 0.6], \"resample\": 3, \"size\": {size}, \"feature_extractor_type\": \
                 \"CLIPFeatureExtractor\"}}"
            );
            let expected = "mode = \"shortest_crop\"\ninterpolation = \"bicubic\"\nmean = [0.1, 0.2, 0.3]\nstd = [0.4, 0.5, 0.6]\n";
            assert_eq!(with(HUGGING_FACE_FILE, &text), Ok(expected.parse().unwrap()));
        }
        // google/siglip-base-patch16-224.
        let siglip = "{\"do_rescale\": true, \"rescale_factor\": 0.00392156862745098, \"do_center_crop\": null, \"resample\": 2, \
                      \"size\": {\"height\": 224, \"width\": 224}}";
        let expected = "mode = \"squash\"\ninterpolation = \"bilinear\"\n";
        assert_eq!(with(HUGGING_FACE_FILE, siglip), Ok(expected.parse().unwrap()));
        let open_clip = "{\"preprocess_cfg\": {\"resize_mode\": \"longest\", \"interpolation\": \"bilinear\"}}";
        let expected = "mode = \"longest_pad\"\ninterpolation = \"bilinear\"\n";
        assert_eq!(with(OPEN_CLIP_FILE, open_clip), Ok(expected.parse().unwrap()));
    }

    #[test]
    fn what_the_transform_cannot_do_is_an_error() {
        for (file, text, expected) in [
            (HUGGING_FACE_FILE, r#"{"resample": 1}"#, "resample = 1"),
            (
                HUGGING_FACE_FILE,
                r#"{"size": {"shortest_edge": 256}}"#,
                r#"size = {"shortest_edge":256}"#,
            ),
            (
                HUGGING_FACE_FILE,
                r#"{"size": 224, "do_center_crop": false}"#,
                "size = 224",
            ),
            (
                HUGGING_FACE_FILE,
                r#"{"size": 224, "crop_size": 192}"#,
                "crop_size = 192",
            ),
            (HUGGING_FACE_FILE, r#"{"do_normalize": false}"#, "do_normalize = false"),
            (HUGGING_FACE_FILE, r#"{"rescale_factor": 1.0}"#, "rescale_factor = 1"),
            (
                OPEN_CLIP_FILE,
                r#"{"preprocess_cfg": {"resize_mode": "stretch"}}"#,
                r#"preprocess_cfg.resize_mode = "stretch""#,
            ),
            (
                OPEN_CLIP_FILE,
                r#"{"preprocess_cfg": {"interpolation": "lanczos"}}"#,
                r#"preprocess_cfg.interpolation = "lanczos""#,
            ),
        ] {
            let error = with(file, text).unwrap_err();
            assert!(error.starts_with(&format!("{file}: {expected}: ")), "{error}");
        }
    }
}
