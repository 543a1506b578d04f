//! Runs for tests: small recipes, nothing on the screen, and what a run logged.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;
use twinflame::train::recipe::ResolvedRecipe;
use twinflame::train::run::{Display, RunOptions};

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

/// What a run measures and never measures twice the same.
const TIMES: [&str; 2] = ["samples_per_s", "data_wait"];

/// What was logged of the steps of a run, `"train"`, or its validations, `"valid"`, but for times.
pub(crate) fn logged(run: &Path, split: &str) -> Vec<Value> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let of_split = lines.filter(|line| line["split"] == split);
    let without_times = of_split.map(|mut line| {
        line.as_object_mut()
            .unwrap()
            .retain(|key, _| !TIMES.contains(&key.as_str()));
        line
    });
    without_times.collect()
}
