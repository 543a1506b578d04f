//! Is a run that was stopped the run that was not?
//!
//! With shuffling, augmentation, patch dropout, clipping and an average of the weights, to the last bit.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use serde_json::Value;
use tempfile::TempDir;
use twinflame::train::recipe::ResolvedRecipe;
use twinflame::train::run::{self, Display, Interrupter, Outcome, RunFolder, RunOptions};
use twinflame_tests::device;

/// Four epochs of three batches of the recipe `tiny`, a checkpoint after every second step and every epoch.
fn recipe() -> ResolvedRecipe {
    let set = [
        "loader.batch_size=16",
        "loader.batches_per_epoch=3",
        "task.micro_batch_size=16",
        "run.num_steps=12",
        "run.save_every_steps=2",
        "run.valid_every_epochs=2",
        "run.keep_last=100",
    ];
    ResolvedRecipe::load("tiny", &set.map(str::to_owned)).unwrap()
}

fn options(parent: &TempDir) -> RunOptions {
    RunOptions {
        runs_dir: parent.path().to_owned(),
        display: Display::Quiet,
        ..RunOptions::default()
    }
}

/// Asked to stop before it begins: stops after its first step.
fn stopped(parent: &TempDir) -> RunOptions {
    let interrupter = Interrupter::new();
    interrupter.stop(Some("test"));
    RunOptions {
        interrupter,
        ..options(parent)
    }
}

/// Step and loss of every training step.
fn losses(run: &Path) -> Vec<(u64, f64)> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines
        .filter(|line| line["split"] == "train")
        .map(|line| (line["step"].as_u64().unwrap(), line["loss"].as_f64().unwrap()))
        .collect()
}

/// Bits of every parameter and running statistic, averaged weights included.
fn weights(run: &Path) -> Vec<u32> {
    let loaded = run::load(run, &device()).unwrap();
    let mut bits = Bits(Vec::new());
    loaded.model.visit(&mut bits);
    loaded.ema.expect("the recipe averages").visit(&mut bits);
    bits.0
}

struct Bits(Vec<u32>);

impl ModuleVisitor for Bits {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.extend(param.val().into_data().iter::<f32>().map(f32::to_bits));
    }
}

/// Moments and step counts of the optimiser after `step`, by parameter path: parameters have ids of their own in every
/// run, and the order of a record is left to chance.
fn moments(run: &Path, step: usize) -> BTreeMap<String, Vec<u8>> {
    let file = run.join(format!("checkpoints/step-{step:08}/optim.bpk"));
    let record = burn_pack::Reader::from_file(file).unwrap();
    let name = |key: &str| {
        let (id, field) = key.split_once('.').unwrap();
        format!("{}.{field}", record.metadata()[id])
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

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name())),
            false => drop(fs::copy(entry.path(), to.join(entry.file_name())).unwrap()),
        }
    }
}

#[test]
fn a_run_killed_after_any_checkpoint_goes_on_as_if_it_had_not_been() {
    let parent = TempDir::new().unwrap();
    let straight = run::train(&recipe(), &device(), &options(&parent)).unwrap();
    assert_eq!(straight.outcome, Outcome::Finished);
    assert_eq!(losses(&straight.run_dir).len(), 12);
    let expected = weights(&straight.run_dir);

    // After two whole epochs, and in the middle of an epoch.
    for step in [6, 8] {
        let killed = parent.path().join(format!("killed-{step}"));
        copy(&straight.run_dir, &killed);
        for checkpoint in RunFolder::open(&killed).unwrap().checkpoints(1).list().unwrap() {
            if checkpoint.state.step > step {
                fs::remove_dir_all(checkpoint.dir).unwrap();
            }
        }
        let resumed = run::resume(&killed, &device(), &options(&parent)).unwrap();
        assert_eq!((resumed.step, resumed.outcome), (12, Outcome::Finished));
        assert_eq!(losses(&killed), losses(&straight.run_dir), "after step {step}");
        assert!(weights(&killed) == expected, "weights after step {step}");
        assert!(
            moments(&killed, 12) == moments(&straight.run_dir, 12),
            "moments after step {step}"
        );
        assert_eq!(resumed.best, straight.best);
        assert_eq!(resumed.pairs_seen, straight.pairs_seen);
    }
}

#[test]
fn a_run_interrupted_twice_in_an_epoch_ends_where_an_uninterrupted_one_does() {
    let parent = TempDir::new().unwrap();
    let straight = run::train(&recipe(), &device(), &options(&parent)).unwrap();

    let first = run::train(&recipe(), &device(), &stopped(&parent)).unwrap();
    assert_eq!((first.step, first.outcome), (1, Outcome::Interrupted));
    run::load(&first.run_dir, &device()).unwrap();
    let second = run::resume(&first.run_dir, &device(), &stopped(&parent)).unwrap();
    assert_eq!((second.step, second.outcome), (2, Outcome::Interrupted));
    let last = run::resume(&first.run_dir, &device(), &options(&parent)).unwrap();
    assert_eq!((last.step, last.outcome), (12, Outcome::Finished));

    assert_eq!(losses(&first.run_dir), losses(&straight.run_dir));
    assert!(weights(&first.run_dir) == weights(&straight.run_dir));
    let (expected, found) = (moments(&straight.run_dir, 12), moments(&first.run_dir, 12));
    assert!(
        expected.keys().any(|key| key.contains("moment")),
        "{:?}",
        expected.keys()
    );
    assert!(found == expected);
}

#[test]
fn a_run_stopped_at_the_end_of_an_epoch_still_validates_it() {
    let parent = TempDir::new().unwrap();
    let mut recipe = recipe();
    recipe.recipe.loader.batches_per_epoch = Some(1);
    recipe.recipe.run.num_steps = Some(2);
    recipe.recipe.run.valid_every_epochs = 1;
    let stopped = run::train(&recipe, &device(), &stopped(&parent)).unwrap();
    assert_eq!((stopped.step, &stopped.best), (1, &None));
    run::resume(&stopped.run_dir, &device(), &options(&parent)).unwrap();
    let text = fs::read_to_string(stopped.run_dir.join("metrics.jsonl")).unwrap();
    let validated: Vec<u64> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["split"] == "valid")
        .map(|line| line["step"].as_u64().unwrap())
        .collect();
    assert_eq!(validated, [1, 2]);
}
