//! Runs for tests: small recipes, nothing on the screen, and what a run logged.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;
use twinflame::train::recipe::ResolvedRecipe;
use twinflame::train::run::{Display, Interrupter, RunOptions};

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

/// Tensors and numbers in a file of a checkpoint, by path of the parameter: parameters have ids of their own in every
/// run, and the order of a record is left to chance.
pub(crate) fn record(run: &Path, step: usize, file: &str) -> BTreeMap<String, Vec<u8>> {
    let file = run.join(format!("checkpoints/step-{step:08}/{file}"));
    let record = burn_pack::Reader::from_file(file).unwrap();
    // Moments are kept by the id of their parameter, weights by its path.
    let name = |key: &str| match key.split_once('.') {
        Some((id, field)) if record.metadata().contains_key(id) => format!("{}.{field}", record.metadata()[id]),
        _ => key.to_owned(),
    };
    let tensors = record
        .tensor_names()
        .into_iter()
        .map(|key| (name(key), record.tensor_data(key).unwrap()));
    let scalars = record
        .scalars()
        .iter()
        .map(|(key, value)| (name(key), format!("{value:?}").into_bytes()));
    tensors.chain(scalars).collect()
}
