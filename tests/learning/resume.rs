//! Is a run that was stopped the run that was not?
//!
//! With shuffling, augmentation, patch dropout, clipping and an average of the weights for a CLIP; with dropout, masked
//! words, drawn negatives, momentum encoders and a queue for an ALBEF: to the last bit.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;
use twinflame::train::recipe::ResolvedRecipe;
use twinflame::train::run::{self, Outcome, RunFolder};
use twinflame_tests::device;

use crate::runs::{logged, options, recipe, stopped};
use crate::saved::{assert_same, record};

/// Four epochs of three batches, a checkpoint after every second step and every epoch.
const SHORT: [&str; 6] = [
    "loader.batch_size=16",
    "loader.batches_per_epoch=3",
    "run.num_steps=12",
    "run.save_every_steps=2",
    "run.valid_every_epochs=2",
    "run.keep_last=100",
];

fn clip() -> ResolvedRecipe {
    recipe("tiny", &[&SHORT[..], &["task.micro_batch_size=16"]].concat())
}

/// The queue holds two and a half batches.
fn albef() -> ResolvedRecipe {
    let set = ["model.dropout=0.1", "model.queue_size=40"];
    recipe("tiny-albef", &[&SHORT[..], &set].concat())
}

fn state(run: &Path, step: usize) -> Value {
    let text = fs::read_to_string(run.join(format!("checkpoints/step-{step:08}/state.json"))).unwrap();
    serde_json::from_str(&text).unwrap()
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

/// `holds`: parts of what a checkpoint of this recipe consists of.
fn assert_a_killed_run_continues(recipe: &ResolvedRecipe, holds: &[&str]) {
    let parent = TempDir::new().unwrap();
    let straight = run::train(recipe, &device(), &options(&parent)).unwrap();
    assert_eq!(straight.outcome, Outcome::Finished);
    assert_eq!(logged(&straight.run_dir, "train").len(), 12);
    let saved = record(&straight.run_dir, 12, "model.bpk");
    for part in holds {
        assert!(saved.keys().any(|key| key.contains(part)), "{part}: {:?}", saved.keys());
    }

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
        assert_same(&killed, &straight.run_dir, 12, &format!("killed after step {step}"));
        assert_eq!(resumed.best, straight.best);
        assert_eq!(resumed.pairs_seen, straight.pairs_seen);
    }
}

fn assert_an_interrupted_run_continues(recipe: &ResolvedRecipe) {
    let parent = TempDir::new().unwrap();
    let straight = run::train(recipe, &device(), &options(&parent)).unwrap();

    let first = run::train(recipe, &device(), &stopped(&parent)).unwrap();
    assert_eq!((first.step, first.outcome), (1, Outcome::Interrupted));
    run::load(&first.run_dir, &device()).unwrap();
    let second = run::resume(&first.run_dir, &device(), &stopped(&parent)).unwrap();
    assert_eq!((second.step, second.outcome), (2, Outcome::Interrupted));
    let last = run::resume(&first.run_dir, &device(), &options(&parent)).unwrap();
    assert_eq!((last.step, last.outcome), (12, Outcome::Finished));

    assert_same(&first.run_dir, &straight.run_dir, 12, "interrupted twice");
}

#[test]
fn a_run_killed_after_any_checkpoint_goes_on_as_if_it_had_not_been() {
    assert_a_killed_run_continues(&clip(), &["model.", "ema."]);
}

#[test]
fn a_killed_run_of_albef_goes_on_as_if_it_had_not_been() {
    let queue = [
        "queue.text_embeds",
        "queue.image_ids",
        "queue.caption_ids",
        "queue.next_row",
    ];
    assert_a_killed_run_continues(&albef(), &[&["model.", "momentum."], &queue[..]].concat());
}

#[test]
fn a_run_interrupted_twice_in_an_epoch_ends_where_an_uninterrupted_one_does() {
    assert_an_interrupted_run_continues(&clip());
}

#[test]
fn an_interrupted_run_of_albef_ends_where_an_uninterrupted_one_does() {
    assert_an_interrupted_run_continues(&albef());
}

#[test]
fn a_run_stopped_at_the_end_of_an_epoch_still_validates_it() {
    let parent = TempDir::new().unwrap();
    let mut recipe = clip();
    recipe.recipe.loader.batches_per_epoch = Some(1);
    recipe.recipe.run.num_steps = Some(2);
    recipe.recipe.run.valid_every_epochs = 1;
    let stopped = run::train(&recipe, &device(), &stopped(&parent)).unwrap();
    assert_eq!((stopped.step, &stopped.best), (1, &None));
    run::resume(&stopped.run_dir, &device(), &options(&parent)).unwrap();
    let validations = logged(&stopped.run_dir, "valid");
    let validated: Vec<u64> = validations.iter().map(|line| line["step"].as_u64().unwrap()).collect();
    assert_eq!(validated, [1, 2]);
}

#[test]
fn a_validation_whose_checkpoint_was_not_yet_written_is_done_and_logged_once() {
    let parent = TempDir::new().unwrap();
    let straight = run::train(&clip(), &device(), &options(&parent)).unwrap();
    // Both end an epoch, 12 the run too: each is saved before its validation and again after it.
    for step in [6, 12] {
        let killed = parent.path().join(format!("killed-{step}"));
        copy(&straight.run_dir, &killed);
        for checkpoint in RunFolder::open(&killed).unwrap().checkpoints(1).list().unwrap() {
            if checkpoint.state.step > step {
                fs::remove_dir_all(checkpoint.dir).unwrap();
            }
        }
        let mut before = state(&killed, step);
        let earlier = state(&killed, step - 2);
        for key in ["best", "validations_since_best"] {
            before[key] = earlier[key].clone();
        }
        before["epoch"] = (step / 3 - 1).into();
        before["batch"] = 3.into();
        before["finished"] = false.into();
        let file = killed.join(format!("checkpoints/step-{step:08}/state.json"));
        fs::write(file, before.to_string()).unwrap();
        let resumed = run::resume(&killed, &device(), &options(&parent)).unwrap();
        assert_eq!((&resumed.best, &resumed.outcome), (&straight.best, &Outcome::Finished));
        assert_same(
            &killed,
            &straight.run_dir,
            12,
            &format!("killed after the validation of step {step}"),
        );
    }
}

#[test]
fn a_run_killed_before_its_first_checkpoint_begins_again() {
    let parent = TempDir::new().unwrap();
    let straight = run::train(&clip(), &device(), &options(&parent)).unwrap();
    let killed = parent.path().join("killed");
    copy(&straight.run_dir, &killed);
    fs::remove_dir_all(killed.join("checkpoints")).unwrap();
    let resumed = run::resume(&killed, &device(), &options(&parent)).unwrap();
    assert_eq!((resumed.step, resumed.outcome), (12, Outcome::Finished));
    assert_same(&killed, &straight.run_dir, 12, "killed before the first checkpoint");
}

#[test]
fn when_a_run_saves_does_not_change_what_it_computes() {
    let parent = TempDir::new().unwrap();
    let trained = |minutes: Option<f64>| {
        let mut recipe = clip();
        recipe.recipe.run.save_every_steps = None;
        recipe.recipe.run.save_every_epochs = 100;
        recipe.recipe.run.save_every_minutes = minutes;
        run::train(&recipe, &device(), &options(&parent)).unwrap().run_dir
    };
    let saved = |run: &Path| -> Vec<usize> {
        let checkpoints = RunFolder::open(run).unwrap().checkpoints(1).list().unwrap();
        checkpoints.iter().map(|checkpoint| checkpoint.state.step).collect()
    };
    let seldom = trained(None);
    let with_a_huge_interval = trained(Some(1e9));
    assert_eq!(saved(&with_a_huge_interval), saved(&seldom));
    let at_every_step = trained(Some(1e-9));
    assert_eq!(saved(&at_every_step), (1..=12).collect::<Vec<_>>());
    assert_same(&at_every_step, &seldom, 12, "saved at every step");
}
