//! A folder for open_clip's `local-dir:` schema.

use serde_json::json;
use twinflame_data::resize::Interpolation;
use twinflame_data::transform::{ColorConversion, ResizeMode};
use twinflame_data::{TokenizerReader, TransformConfig};
use twinflame_model::weights::{config_to_open_clip, to_open_clip_state_dict};
use twinflame_model::{Clip, ClipConfig};

use super::{Contents, ExportError, ExportFormat, pretty, refused};
use crate::run::LoadedModel;

pub(super) fn contents(loaded: &LoadedModel, (clip, config): (&Clip, &ClipConfig)) -> Result<Contents, ExportError> {
    let mut notes = Vec::new();
    let mut model_cfg = config_to_open_clip(config).map_err(|error| refused(ExportFormat::OpenClip, error))?;
    let transform = &loaded.recipe.recipe.transform;
    let mut files = Vec::new();
    if !loaded.tokenizer.is_complete_clip() {
        match loaded
            .tokenizer
            .files(TokenizerReader::OpenClip, config.text_cfg.context_length)
        {
            Some(tokenizer) => {
                files.extend(tokenizer);
                // open_clip takes the folder itself, whatever the name is; that there is one makes it look.
                model_cfg["text_cfg"]["hf_tokenizer_name"] = json!("twinflame");
                match loaded.tokenizer.kind() {
                    "clip" => model_cfg["text_cfg"]["tokenizer_kwargs"] = json!({"clean": "lower"}),
                    _ => notes.push(
                        "open_clip repairs encoding mistakes, unescapes HTML and collapses white space before it tokenises: texts \
                         with any of these give other ids there."
                            .to_owned(),
                    ),
                }
                notes.push("The tokenizer is the one in this folder, which open_clip reads through transformers: install that, too.".into());
            }
            None => notes.push(no_tokenizer()),
        }
    }
    notes.extend(pixel_notes(transform));
    let preprocess_cfg = json!({
        "size": transform.image_size,
        "mode": "RGB",
        "mean": transform.mean,
        "std": transform.std,
        "interpolation": interpolation(transform.interpolation),
        "resize_mode": match transform.mode {
            ResizeMode::ShortestCrop => "shortest",
            ResizeMode::Squash => "squash",
            ResizeMode::LongestPad => "longest",
        },
        "fill_color": transform.fill[0],
    });
    let config = json!({"model_cfg": model_cfg, "preprocess_cfg": preprocess_cfg});
    files.push(("open_clip_config.json", pretty(&config)));
    Ok(Contents {
        weights_file: "open_clip_model.safetensors",
        tensors: to_open_clip_state_dict(clip)?,
        files,
        notes,
    })
}

pub(super) fn interpolation(kernel: Interpolation) -> &'static str {
    match kernel {
        Interpolation::Bicubic => "bicubic",
        Interpolation::Bilinear => "bilinear",
    }
}

pub(super) fn no_tokenizer() -> String {
    "There is no tokenizer in this folder: BERT's word pieces after ALBEF's cleaning of captions can only be made by Twinflame. Give the \
     model rows of ids."
        .to_owned()
}

/// Where open_clip treats pictures in another way.
fn pixel_notes(transform: &TransformConfig) -> Vec<String> {
    let mut notes = Vec::new();
    if transform.color_conversion == ColorConversion::BeforeResize {
        notes.push(
            "open_clip resizes before it converts to RGB, this model was trained the other way round: pictures with transparency or a \
             palette differ at their edges."
                .to_owned(),
        );
    }
    let [red, green, blue] = transform.fill;
    if transform.mode == ResizeMode::LongestPad && (red != green || green != blue) {
        notes.push(format!(
            "open_clip pads with grey only: the colour {:?} became {red}.",
            transform.fill
        ));
    }
    notes
}
