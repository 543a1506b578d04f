//! A folder for transformers' `CLIPModel` and `CLIPProcessor`.

use serde_json::{Value, json};
use twinflame_data::resize::Interpolation;
use twinflame_data::transform::ResizeMode;
use twinflame_data::{TokenizerReader, TransformConfig};
use twinflame_model::weights::{FileDType, hugging_face, to_open_clip_state_dict};
use twinflame_model::{Clip, ClipConfig};

use super::open_clip::no_tokenizer;
use super::{Contents, ExportError, ExportFormat, pretty, refused};
use crate::run::LoadedModel;

pub(super) fn contents(
    loaded: &LoadedModel,
    (clip, config): (&Clip, &ClipConfig),
    dtype: FileDType,
) -> Result<Contents, ExportError> {
    let mut model_config = hugging_face::config_to_json(config).map_err(|error| refused(ExportFormat::Hf, error))?;
    model_config["torch_dtype"] = json!(match dtype {
        FileDType::F32 => "float32",
        FileDType::F16 => "float16",
        FileDType::Bf16 => "bfloat16",
    });
    let mut notes = Vec::new();
    let mut files = vec![("config.json", pretty(&model_config))];
    match loaded
        .tokenizer
        .files(TokenizerReader::Transformers, config.text_cfg.context_length)
    {
        Some(tokenizer) => files.extend(tokenizer),
        None => notes.push(no_tokenizer()),
    }
    if loaded.tokenizer.kind() == "clip" {
        notes.push(
            "transformers repairs no encoding mistakes in texts and unescapes no HTML, open_clip and Twinflame do: texts with either \
             give other ids."
                .to_owned(),
        );
    }
    match preprocessor(&loaded.recipe.recipe.transform) {
        Some(preprocessor) => files.push(("preprocessor_config.json", pretty(&preprocessor))),
        None => notes.push(
            "There is no image processor in this folder: CLIPImageProcessor cannot pad a picture to a square, as this model's \
             pictures were (transform.mode = \"longest_pad\")."
                .to_owned(),
        ),
    }
    notes.push(
        "CLIPImageProcessor converts to RGB before it resizes, which shows at the edges of pictures with transparency or a palette. With \
         torchvision it resizes a little differently from Pillow, which open_clip and Twinflame follow: by one of 255 levels in places. \
         Its Pillow backend (`CLIPImageProcessorPil`, in transformers 4 `use_fast=False`) does as they do."
            .to_owned(),
    );
    Ok(Contents {
        weights_file: "model.safetensors",
        tensors: hugging_face::to_tensors(to_open_clip_state_dict(clip)?)
            .map_err(|error| refused(ExportFormat::Hf, error))?,
        files,
        notes,
    })
}

/// `preprocessor_config.json`; `None` for what `CLIPImageProcessor` cannot do.
fn preprocessor(transform: &TransformConfig) -> Option<Value> {
    let edge = transform.image_size;
    let square = json!({"height": edge, "width": edge});
    let (size, crop) = match transform.mode {
        ResizeMode::ShortestCrop => (json!({"shortest_edge": edge}), true),
        ResizeMode::Squash => (square.clone(), false),
        ResizeMode::LongestPad => return None,
    };
    Some(json!({
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": true,
        "do_resize": true,
        "size": size,
        // Pillow's numbers.
        "resample": match transform.interpolation {
            Interpolation::Bilinear => 2,
            Interpolation::Bicubic => 3,
        },
        "do_center_crop": crop,
        "crop_size": square,
        "do_rescale": true,
        "rescale_factor": 1.0 / 255.0,
        "do_normalize": true,
        "image_mean": transform.mean,
        "image_std": transform.std,
    }))
}
