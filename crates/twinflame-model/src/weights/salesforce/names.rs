//! Names of ALBEF's tensors in the reference.

use crate::{
    Albef, AlbefEncoders, FeatureQueue,
    pos_embed::Resample,
    weights::{Layout, NamedParam, Place, ReferenceNames},
};

impl ReferenceNames for Albef {
    fn reference(&self, place: &Place<'_>) -> (String, Layout) {
        match place.path {
            [first, path @ ..] if first == "encoders" => self.encoders.reference(&Place { path, ..*place }),
            path => plain(&path.join("."), place),
        }
    }

    fn resize(param: &NamedParam, values: &[f32], found: &[usize]) -> Option<Vec<f32>> {
        AlbefEncoders::resize(param, values, found)
    }
}

impl ReferenceNames for FeatureQueue {
    fn reference(&self, place: &Place<'_>) -> (String, Layout) {
        // The reference has a column for every entry.
        let name = place.path.join(".").replace("_embeds", "_queue");
        (name, Layout::Transposed)
    }
}

impl ReferenceNames for AlbefEncoders {
    fn reference(&self, place: &Place<'_>) -> (String, Layout) {
        match place.path {
            [tower, path @ ..] if tower == "image_encoder" => image_reference(path, place),
            [tower, path @ ..] if tower == "text_encoder" => {
                let prefix = match (path.first().map(String::as_str), &self.text_encoder.mlm_head) {
                    (Some("mlm_head"), _) | (_, None) => "text_encoder.",
                    (_, Some(_)) => "text_encoder.bert.",
                };
                plain(&format!("{prefix}{}", bert_name(path)), place)
            }
            path => plain(&path.join("."), place),
        }
    }

    fn resize(param: &NamedParam, values: &[f32], found: &[usize]) -> Option<Vec<f32>> {
        if param.name == "visual_encoder.pos_embed" {
            param.resize_grid(values, found, Resample::Plain)
        } else {
            None
        }
    }
}

/// A tensor that lies as PyTorch's layers do.
fn plain(name: &str, place: &Place<'_>) -> (String, Layout) {
    let layout = if place.is_linear_weight {
        Layout::Transposed
    } else {
        Layout::Same
    };
    (name.to_owned(), layout)
}

/// A tensor of the vision transformer.
fn image_reference(path: &[String], place: &Place<'_>) -> (String, Layout) {
    let parts: Vec<&str> = path.iter().map(String::as_str).collect();
    match parts.as_slice() {
        ["class_embedding"] => ("visual_encoder.cls_token".to_owned(), Layout::Leading(2)),
        ["positional_embedding"] => ("visual_encoder.pos_embed".to_owned(), Layout::Leading(1)),
        ["conv1", "weight"] => ("visual_encoder.patch_embed.proj.weight".to_owned(), Layout::Patches),
        parts => {
            let parts = parts.iter().map(|part| match *part {
                "conv1" => "patch_embed.proj",
                "ln_1" => "norm1",
                "ln_2" => "norm2",
                "ln_post" => "norm",
                "in_proj" => "qkv",
                "out_proj" => "proj",
                "c_fc" => "fc1",
                "c_proj" => "fc2",
                other => norm_part(other),
            });
            let name = parts.collect::<Vec<_>>().join(".");
            plain(&format!("visual_encoder.{name}"), place)
        }
    }
}

/// PyTorch's names of a normalisation's parameters.
fn norm_part(part: &str) -> &str {
    match part {
        "gamma" => "weight",
        "beta" => "bias",
        other => other,
    }
}

/// A tensor of BERT, below `text_encoder.` and `bert.`.
fn bert_name(path: &[String]) -> String {
    let parts: Vec<&str> = path.iter().map(|part| norm_part(part)).collect();
    match parts.as_slice() {
        ["embeddings", "layer_norm", last] => format!("embeddings.LayerNorm.{last}"),
        ["embeddings", table, ..] => format!("embeddings.{table}.weight"),
        ["layers", index, inner @ ..] => format!("encoder.layer.{index}.{}", bert_layer_name(inner)),
        ["mlm_head", "bias"] => "cls.predictions.bias".to_owned(),
        ["mlm_head", "dense", last] => format!("cls.predictions.transform.dense.{last}"),
        ["mlm_head", _, last] => format!("cls.predictions.transform.LayerNorm.{last}"),
        other => other.join("."),
    }
}

/// A tensor of one of BERT's layers.
fn bert_layer_name(parts: &[&str]) -> String {
    match parts {
        ["mlp", "c_fc", last] => format!("intermediate.dense.{last}"),
        ["mlp", _, last] => format!("output.dense.{last}"),
        ["ln_mlp", last] => format!("output.LayerNorm.{last}"),
        [attention, inner @ ..] => {
            let attention = attention.replace('_', "");
            match inner {
                ["norm", last] => format!("{attention}.output.LayerNorm.{last}"),
                ["attn", "out_proj", last] => format!("{attention}.output.dense.{last}"),
                [_, inner @ ..] => format!("{attention}.self.{}", inner.join(".")),
                [] => attention,
            }
        }
        [] => String::new(),
    }
}
