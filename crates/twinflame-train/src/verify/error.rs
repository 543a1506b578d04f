use std::path::{Path, PathBuf};

use burn::tensor::TensorReadError;
use twinflame_data::{DecodeError, TransformError};
use twinflame_model::{ConfigError, weights::WeightsError};

use crate::{eval::EvalError, optim::OptimError, task::TaskError};

/// A fixture that cannot be computed or written. A difference from the reference is none: it is in the report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// A file that has to be there.
    #[error("{} is missing: {what}", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// What it holds and what would do instead.
        what: &'static str,
    },
    /// A file that cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file that cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A configuration that is not JSON.
    #[error("{} is not JSON: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Line and column.
        #[source]
        source: serde_json::Error,
    },
    /// A key of the configuration that is not there or holds something else.
    #[error("{}: `{key}` is {found}, and should be {expected}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// The key, from the outermost object on.
        key: String,
        /// What is there, as JSON.
        found: String,
        /// What would be right.
        expected: &'static str,
    },
    /// A configuration of a model that there cannot be.
    #[error("{}: {source}", path.display())]
    Model {
        /// The file.
        path: PathBuf,
        /// The key and what is wrong with it.
        #[source]
        source: ConfigError,
    },
    /// A kind of fixture that is not computed here.
    #[error(
        "{}: the fixture `{name}` is not supported yet: verify computes CLIP and SigLIP models, accumulated gradients, \
         zero-shot classification, position tables, learning rates, preprocessing, and ALBEF's pre-training and retrieval", path.display()
    )]
    Unsupported {
        /// The configuration.
        path: PathBuf,
        /// What the fixture calls itself.
        name: String,
    },
    /// An input that the model cannot take.
    #[error("{}: `{name}` {found}, and should {expected}", path.display())]
    Input {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// What it is: "has shape [2, 3]".
        found: String,
        /// What would be right: "have shape [2, 4]".
        expected: String,
    },
    /// A position table that would have to be resampled to fit.
    #[error("{}: {} of another size than config.json's model: {}", path.display(), if names.len() == 1 { "a tensor is" } else { "tensors are" }, names.join(", "))]
    Resized {
        /// The weights.
        path: PathBuf,
        /// The tensors.
        names: Vec<String>,
    },
    /// An image that cannot be decoded.
    #[error("cannot decode {}", path.display())]
    Image {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: DecodeError,
    },
    /// Tensors that cannot be read, written or used.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// Settings of a step.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// Settings of the optimiser.
    #[error(transparent)]
    Optim(#[from] OptimError),
    /// Settings of the preprocessing.
    #[error(transparent)]
    Transform(#[from] TransformError),
    /// Evaluation.
    #[error(transparent)]
    Eval(#[from] EvalError),
    /// The device failed while results were read back.
    #[error("the device failed")]
    Device(#[from] TensorReadError),
}

impl VerifyError {
    pub(super) fn read(path: &Path, source: std::io::Error) -> Self {
        Self::Read {
            path: path.to_owned(),
            source,
        }
    }

    pub(super) fn write(path: &Path, source: std::io::Error) -> Self {
        Self::Write {
            path: path.to_owned(),
            source,
        }
    }
}
