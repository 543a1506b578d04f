/// A file that is no archive of tensors, or a damaged one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// None of the kinds.
    #[error("it is no safetensors file and nothing that torch.save or torch.jit.save wrote")]
    Unknown,
    /// From before PyTorch 0.1.10.
    #[error(
        "it is a tar archive, as PyTorch wrote before version 0.1.10: load it in PyTorch and save it again with torch.save"
    )]
    Tar,
    /// No tensor in it.
    #[error("there is no tensor in it, neither at the top nor below `state_dict` or `model`")]
    Empty,
    /// Tensors that view the same bytes over and over.
    #[error(
        "its tensors view more than {} times the bytes of the file: it is damaged or hostile",
        super::MAX_OVERLAP
    )]
    Overlap,
    /// A damaged safetensors file.
    #[error("it is not a valid safetensors file: {0}")]
    Safetensors(#[source] safetensors::SafeTensorError),
    /// A damaged zip archive.
    #[error("it is not a valid zip archive of PyTorch: {0}")]
    Zip(String),
    /// A pickle that PyTorch does not write.
    #[error("its pickle cannot be read at byte {offset}: {message}")]
    Pickle {
        /// From the beginning of the pickle.
        offset: usize,
        /// What is wrong there.
        message: String,
    },
    /// A tensor that does not fit into the file.
    #[error("tensor `{name}` {message}")]
    Tensor {
        /// Its name.
        name: String,
        /// What is wrong with it.
        message: String,
    },
    /// Something else that is wrong with the structure.
    #[error("{0}")]
    Structure(String),
}

impl ArchiveError {
    pub(super) fn zip(message: impl Into<String>) -> Self {
        Self::Zip(message.into())
    }

    pub(super) fn tensor(name: &str, message: impl Into<String>) -> Self {
        Self::Tensor {
            name: name.to_owned(),
            message: message.into(),
        }
    }

    pub(super) fn structure(message: impl Into<String>) -> Self {
        Self::Structure(message.into())
    }
}
