//! A checkpoint on disk: which file holds the tensors, whose names they have, and what lies beside them.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
};

use burn::tensor::TensorData;

use crate::{
    ClipConfig,
    weights::{Archive, ArchiveKind, WeightsError, config_from_open_clip, hugging_face},
};

/// Files of weights by the names that their programs give them, in the order of preference.
const KNOWN_FILES: [&str; 5] = [
    "open_clip_model.safetensors",
    "model.safetensors",
    "open_clip_pytorch_model.bin",
    "pytorch_model.bin",
    "pytorch_model.pt",
];
/// Endings of files of weights.
const ENDINGS: [&str; 5] = ["safetensors", "bin", "pt", "pth", "ckpt"];
/// Longest configuration that is read, in bytes; they have a few thousand.
const MAX_CONFIG: u64 = 1 << 20;

/// Whose names the tensors of a checkpoint have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// open_clip's and OpenAI's.
    OpenClip,
    /// Those of Hugging Face's `CLIPModel`.
    HuggingFaceClip,
    /// salesforce/ALBEF's.
    Albef,
    /// Those of timm's and DeiT's Vision Transformer.
    Vit,
    /// Those of Hugging Face's BERT.
    Bert,
}

/// An opened checkpoint.
pub(super) struct Checkpoint {
    pub(super) file: PathBuf,
    pub(super) layout: Layout,
    /// Under the reference's names: open_clip's for Hugging Face's CLIP as well.
    pub(super) tensors: HashMap<String, TensorData>,
    /// What a folder's configuration says.
    pub(super) config: Option<ClipConfig>,
    /// Whether the activation is QuickGELU, where the checkpoint says so.
    pub(super) quick_gelu: Option<bool>,
}

impl Checkpoint {
    pub(super) fn open(path: &Path) -> Result<Self, WeightsError> {
        let file = weights_file(path)?;
        let archive = Archive::open(&file)?;
        let names: Vec<&str> = archive.shapes().map(|(name, _)| name).collect();
        let layout = layout(&names).ok_or_else(|| unknown(&file, &names))?;
        let read = |name: &&str| Some(((*name).to_owned(), archive.tensor(name)?));
        let tensors: Vec<_> = names.iter().filter_map(read).collect();
        let beside = file.parent().unwrap_or(Path::new(""));
        let config = match layout {
            Layout::HuggingFaceClip => read_config(&beside.join("config.json"), hugging_face::config_from_json)?,
            Layout::OpenClip => read_config(&beside.join("open_clip_config.json"), open_clip_config)?,
            _ => None,
        };
        // OpenAI's archives, which are programs, are the only ones of their kind; their activation is QuickGELU.
        let is_openai = layout == Layout::OpenClip && archive.kind() == ArchiveKind::TorchScript;
        let quick_gelu = config
            .as_ref()
            .map(|config| config.quick_gelu)
            .or(is_openai.then_some(true));
        let tensors = match layout {
            Layout::HuggingFaceClip => hugging_face::from_tensors(tensors)?,
            _ => tensors,
        };
        Ok(Self {
            file,
            layout,
            tensors: tensors.into_iter().collect(),
            config,
            quick_gelu,
        })
    }

    pub(super) fn wrong(&self, message: &str) -> WeightsError {
        wrong(&self.file, message)
    }
}

fn wrong(path: &Path, message: impl Into<String>) -> WeightsError {
    WeightsError::Foreign {
        path: path.to_owned(),
        message: message.into(),
    }
}

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> WeightsError {
    let path = path.to_owned();
    move |source| WeightsError::Read { path, source }
}

/// The file itself, or the one with weights in a folder.
fn weights_file(path: &Path) -> Result<PathBuf, WeightsError> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    if let Some(known) = KNOWN_FILES
        .iter()
        .map(|name| path.join(name))
        .find(|file| file.is_file())
    {
        return Ok(known);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(path).map_err(unreadable(path))? {
        let file = entry.map_err(unreadable(path))?.path();
        let ending = file.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        if ENDINGS.contains(&ending) {
            found.push(file);
        }
    }
    found.sort();
    match found.as_slice() {
        [file] => Ok(file.clone()),
        [] => Err(wrong(
            path,
            format!("there is no file of weights in it (*.{})", ENDINGS.join(", *.")),
        )),
        [first, second, ..] => Err(wrong(
            path,
            format!(
                "there are several files of weights in it, {} and {}: give one of them",
                first.display(),
                second.display()
            ),
        )),
    }
}

/// Whose names these are.
fn layout(names: &[&str]) -> Option<Layout> {
    let has = |wanted: &str| names.contains(&wanted);
    let ends = |wanted: &str| names.iter().any(|name| name.ends_with(wanted));
    if has("visual_encoder.cls_token") {
        Some(Layout::Albef)
    } else if has("vision_model.embeddings.class_embedding") {
        Some(Layout::HuggingFaceClip)
    } else if has("token_embedding.weight") && names.iter().any(|name| name.starts_with("visual.")) {
        Some(Layout::OpenClip)
    } else if has("cls_token") && has("patch_embed.proj.weight") {
        Some(Layout::Vit)
    } else if ends("embeddings.word_embeddings.weight") {
        Some(Layout::Bert)
    } else {
        None
    }
}

fn unknown(file: &Path, names: &[&str]) -> WeightsError {
    let first: Vec<String> = names.iter().take(3).map(|name| format!("`{name}`")).collect();
    wrong(
        file,
        format!(
            "its tensors ({}, .. {} in all) are named as in none of open_clip, OpenAI's CLIP, Hugging Face's CLIPModel, \
             salesforce/ALBEF, timm's Vision Transformer and Hugging Face's BERT",
            first.join(", "),
            names.len()
        ),
    )
}

/// The configuration in a file, if there is one.
fn read_config(
    path: &Path,
    parse: impl FnOnce(&str) -> Result<ClipConfig, WeightsError>,
) -> Result<Option<ClipConfig>, WeightsError> {
    let size = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        metadata => metadata.map_err(unreadable(path))?.len(),
    };
    if size > MAX_CONFIG {
        return Err(wrong(
            path,
            format!("it has {size} bytes, more than a configuration can have"),
        ));
    }
    let text = fs::read_to_string(path).map_err(unreadable(path))?;
    parse(&text).map(Some).map_err(|error| wrong(path, error.to_string()))
}

/// `open_clip_config.json`: the configuration is one of its parts.
fn open_clip_config(text: &str) -> Result<ClipConfig, WeightsError> {
    #[derive(serde::Deserialize)]
    struct File {
        model_cfg: serde_json::Value,
    }
    let file: File = serde_json::from_str(text).map_err(crate::ConfigError::Json)?;
    config_from_open_clip(file.model_cfg)
}
