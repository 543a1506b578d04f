//! Does a run stop when it must, and say what there is to say?

use std::fs;

use tempfile::TempDir;
use twinflame::train::recipe::ResolvedRecipe;
use twinflame::train::run::{self, CheckpointError, Outcome, RunError, RunFolder};
use twinflame_tests::device;

use crate::runs::options;

fn recipe(set: &[&str]) -> ResolvedRecipe {
    crate::runs::recipe("tiny", set)
}

#[test]
fn a_loss_that_is_no_number_stops_the_run_and_names_step_and_checkpoint() {
    let parent = TempDir::new().unwrap();
    let set = [
        "optim.lr=1e30",
        "optim.warmup_steps=3",
        "optim.weight_decay=0.0",
        "run.save_every_steps=1",
    ];
    let error = run::train(&recipe(&set), &device(), &options(&parent)).unwrap_err();
    let step = match error {
        RunError::NonFinite { step, .. } | RunError::NonFiniteWeights { step, .. } => step,
        other => panic!("{other}"),
    };
    let message = error.to_string();
    assert!(
        message.contains(&format!("step {step}")) && message.contains("optim.lr"),
        "{message}"
    );
    // Whatever was saved is from before, whole, and the one that the message names.
    let run = parent.path().join("tiny-1");
    match RunFolder::open(&run).unwrap().checkpoints(1).latest().unwrap() {
        Some(last) => {
            assert!(last.state.step < step);
            assert!(message.contains(&last.dir.display().to_string()), "{message}");
            run::load(&run, &device()).unwrap();
        }
        None => assert!(message.contains("There is no checkpoint before it"), "{message}"),
    }
}

#[test]
fn a_finished_run_says_how_to_train_longer() {
    let parent = TempDir::new().unwrap();
    let set = [
        "run.num_steps=2",
        "loader.batches_per_epoch=2",
        "loader.batch_size=8",
        "task.micro_batch_size=8",
    ];
    let done = run::train(&recipe(&set), &device(), &options(&parent)).unwrap();
    let error = run::resume(&done.run_dir, &device(), &options(&parent)).unwrap_err();
    assert!(matches!(error, RunError::Finished { steps: 2, .. }), "{error}");
    assert!(error.to_string().contains("--set run.num_steps=4"), "{error}");
    for file in ["recipe.toml", "model.json", "run.json", "metrics.jsonl"] {
        assert!(done.run_dir.join(file).is_file(), "{file}");
    }
    let events: Vec<_> = fs::read_dir(done.run_dir.join("tensorboard")).unwrap().collect();
    assert_eq!(events.len(), 1);
}

#[test]
fn a_set_of_files_cut_short_leaves_the_checkpoint_before_it() {
    let parent = TempDir::new().unwrap();
    let set = [
        "run.num_steps=4",
        "loader.batches_per_epoch=2",
        "loader.batch_size=8",
        "task.micro_batch_size=8",
    ];
    let done = run::train(&recipe(&set), &device(), &options(&parent)).unwrap();
    // As a process killed between two files of the last set leaves it.
    let checkpoints = done.run_dir.join("checkpoints");
    let last = checkpoints.join("step-00000004");
    let unfinished = checkpoints.join(".unfinished-step-00000004");
    fs::rename(&last, &unfinished).unwrap();
    fs::remove_file(unfinished.join("state.json")).unwrap();
    assert_eq!(run::load(&done.run_dir, &device()).unwrap().checkpoint.state.step, 2);
    let resumed = run::resume(&done.run_dir, &device(), &options(&parent)).unwrap();
    assert_eq!(resumed.step, 4);
    assert!(last.join("state.json").is_file() && !unfinished.exists());
}

#[test]
fn folders_that_are_no_runs_are_told_apart() {
    let parent = TempDir::new().unwrap();
    let error = run::resume(parent.path(), &device(), &options(&parent)).unwrap_err();
    assert!(matches!(error, RunError::NoRun { .. }), "{error}");
    let error = run::load(parent.path(), &device()).err().unwrap();
    assert!(
        matches!(error, RunError::Checkpoint(CheckpointError::Missing { .. })),
        "{error}"
    );
}

#[test]
fn a_run_that_no_longer_improves_stops_early_and_keeps_its_best_checkpoint() {
    let parent = TempDir::new().unwrap();
    let set = [
        "optim.lr=0.0",
        "task.targets=diagonal",
        "run.num_steps=10",
        "run.keep_last=1",
        "run.stop_after_validations=2",
        "run.best=loss",
        "loader.batches_per_epoch=1",
        "loader.batch_size=8",
        "task.micro_batch_size=8",
    ];
    let stopped = run::train(&recipe(&set), &device(), &options(&parent)).unwrap();
    // Without a learning rate the first validation is as good as any after it.
    assert_eq!((stopped.step, &stopped.outcome), (3, &Outcome::StoppedEarly));
    assert_eq!(stopped.best.unwrap().step, 1);
    let best = run::load(&stopped.run_dir.join("best"), &device()).unwrap();
    assert_eq!(best.checkpoint.state.step, 1);
    assert_eq!(run::load(&stopped.run_dir, &device()).unwrap().checkpoint.state.step, 3);
}

#[test]
fn a_run_that_stopped_early_has_stopped() {
    let parent = TempDir::new().unwrap();
    let set = [
        "optim.lr=0.0",
        "task.targets=diagonal",
        "run.num_steps=10",
        "run.stop_after_validations=1",
        "run.best=loss",
        "loader.batches_per_epoch=1",
        "loader.batch_size=8",
        "task.micro_batch_size=8",
    ];
    let stopped = run::train(&recipe(&set), &device(), &options(&parent)).unwrap();
    assert_eq!(stopped.outcome, Outcome::StoppedEarly);
    let error = run::resume(&stopped.run_dir, &device(), &options(&parent)).unwrap_err();
    assert!(matches!(error, RunError::NoBetter { validations: 1, .. }), "{error}");
    assert!(
        error.to_string().contains("raise run.stop_after_validations in "),
        "{error}"
    );
}
