//! Models and towers from the checkpoints of others.
//!
//! [`import`] reads a CLIP or an ALBEF, whose configuration is inferred from shapes where none is given;
//! [`import_image_encoder`] and [`import_text_encoder`] replace one tower of a model by somebody's Vision Transformer or
//! BERT. All say what they loaded, resampled, left out and left as it was, and anything unexpected is an error unless an
//! [`Allow`] names it.

mod albef_config;
mod checkpoint;
mod clip_config;
mod contradiction;
mod shapes;
#[cfg(test)]
mod tests;
mod towers;

use std::path::{Path, PathBuf};

use burn::tensor::Device;

pub use checkpoint::Layout as CheckpointLayout;
use checkpoint::{Checkpoint, Layout};
use shapes::Shapes;
pub use towers::{import_image_encoder, import_text_encoder};

use super::{Allow, LoadReport, WeightsError, open_clip, salesforce};
use crate::{AlbefConfig, ClipConfig, Model, ModelConfig};

/// A model that was read from the checkpoint of another program.
#[derive(Clone, Debug)]
pub struct Imported {
    /// What the model looks like.
    pub config: ModelConfig,
    /// The model.
    pub model: Model,
    /// What was loaded and what was not.
    pub report: LoadReport,
    /// Whose names the checkpoint has.
    pub layout: CheckpointLayout,
    /// The file that the tensors are from.
    pub file: PathBuf,
    /// Why the activation is what it is, if nothing in the checkpoint says so.
    pub assumed_activation: bool,
}

/// Reads a model: open_clip's and OpenAI's files, a Hugging Face CLIP folder, checkpoints of salesforce/ALBEF.
///
/// `path` is a file that [`Archive`](super::Archive) reads, or a folder with one. A `config` is held against the weights;
/// without one it comes from the folder's `config.json` or from the shapes, where heads are 64 wide unless a named
/// configuration of the same shapes has others. Position tables are resampled to the size that `config` has.
///
/// # Errors
/// If the file cannot be read or is no model, its configuration cannot be told or contradicts `config`, or tensors are
/// missing or left over that `allow` does not name.
pub fn import(
    path: &Path,
    config: Option<&ModelConfig>,
    allow: &Allow,
    device: &Device,
) -> Result<Imported, WeightsError> {
    let checkpoint = Checkpoint::open(path)?;
    match (checkpoint.layout, config) {
        (Layout::OpenClip | Layout::HuggingFaceClip, None | Some(ModelConfig::Clip(_))) => {
            let given = config.and_then(|config| match config {
                ModelConfig::Clip(config) => Some(config),
                ModelConfig::Albef(_) => None,
            });
            clip(checkpoint, given, allow, device)
        }
        (Layout::Albef, None | Some(ModelConfig::Albef(_))) => {
            let given = config.and_then(|config| match config {
                ModelConfig::Albef(config) => Some(config),
                ModelConfig::Clip(_) => None,
            });
            albef(checkpoint, given, allow, device)
        }
        (Layout::Vit, _) => {
            Err(checkpoint.wrong("it holds an image encoder alone: train from it with init.image of a recipe"))
        }
        (Layout::Bert, _) => {
            Err(checkpoint.wrong("it holds a text encoder alone: train from it with init.text of a recipe"))
        }
        (_, Some(ModelConfig::Clip(_))) => Err(checkpoint.wrong("it holds an ALBEF, the configuration is a CLIP's")),
        (_, Some(ModelConfig::Albef(_))) => Err(checkpoint.wrong("it holds a CLIP, the configuration is an ALBEF's")),
    }
}

fn clip(
    checkpoint: Checkpoint,
    given: Option<&ClipConfig>,
    allow: &Allow,
    device: &Device,
) -> Result<Imported, WeightsError> {
    let shapes = Shapes::new(&checkpoint);
    // The checkpoint's own config.json knows what shapes do not tell.
    let hint = given.or(checkpoint.config.as_ref());
    let found = clip_config::infer(&shapes, hint, checkpoint.quick_gelu)?;
    for config in given.into_iter().chain(&checkpoint.config) {
        contradiction::clip(&checkpoint.file, config, &found, checkpoint.quick_gelu, allow)?;
    }
    if let (Some(given), Some(with_weights)) = (given, &checkpoint.config) {
        contradiction::heads(&checkpoint.file, given, with_weights)?;
    }
    let config = hint.cloned().unwrap_or(found);
    config.validate()?;
    let mut model = config.init(0, device);
    let Checkpoint {
        tensors, file, layout, ..
    } = checkpoint;
    let report = open_clip::load_allowing(&mut model, tensors, allow)?;
    Ok(Imported {
        assumed_activation: given.is_none() && checkpoint.config.is_none() && checkpoint.quick_gelu.is_none(),
        config: ModelConfig::Clip(config),
        model: Model::Clip(model),
        report,
        layout,
        file,
    })
}

fn albef(
    checkpoint: Checkpoint,
    given: Option<&AlbefConfig>,
    allow: &Allow,
    device: &Device,
) -> Result<Imported, WeightsError> {
    let found = albef_config::infer(&Shapes::new(&checkpoint), given)?;
    if let Some(given) = given {
        contradiction::albef(&checkpoint.file, given, &found)?;
    }
    let config = given.cloned().unwrap_or(found);
    config.validate()?;
    let mut model = config.init(0, device);
    let Checkpoint {
        tensors, file, layout, ..
    } = checkpoint;
    let report = salesforce::load_allowing(&mut model, tensors, allow)?;
    Ok(Imported {
        config: ModelConfig::Albef(config),
        model: Model::Albef(model),
        report,
        layout,
        file,
        assumed_activation: false,
    })
}
