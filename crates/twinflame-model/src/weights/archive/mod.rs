//! Files of tensors: safetensors, and what `torch.save` and `torch.jit.save` write.
//!
//! Nothing in a file is executed: a pickle is read by a machine that knows tensors, dictionaries and lists, and takes
//! every other call for an opaque value. Sizes are checked against the file before anything is allocated for them, so
//! that reading a file takes no more memory than
//! - the file itself, once;
//! - what its pickles describe: at most 2 million (`MAX_VALUES`) values of at most 64 bytes, and strings no longer than
//!   the file;
//! - the tensors that are asked for. All tensors of a file together view at most `MAX_OVERLAP` times its bytes.

mod entry;
mod error;
mod pickle;
mod safetensor;
mod state_dict;
mod storage;
#[cfg(test)]
mod tests;
mod torch;
mod zip;

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::{Path, PathBuf},
};

use burn::tensor::TensorData;

use entry::Entry;
pub use error::ArchiveError;

use super::WeightsError;

/// How often all tensors of a file may view its bytes: tied weights come under several names.
const MAX_OVERLAP: usize = 4;

/// What kind of file tensors came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchiveKind {
    /// safetensors.
    Safetensors,
    /// `torch.save` since PyTorch 1.6: a zip archive.
    TorchZip,
    /// `torch.save` before: a stream of pickles.
    TorchLegacy,
    /// `torch.jit.save`: a zip archive with code, which is not looked at. OpenAI published CLIP so.
    TorchScript,
}

/// A file of named tensors, opened and checked; the tensors are converted when they are asked for.
#[derive(Clone, Debug)]
pub struct Archive {
    path: PathBuf,
    kind: ArchiveKind,
    bytes: Vec<u8>,
    entries: BTreeMap<String, Entry>,
    metadata: HashMap<String, String>,
}

/// What a parser finds in the bytes of a file.
struct Parsed {
    kind: ArchiveKind,
    entries: BTreeMap<String, Entry>,
    metadata: HashMap<String, String>,
}

impl Archive {
    /// Opens a file of any kind; its first bytes say which.
    ///
    /// Of a checkpoint with several parts, the tensors below `state_dict` or `model` are taken; a `module.` in front of
    /// all names is left out.
    ///
    /// # Errors
    /// If the file cannot be read, or is none of the kinds, damaged, or holds no tensor.
    pub fn open(path: &Path) -> Result<Self, WeightsError> {
        let bytes = fs::read(path).map_err(|source| WeightsError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::from_bytes(path, bytes)
    }

    /// The same for bytes in memory; `path` names them in messages.
    ///
    /// # Errors
    /// As [`Archive::open`].
    pub fn from_bytes(path: &Path, bytes: Vec<u8>) -> Result<Self, WeightsError> {
        let parsed = parse(&bytes).map_err(|source| WeightsError::Archive {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self {
            path: path.to_owned(),
            kind: parsed.kind,
            bytes,
            entries: parsed.entries,
            metadata: parsed.metadata,
        })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What kind of file it is.
    #[must_use]
    pub fn kind(&self) -> ArchiveKind {
        self.kind
    }

    /// What a safetensors file says about itself; empty for the others.
    #[must_use]
    pub fn metadata(&self) -> &HashMap<String, String> {
        &self.metadata
    }

    /// Names and shapes of the tensors, sorted by name.
    pub fn shapes(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.entries.iter().map(|(name, entry)| (name.as_str(), entry.shape()))
    }

    /// A tensor, floats as f32 and integers and truth values as 64-bit integers; `None` if there is none of this name.
    #[must_use]
    pub fn tensor(&self, name: &str) -> Option<TensorData> {
        Some(self.entries.get(name)?.read(&self.bytes))
    }

    /// Whether a tensor has the type of pixels, 8 bits without a sign.
    pub(super) fn is_bytes(&self, name: &str) -> bool {
        self.entries.get(name).is_some_and(Entry::is_bytes)
    }
}

/// Tells the kind of file by its first bytes and lists what is in it.
fn parse(bytes: &[u8]) -> Result<Parsed, ArchiveError> {
    let parsed = if bytes.starts_with(zip::SIGNATURE) {
        torch::parse_zip(bytes)
    } else if bytes.get(8) == Some(&b'{') {
        // Before pickles: the length of the header, in front of it, may begin with the byte that they begin with.
        safetensor::parse(bytes)
    } else if bytes.starts_with(&[pickle::PROTO]) {
        torch::parse_legacy(bytes)
    } else if bytes.get(257..262) == Some(b"ustar") {
        Err(ArchiveError::Tar)
    } else {
        Err(ArchiveError::Unknown)
    }?;
    let viewed = parsed
        .entries
        .values()
        .try_fold(0usize, |sum, entry| sum.checked_add(entry.num_bytes()));
    match viewed {
        Some(viewed) if viewed <= bytes.len().saturating_mul(MAX_OVERLAP) => {}
        _ => return Err(ArchiveError::Overlap),
    }
    if parsed.entries.is_empty() {
        return Err(ArchiveError::Empty);
    }
    Ok(parsed)
}
