//! Trained models as folders that other programs load.
//!
//! [`export()`] writes weights under the names of a format, the configuration that its programs expect, the tokenizer, and
//! a `README.md` that says how to load it all and where the other program differs. Every weights file carries its
//! [`Card`] in its metadata, under [`CARD_KEY`].

mod error;
mod hugging_face;
mod open_clip;
mod readme;

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use burn::tensor::TensorData;
use serde::{Deserialize, Serialize};
use twinflame_model::weights::{AlbefCheckpoint, FileDType, WeightsError, save_tensors, to_open_clip_state_dict};
use twinflame_model::{Albef, AlbefEncoders, Clip, ClipConfig, Model, ModelConfig};

pub use error::ExportError;

use crate::card::{CARD_KEY, Card};
use crate::new_folder::NewFolder;
use crate::run::LoadedModel;

/// For which programs a folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExportFormat {
    /// `open_clip.create_model_and_transforms("local-dir:DIR")`.
    OpenClip,
    /// `CLIPModel.from_pretrained(DIR)` and `CLIPProcessor.from_pretrained(DIR)` of transformers.
    Hf,
    /// The names of salesforce/ALBEF.
    Albef,
    /// Weights with the reference's names, configuration and recipe of Twinflame.
    Safetensors,
}

impl ExportFormat {
    /// As the command line spells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OpenClip => "open_clip",
            Self::Hf => "hf",
            Self::Albef => "albef",
            Self::Safetensors => "safetensors",
        }
    }
}

/// Which weights of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Which {
    /// The averaged ones if there are any, else the trained ones.
    #[default]
    Best,
    /// The trained ones.
    Raw,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportReport {
    /// Number of tensors.
    pub tensors: usize,
    /// Names of the files.
    pub files: Vec<String>,
    /// Where the other program will differ, in sentences.
    pub notes: Vec<String>,
}

/// A folder before it is written.
#[derive(Debug)]
struct Contents {
    /// Name of the file of weights.
    weights_file: &'static str,
    tensors: Vec<(String, TensorData)>,
    /// Other files.
    files: Vec<(&'static str, String)>,
    notes: Vec<String>,
}

/// Writes a model to the folder `out`, which must not exist or be empty; it appears whole or not at all.
///
/// # Errors
/// If the format cannot express the model, a weight is too large for `dtype`, or the folder is in use or cannot be written.
pub fn export(
    loaded: &LoadedModel,
    format: ExportFormat,
    which: Which,
    dtype: FileDType,
    out: &Path,
) -> Result<ExportReport, ExportError> {
    refuse_used(out)?;
    let model = match which {
        Which::Best => loaded.best_weights(),
        Which::Raw => &loaded.model,
    };
    let contents = match format {
        ExportFormat::OpenClip => open_clip::contents(loaded, clip(loaded, model, format)?)?,
        ExportFormat::Hf => hugging_face::contents(loaded, clip(loaded, model, format)?, dtype)?,
        ExportFormat::Albef => albef(model, &loaded.recipe.model)?,
        ExportFormat::Safetensors => safetensors(loaded, model)?,
    };
    let readme = readme::readme(&loaded.card, format, &contents, loaded.checkpoint.state.step);
    write(out, contents, readme, &loaded.card, dtype)
}

fn refuse_used(out: &Path) -> Result<(), ExportError> {
    let used = match fs::read_dir(out) {
        Ok(mut entries) => entries.next().is_some(),
        Err(_) => out.exists(),
    };
    match used {
        true => Err(ExportError::Used { path: out.to_owned() }),
        false => Ok(()),
    }
}

/// Model and configuration, if it is a CLIP.
fn clip<'a>(
    loaded: &'a LoadedModel,
    model: &'a Model,
    format: ExportFormat,
) -> Result<(&'a Clip, &'a ClipConfig), ExportError> {
    match (model, &loaded.recipe.model) {
        (Model::Clip(clip), ModelConfig::Clip(config)) => Ok((clip, config)),
        _ => Err(ExportError::Inexpressible {
            format: format.name(),
            reason: "it is an ALBEF, whose fusion encoder no CLIP has".to_owned(),
            remedy: "`--format albef` and `--format safetensors` can",
        }),
    }
}

/// What else to do with a CLIP that a format cannot express.
const CLIP_REMEDY: &str = "`--format safetensors` can. A model with a transformer for text and no bias of the logits goes into open_clip, with a \
    Vision Transformer for images also into transformers: for example `twinflame train emoji-clip-transformer` or `emoji-clip-vit`";

/// What the model's crate says of it, in the words of the command.
fn refused(format: ExportFormat, error: WeightsError) -> ExportError {
    match error {
        WeightsError::Inexpressible { reason, .. } => ExportError::Inexpressible {
            format: format.name(),
            reason,
            remedy: CLIP_REMEDY,
        },
        other => other.into(),
    }
}

fn albef(model: &Model, config: &ModelConfig) -> Result<Contents, ExportError> {
    let Model::Albef(albef) = model else {
        return Err(ExportError::Inexpressible {
            format: ExportFormat::Albef.name(),
            reason: "it is a CLIP, without the fusion encoder of an ALBEF".to_owned(),
            remedy: "`--format open_clip`, `hf` and `safetensors` are for CLIPs",
        });
    };
    Ok(Contents {
        weights_file: "albef.safetensors",
        tensors: albef_tensors(albef, Some(&albef.encoders))?,
        files: vec![("model.json", pretty(config))],
        notes: vec![
            "The momentum copy is equal to the model, as when a run starts from other weights: the reference's fine-tuning expects one. The \
             queue is left out."
                .to_owned(),
        ],
    })
}

fn albef_tensors(model: &Albef, momentum: Option<&AlbefEncoders>) -> Result<Vec<(String, TensorData)>, ExportError> {
    let checkpoint = AlbefCheckpoint {
        model,
        momentum,
        queue: None,
    };
    Ok(checkpoint.tensors()?)
}

fn safetensors(loaded: &LoadedModel, model: &Model) -> Result<Contents, ExportError> {
    let tensors = match model {
        Model::Clip(clip) => to_open_clip_state_dict(clip)?,
        Model::Albef(albef) => albef_tensors(albef, None)?,
    };
    Ok(Contents {
        weights_file: "model.safetensors",
        tensors,
        files: vec![
            ("model.json", pretty(&loaded.recipe.model)),
            ("recipe.toml", loaded.recipe.to_toml()),
        ],
        notes: Vec::new(),
    })
}

/// JSON with a line for each entry; configurations hold numbers and names only.
fn pretty(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

/// Writes everything next to `out` and renames.
fn write(
    out: &Path,
    contents: Contents,
    readme: String,
    card: &Card,
    dtype: FileDType,
) -> Result<ExportReport, ExportError> {
    let Contents {
        weights_file,
        tensors,
        mut files,
        notes,
    } = contents;
    files.push(("README.md", readme));
    let mut report = ExportReport {
        tensors: tensors.len(),
        files: vec![weights_file.to_owned()],
        notes,
    };
    report.files.extend(files.iter().map(|(name, _)| (*name).to_owned()));
    let folder = NewFolder::create(out).map_err(ExportError::io(out))?;
    for (name, content) in &files {
        let path = folder.path().join(name);
        fs::write(&path, content).map_err(ExportError::io(&path))?;
    }
    // "pt" is what transformers asks for.
    let metadata = HashMap::from([
        ("format".to_owned(), "pt".to_owned()),
        (CARD_KEY.to_owned(), card.to_json()),
    ]);
    save_tensors(&folder.path().join(weights_file), tensors, dtype, metadata)?;
    folder.finish().map_err(ExportError::io(out))?;
    Ok(report)
}
