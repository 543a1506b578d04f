//! One tower of a model from the checkpoint of another.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
};

use burn::tensor::TensorData;

use super::checkpoint::{Checkpoint, Layout};
use crate::{
    Model,
    weights::{Allow, LoadReport, ReferenceNames, WeightsError, named_params, tensors},
};

/// Replaces the image encoder of a model.
///
/// An ALBEF's takes a timm or DeiT Vision Transformer, or an ALBEF's own; a CLIP's takes that of a CLIP. The layers that
/// the encoder is projected by belong to it where the checkpoint has them. Positions are resampled.
///
/// # Errors
/// If the checkpoint cannot be read, has no image encoder that fits, or tensors are missing or left over that `allow` does
/// not name; the model is then unchanged.
pub fn import_image_encoder(model: &mut Model, path: &Path, allow: &Allow) -> Result<LoadReport, WeightsError> {
    let checkpoint = Checkpoint::open(path)?;
    match (model, checkpoint.layout) {
        (Model::Clip(clip), Layout::OpenClip | Layout::HuggingFaceClip) => {
            let rename = |name: &str| name.starts_with("visual.").then(|| name.to_owned());
            replace(clip, checkpoint, rename, |name| name.starts_with("visual."), allow)
        }
        (Model::Albef(albef), Layout::Albef) => {
            let rename = |name: &str| name.starts_with(ALBEF_IMAGE).then(|| name.to_owned());
            replace(albef, checkpoint, rename, |name| name.starts_with(ALBEF_IMAGE), allow)
        }
        (Model::Albef(albef), Layout::Vit) => {
            // A classifier's head, and that of DeiT's distillation.
            let is_head = |name: &str| {
                ["head.", "head_dist.", "dist_token", "pre_logits."]
                    .iter()
                    .any(|head| name.starts_with(head))
            };
            let rename = |name: &str| (!is_head(name)).then(|| format!("{ALBEF_IMAGE}{name}"));
            replace(albef, checkpoint, rename, |name| name.starts_with(ALBEF_IMAGE), allow)
        }
        (Model::Clip(_), _) => Err(checkpoint.wrong(
            "a CLIP's image encoder starts from a CLIP's: it normalises before its blocks, which no other does",
        )),
        (Model::Albef(_), _) => Err(checkpoint
            .wrong("an ALBEF's image encoder starts from a timm or DeiT Vision Transformer or from an ALBEF's")),
    }
}

/// Replaces the text encoder of a model.
///
/// An ALBEF's takes a BERT, whose lower layers become the text encoder and whose upper ones the fusion encoder; their
/// cross-attention, which a BERT does not have, stays as it is, and so does the head for masked tokens where the
/// checkpoint has none. A CLIP's takes that of a CLIP.
///
/// # Errors
/// As [`import_image_encoder`].
pub fn import_text_encoder(model: &mut Model, path: &Path, allow: &Allow) -> Result<LoadReport, WeightsError> {
    let checkpoint = Checkpoint::open(path)?;
    let is_text = |name: &str| !name.starts_with("visual.") && !name.starts_with("logit_");
    match (model, checkpoint.layout) {
        (Model::Clip(clip), Layout::OpenClip | Layout::HuggingFaceClip) => replace(
            clip,
            checkpoint,
            |name| is_text(name).then(|| name.to_owned()),
            is_text,
            allow,
        ),
        (Model::Albef(albef), Layout::Albef | Layout::Bert) => {
            let has_head = albef.encoders.text_encoder.mlm_head.is_some();
            let rename = |name: &str| bert_name(name, checkpoint_prefix(&checkpoint), has_head);
            let renamed: HashSet<String> = checkpoint.tensors.keys().filter_map(|name| rename(name)).collect();
            let may_stay = |name: &str| name.contains(".crossattention.") || name.contains(".cls.predictions.");
            let is_wanted =
                |name: &str| name.starts_with("text_encoder.") && (renamed.contains(name) || !may_stay(name));
            let names: HashMap<String, String> = checkpoint
                .tensors
                .keys()
                .filter_map(|name| Some((name.clone(), rename(name)?)))
                .collect();
            replace(albef, checkpoint, |name| names.get(name).cloned(), is_wanted, allow)
        }
        (Model::Clip(_), _) => Err(checkpoint.wrong("a CLIP's text encoder starts from a CLIP's: it is no BERT")),
        (Model::Albef(_), _) => Err(checkpoint.wrong("an ALBEF's text encoder starts from a BERT or from an ALBEF's")),
    }
}

const ALBEF_IMAGE: &str = "visual_encoder.";

/// What stands before a BERT's names: depends on the class that was saved.
fn checkpoint_prefix(checkpoint: &Checkpoint) -> &'static str {
    let has = |name: &str| checkpoint.tensors.contains_key(name);
    let table = "embeddings.word_embeddings.weight";
    ["text_encoder.bert.", "text_encoder.", "bert."]
        .into_iter()
        .find(|prefix| has(&format!("{prefix}{table}")))
        .unwrap_or("")
}

/// The name in an ALBEF of a BERT's tensor; `None` for what an ALBEF has not: the pooler, the head for the next sentence.
fn bert_name(name: &str, prefix: &str, has_head: bool) -> Option<String> {
    let (bert, head) = match has_head {
        true => ("text_encoder.bert.", true),
        false => ("text_encoder.", false),
    };
    // Old files call a normalisation's parameters as TensorFlow does.
    let modern = name
        .replace("LayerNorm.gamma", "LayerNorm.weight")
        .replace("LayerNorm.beta", "LayerNorm.bias");
    if let Some(rest) = modern
        .strip_prefix("text_encoder.")
        .unwrap_or(&modern)
        .strip_prefix("cls.")
    {
        let is_used = head && rest.starts_with("predictions.") && !rest.starts_with("predictions.decoder.");
        return is_used.then(|| format!("text_encoder.cls.{rest}"));
    }
    let rest = modern.strip_prefix(prefix)?;
    let is_encoder = rest.starts_with("embeddings.") || rest.starts_with("encoder.");
    (is_encoder && !rest.ends_with("position_ids")).then(|| format!("{bert}{rest}"))
}

/// Loads what `rename` keeps into the tensors of `module` that are `wanted`.
fn replace<M: ReferenceNames>(
    module: &mut M,
    checkpoint: Checkpoint,
    rename: impl Fn(&str) -> Option<String>,
    is_wanted: impl Fn(&str) -> bool,
    allow: &Allow,
) -> Result<LoadReport, WeightsError> {
    let mut kept: HashMap<String, TensorData> = HashMap::new();
    let mut ignored = Vec::new();
    for (name, tensor) in checkpoint.tensors {
        match rename(&name) {
            Some(renamed) => drop(kept.insert(renamed, tensor)),
            None => ignored.push(name),
        }
    }
    let untouched = named_params(module)
        .into_iter()
        .map(|param| param.name)
        .filter(|name| !is_wanted(name))
        .collect();
    tensors::load_some(module, kept, &untouched, ignored, allow)
}
