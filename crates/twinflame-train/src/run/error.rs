//! What can stop a run.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;
use twinflame_data::{DataError, LoaderError, TokenizerError, TransformError};
use twinflame_model::weights::WeightsError;

use super::checkpoint::CheckpointError;
use crate::optim::OptimError;
use crate::recipe::RecipeError;
use crate::task::TaskError;

/// A run that cannot start, or was stopped by an error.
#[derive(Debug, Error)]
pub enum RunError {
    /// The recipe.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// A data set of the recipe.
    #[error("data.{section}: {source}")]
    Data {
        /// `train`, `valid` or `test.<name>`.
        section: String,
        /// Why.
        source: Box<DataError>,
    },
    /// The loader.
    #[error(transparent)]
    Loader(#[from] LoaderError),
    /// The tokenizer.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The transform.
    #[error(transparent)]
    Transform(#[from] TransformError),
    /// The task.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// The optimiser.
    #[error(transparent)]
    Optim(#[from] OptimError),
    /// The weights to start from cannot be loaded.
    #[error("init.model: cannot start from {}", path.display())]
    InitLoad {
        /// The run or checkpoint.
        path: PathBuf,
        /// Why.
        source: Box<RunError>,
    },
    /// The weights to start from do not fit.
    #[error("init.{key}: {}: {message}", path.display())]
    Init {
        /// The key below `[init]`.
        key: &'static str,
        /// What it names.
        path: PathBuf,
        /// What does not fit.
        message: String,
    },
    /// Weights of another program.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// Weights of another program that no recipe of ours fits.
    #[error("cannot import {}: {message}", path.display())]
    Import {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        message: String,
    },
    /// A folder that would be overwritten.
    #[error("{} exists already: give another folder, or remove it", path.display())]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// A file beside another program's weights wants pixels that no transform of ours makes.
    #[error(
        "{}: {key} = {value}: it must be {expected}; to take the model with other pixels, import the weights file without the \
         files beside it and say what it is to get, as in `--set transform.mode=squash`", path.display()
    )]
    Preprocessing {
        /// The file.
        path: PathBuf,
        /// The key in it.
        key: &'static str,
        /// Its value.
        value: String,
        /// What it could be.
        expected: String,
    },
    /// A JSON file of another program.
    #[error("cannot understand {}: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// Validation figures.
    #[error("the validation failed")]
    Eval(#[from] crate::eval::EvalError),
    /// A checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A file of the run folder.
    #[error("cannot access {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file of the run could not be written while it went on.
    #[error("the run was stopped after step {step}: {source}. Once that is mended, {resume}")]
    Unwritable {
        /// The last step done.
        step: usize,
        /// The file, and why.
        source: Box<RunError>,
        /// How to go on, in words.
        resume: Resume,
    },
    /// Not a run folder.
    #[error(
        "{} is not a run folder: there is no recipe.toml in it. A run that was stopped before it had written one is started \
         anew: `twinflame train RECIPE`", path.display()
    )]
    NoRun {
        /// The folder.
        path: PathBuf,
    },
    /// The run has done all its steps already.
    #[error(
        "the run {} is finished: it has done its {steps} steps. To train longer, start a new run with more, for example \
         `twinflame train {} --set run.num_steps={}`", path.display(), path.join("recipe.toml").display(), 2 * steps
    )]
    Finished {
        /// The run folder.
        path: PathBuf,
        /// Its steps.
        steps: usize,
    },
    /// The run was stopped by `run.stop_after_validations`.
    #[error(
        "the run {} is finished: its last {validations} validations brought nothing better. To train on nevertheless, raise \
         run.stop_after_validations in {}", path.display(), path.join("recipe.toml").display()
    )]
    NoBetter {
        /// The run folder.
        path: PathBuf,
        /// Validations since the best one.
        validations: usize,
    },
    /// The loss is infinite or not a number.
    #[error("the loss of step {step} is {loss}: the run was stopped, and nothing after it is saved. {last_good}")]
    NonFinite {
        /// The step, counted from 1.
        step: usize,
        /// The loss.
        loss: f64,
        /// Where to continue from, in words.
        last_good: LastGood,
    },
    /// A weight is infinite or not a number though the losses were finite.
    #[error("a weight is no longer a finite number after step {step}: nothing was saved. {last_good}")]
    NonFiniteWeights {
        /// The step, counted from 1.
        step: usize,
        /// Where to continue from, in words.
        last_good: LastGood,
    },
    /// The user chose to kill the program in the dashboard.
    #[error("training was killed from the dashboard; what was not saved before is lost")]
    Killed,
    /// The learner reported an error: the device, the loader or a metric.
    #[error("training was stopped: {0}")]
    Training(String),
}

/// Advice at the end of a message about broken numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastGood(pub Option<PathBuf>);

impl std::fmt::Display for LastGood {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Some(path) => write!(f, "The last good checkpoint is {}", path.display())?,
            None => write!(f, "There is no checkpoint before it")?,
        }
        write!(
            f,
            ". Usual remedies: a lower optim.lr, a longer warm-up, task.max_grad_norm = 1.0, task.precision = \"f32\""
        )
    }
}

/// How to go on with a run that was stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resume {
    /// The run folder.
    pub run_dir: PathBuf,
    /// Step of the last checkpoint, if there is one.
    pub step: Option<usize>,
}

impl std::fmt::Display for Resume {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`twinflame train --resume {}` ", self.run_dir.display())?;
        match self.step {
            Some(step) => write!(f, "continues after step {step}"),
            None => write!(f, "starts it again from the beginning"),
        }
    }
}

impl RunError {
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    pub(super) fn data(section: &str) -> impl FnOnce(DataError) -> Self {
        let section = section.to_owned();
        move |source| Self::Data {
            section,
            source: Box::new(source),
        }
    }
}
