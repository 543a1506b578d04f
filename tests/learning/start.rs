//! Does a run start from the weights of another?

use std::fs;

use tempfile::TempDir;
use twinflame::train::run::{self, Outcome, RunError};
use twinflame_tests::device;

use crate::runs::{options, recipe, stopped};
use crate::saved::record;

#[test]
fn a_run_starts_from_the_weights_of_another_and_goes_on_without_it() {
    let parent = TempDir::new().unwrap();
    let first = recipe("tiny-albef", &["run.num_steps=2", "seed=1"]);
    let first = run::train(&first, &device(), &options(&parent)).unwrap();
    let init = format!("init.model={}", first.run_dir.display());
    // Without a learning rate weights stay where they start.
    let second = recipe("tiny-albef", &["run.num_steps=2", "optim.lr=0.0", &init]);
    let second = run::train(&second, &device(), &stopped(&parent)).unwrap();
    assert_eq!((second.step, second.outcome), (1, Outcome::Interrupted));
    let [given, started] =
        [(&first.run_dir, 2), (&second.run_dir, 1)].map(|(run, step)| record(run, step, "model.bpk"));
    let mut encoders = 0;
    for (name, values) in given.iter().filter(|(name, _)| name.contains(".model.")) {
        assert!(started[name] == *values, "{name}");
        // The momentum encoders start there as well, but for the rounding of one update.
        if let Some(momentum) = started
            .get(&name.replace(".model.encoders.", ".momentum."))
            .filter(|_| name.contains(".encoders."))
        {
            encoders += 1;
            let floats = |bytes: &[u8]| -> Vec<f32> {
                let words = bytes.as_chunks::<4>().0.iter();
                words.map(|word| f32::from_le_bytes(*word)).collect()
            };
            for (momentum, value) in floats(momentum).into_iter().zip(floats(values)) {
                assert!(
                    (momentum - value).abs() <= 1e-6 * value.abs(),
                    "{name}: {momentum}, not {value}"
                );
            }
        }
    }
    assert!(encoders > 50, "{:?}", started.keys());

    fs::remove_dir_all(&first.run_dir).unwrap();
    let resumed = run::resume(&second.run_dir, &device(), &options(&parent)).unwrap();
    assert_eq!((resumed.step, resumed.outcome), (2, Outcome::Finished));
}

/// Larger pictures, longer texts, and no head for masked words.
#[test]
fn fine_tuning_starts_from_pre_training() {
    let parent = TempDir::new().unwrap();
    let first = recipe("tiny-albef", &["run.num_steps=1"]);
    let first = run::train(&first, &device(), &options(&parent)).unwrap();
    let init = format!("init.model={}", first.run_dir.display());
    let set = [
        &init,
        "model.image_size=48",
        "model.context_length=30",
        "model.mlm_head=false",
        "task.mlm_weight=0.0",
        "task.targets=by-id",
        "task.clamp_temp=false",
        "run.num_steps=1",
        "optim.lr=0.0",
    ];
    let second = run::train(&recipe("tiny-albef", &set), &device(), &options(&parent)).unwrap();
    let [given, started] = [first, second].map(|run| record(&run.run_dir, 1, "model.bpk"));
    assert!(
        given.keys().any(|name| name.contains("mlm_head")) && !started.keys().any(|name| name.contains("mlm_head"))
    );
    let differ: Vec<&String> = started
        .iter()
        .filter(|(name, values)| name.contains(".model.") && given[*name] != **values)
        .map(|(name, _)| name)
        .collect();
    assert_eq!(differ.len(), 1, "{differ:?}");
    assert!(differ[0].contains("image_encoder.pos"), "{differ:?}");
}

#[test]
fn a_model_of_another_kind_is_no_start() {
    let parent = TempDir::new().unwrap();
    let set = ["run.num_steps=1", "loader.batch_size=8", "task.micro_batch_size=8"];
    let clip = run::train(&recipe("tiny", &set), &device(), &options(&parent)).unwrap();
    let init = format!("init.model={}", clip.run_dir.display());
    let error = run::train(&recipe("tiny-albef", &[&init]), &device(), &options(&parent)).unwrap_err();
    assert!(matches!(error, RunError::Init { .. }), "{error}");
    assert!(error.to_string().contains("model of another kind"), "{error}");
    assert!(!parent.path().join("tiny-albef-1").exists());
}
