use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;
use twinflame_model::weights::WeightsError;

/// A model that cannot be exported.
#[derive(Debug, Error)]
pub enum ExportError {
    /// The format has no words for the model.
    #[error("`--format {format}` cannot express this model: {reason}; {remedy}")]
    Inexpressible {
        /// The format.
        format: &'static str,
        /// What it lacks.
        reason: String,
        /// What can be done instead.
        remedy: &'static str,
    },
    /// The folder has something in it.
    #[error("{} is there already and not an empty folder: give another one, or remove it", path.display())]
    Used {
        /// The folder.
        path: PathBuf,
    },
    /// The weights cannot be read or written.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A file cannot be written.
    #[error("cannot write {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl ExportError {
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}
