//! Runs for tests: small recipes, nothing on the screen, and what a run logged.

use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;
use twinflame::train::recipe::ResolvedRecipe;
use twinflame::train::run::{Display, Interrupter, RunOptions};

use crate::saved::log;

/// An embedded recipe with changes.
pub(crate) fn recipe(name: &str, set: &[&str]) -> ResolvedRecipe {
    let set: Vec<String> = set.iter().map(|argument| (*argument).to_owned()).collect();
    ResolvedRecipe::load(name, &set).unwrap()
}

pub(crate) fn options(parent: &TempDir) -> RunOptions {
    RunOptions {
        runs_dir: parent.path().to_owned(),
        display: Display::Quiet,
        ..RunOptions::default()
    }
}

/// Asked to stop before it begins: stops after its first step.
pub(crate) fn stopped(parent: &TempDir) -> RunOptions {
    let interrupter = Interrupter::new();
    interrupter.stop(Some("test"));
    RunOptions {
        interrupter,
        ..options(parent)
    }
}

/// What was logged of the steps of a run, `"train"`, or its validations, `"valid"`, but for times.
pub(crate) fn logged(run: &Path, split: &str) -> Vec<Value> {
    let lines = log(run).into_iter();
    lines.filter(|line| line["split"] == split).collect()
}
