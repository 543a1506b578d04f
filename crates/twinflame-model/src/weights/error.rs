use std::{io, path::PathBuf};

use super::ArchiveError;
use crate::ConfigError;

/// Weights that cannot be read, written or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// The file cannot be read.
    #[error("cannot read weights from {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is no safetensors file.
    #[error("{path} is not a safetensors file: {source}")]
    Format {
        /// The file.
        path: PathBuf,
        /// Why.
        source: safetensors::SafeTensorError,
    },
    /// The file holds no tensors that can be read.
    #[error("cannot read weights from {path}: {source}")]
    Archive {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ArchiveError,
    },
    /// A folder or file whose contents are not what is asked for.
    #[error("{path}: {message}")]
    Foreign {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong and what would be right.
        message: String,
    },
    /// Weights that are not of the given configuration.
    #[error("{path} does not fit the configuration: {}", .differences.join("; "))]
    Contradiction {
        /// The file.
        path: PathBuf,
        /// Each key with the value that the weights have and the one that was given.
        differences: Vec<String>,
    },
    /// The file cannot be written.
    #[error("cannot write weights to {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The tensors cannot be laid out as a safetensors file.
    #[error("cannot lay out the weights as safetensors: {0}")]
    Serialize(#[source] safetensors::SafeTensorError),
    /// A tensor has a type that no weight has.
    #[error("tensor `{name}` has type {dtype}; weights are F32, F16, BF16 or F64")]
    DType {
        /// The tensor.
        name: String,
        /// Its type.
        dtype: String,
    },
    /// A tensor has another shape than the model's.
    #[error("tensor `{name}` has shape {found:?}, the model needs {expected:?}: is it another configuration?")]
    Shape {
        /// The tensor.
        name: String,
        /// Shape in the file.
        found: Vec<usize>,
        /// Shape that would fit.
        expected: Vec<usize>,
    },
    /// A value does not fit into the type of the file.
    #[error("tensor `{name}` has the value {value}, too large for {dtype}: write {instead} instead")]
    TooLarge {
        /// The tensor.
        name: String,
        /// Its value.
        value: f32,
        /// The type.
        dtype: &'static str,
        /// A type that holds it.
        instead: &'static str,
    },
    /// The card of an exported file is damaged.
    #[error("{path}: the card in its metadata cannot be read: {reason}")]
    Card {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Names do not match up.
    #[error("the weights do not fit the model: {}", names(.missing, .unexpected))]
    Names {
        /// In the model, not in the file.
        missing: Vec<String>,
        /// In the file, not in the model.
        unexpected: Vec<String>,
    },
    /// A foreign configuration says something that no model of this crate is.
    #[error("config.json: {key} is {found}; this crate has models with {expected}")]
    Setting {
        /// The key.
        key: String,
        /// Its value.
        found: String,
        /// Values that there are.
        expected: &'static str,
    },
    /// A configuration cannot be read.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A format has no way to say what this model is.
    #[error("{format} cannot express this model: {reason}")]
    Inexpressible {
        /// The format.
        format: &'static str,
        /// Why.
        reason: String,
    },
    /// A value on the device cannot be read.
    #[error("cannot read tensor `{name}` from the device: {reason}")]
    Device {
        /// The tensor.
        name: String,
        /// Why.
        reason: String,
    },
}

fn names(missing: &[String], unexpected: &[String]) -> String {
    let list = |what: &str, names: &[String]| {
        let first: Vec<_> = names.iter().take(4).map(|name| format!("`{name}`")).collect();
        let more = if names.len() > 4 { ", .." } else { "" };
        format!("{} tensors {what}: {}{more}", names.len(), first.join(", "))
    };
    let mut parts = Vec::new();
    if !missing.is_empty() {
        parts.push(list("are missing in the file", missing));
    }
    if !unexpected.is_empty() {
        parts.push(list("of the file are not in the model", unexpected));
    }
    parts.join("; ")
}
