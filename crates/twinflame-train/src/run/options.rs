//! What a caller decides about a run beside its recipe, and what it gets back.

use std::path::PathBuf;
use std::time::Duration;

use burn::train::Interrupter;

use super::state::Best;

/// Everything about a run that does not change its result.
#[derive(Clone)]
pub struct RunOptions {
    /// Parent of the run's folder. Default `runs`.
    pub runs_dir: PathBuf,
    /// What is shown. Default [`Display::Auto`].
    pub display: Display,
    /// Stops the run after the step when asked to; a checkpoint is written. Give it to a signal handler.
    pub interrupter: Interrupter,
    /// The device in words, for `run.json`.
    pub device_description: String,
    /// Commit of the program, for `run.json`. Default `unknown`.
    pub commit: String,
    /// Told what opening the data found wrong, before anything is shown. Default: nobody is told.
    pub notify: fn(&str),
    /// Whether warnings of the libraries go to `experiment.log`; installs a process-wide logger. Default `false`.
    pub log_file: bool,
}

/// What is shown of a run while it goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Display {
    /// The dashboard when standard output is a terminal and the program has it, else plain lines.
    #[default]
    Auto,
    /// Plain lines.
    Plain,
    /// Nothing.
    Quiet,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            runs_dir: PathBuf::from("runs"),
            display: Display::Auto,
            interrupter: Interrupter::new(),
            device_description: "unknown".into(),
            commit: "unknown".into(),
            notify: |_| {},
            log_file: false,
        }
    }
}

impl std::fmt::Debug for RunOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunOptions")
            .field("runs_dir", &self.runs_dir)
            .field("display", &self.display)
            .finish_non_exhaustive()
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All steps are done.
    Finished,
    /// It was asked to stop, and saved.
    Interrupted,
    /// `run.stop_after_validations` validations brought nothing better.
    StoppedEarly,
}

/// What is left of a run.
#[derive(Clone, Debug)]
pub struct RunSummary {
    /// How it ended.
    pub outcome: Outcome,
    /// The run's folder.
    pub run_dir: PathBuf,
    /// The last checkpoint.
    pub checkpoint: PathBuf,
    /// Optimiser steps done, resumed ones included.
    pub step: usize,
    /// Steps of the whole run.
    pub num_steps: usize,
    /// Best validation.
    pub best: Option<Best>,
    /// Image-text pairs trained on, resumed ones included.
    pub pairs_seen: u64,
    /// Time of this process.
    pub elapsed: Duration,
    /// Things the user should know: bad samples, a loss that does not fall.
    pub warnings: Vec<String>,
}
