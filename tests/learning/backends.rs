//! Does every backend train the same model?
//!
//! Initial weights, batches, patch dropout, dropout, masked words and negatives are drawn on the host, so that the losses
//! of two backends differ by rounding alone.

use tempfile::TempDir;
use twinflame::train::run;
use twinflame_tests::device;

use crate::runs::{logged, options, recipe};

/// Largest relative difference of a loss: rounding, which grows with each step.
const TOLERANCE: f64 = 1e-3;

/// Losses of a tiny Vision Transformer on burn's flex, with patch dropout, clipped gradients and several positives to a
/// pair. A change of numerics changes them: it belongs into CHANGELOG.md with both values.
const CLIP: [f64; 20] = [
    3.28420, 3.56054, 3.08936, 3.03813, 2.81358, 2.89286, 2.88877, 2.81557, 2.86051, 2.82798, 2.92237, 2.81730,
    2.80183, 2.77813, 2.80326, 2.78296, 2.78597, 2.78529, 2.77354, 2.77358,
];

/// The same of a tiny ALBEF, with dropout: the sum of its three losses.
const ALBEF: [f64; 20] = [
    9.09733, 9.22553, 9.47304, 9.54366, 9.97880, 10.03289, 10.34199, 10.08134, 10.19946, 10.25276, 10.13140, 10.19650,
    10.21548, 10.07306, 9.96275, 9.96997, 10.12341, 10.15627, 9.99943, 9.97432,
];

#[test]
fn the_first_20_losses_agree_on_every_backend() {
    assert_losses("tiny", &["task.micro_batch_size=16"], CLIP);
}

#[test]
fn the_first_20_losses_of_albef_agree_on_every_backend() {
    assert_losses("tiny-albef", &["model.dropout=0.1"], ALBEF);
}

#[test]
fn recomputed_blocks_have_the_same_20_losses() {
    assert_losses("tiny", &["task.micro_batch_size=16", "task.recompute=true"], CLIP);
    assert_losses("tiny-albef", &["model.dropout=0.1", "task.recompute=true"], ALBEF);
}

/// Trains 20 steps at a constant rate.
fn assert_losses(name: &str, set: &[&str], expected: [f64; 20]) {
    let constant = [
        "loader.batch_size=16",
        "loader.batches_per_epoch=20",
        "optim.lr=2e-4",
        "optim.schedule=constant",
        "optim.warmup_fraction=0.0",
        "run.num_steps=20",
    ];
    let mut recipe = recipe(name, &[&constant[..], set].concat());
    recipe.recipe.data.valid = None;
    let parent = TempDir::new().unwrap();
    let done = run::train(&recipe, &device(), &options(&parent)).unwrap();
    let losses: Vec<f64> = logged(&done.run_dir, "train")
        .iter()
        .map(|line| line["loss"].as_f64().unwrap())
        .collect();
    assert_eq!(losses.len(), expected.len());
    let differences = losses
        .iter()
        .zip(expected)
        .map(|(loss, expected)| (loss - expected).abs() / expected);
    let worst = differences.fold(0.0, f64::max);
    println!("{name}, {set:?}: worst relative difference {worst:.1e} of {losses:.5?}");
    assert!(worst < TOLERANCE, "{name}: {losses:?} differ by {worst:.1e}");
}
