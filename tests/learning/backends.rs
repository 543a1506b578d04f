//! Does every backend train the same model?
//!
//! Initial weights, batches and patch dropout are drawn on the host, so that the losses of two backends differ by rounding
//! alone.

use std::sync::Arc;

use burn::data::dataloader::DataLoader;
use burn::train::TrainStep;
use twinflame::data::{ImageTextLoader, LoaderMode, Pipeline, Tokenizer, Transform};
use twinflame::model::ModelConfig;
use twinflame::train::optim::adamw;
use twinflame::train::recipe::ResolvedRecipe;
use twinflame::train::task::{ClipTask, TaskConfig};
use twinflame_tests::device;

/// Largest relative difference of a loss: rounding, which grows with each step.
const TOLERANCE: f64 = 1e-3;

/// Losses of [`losses`] on burn's flex. A change of numerics changes them: it belongs into CHANGELOG.md with both values.
const EXPECTED: [f64; 20] = [
    3.28420, 3.56054, 3.08936, 3.03813, 2.81358, 2.89286, 2.88877, 2.81557, 2.86051, 2.82798, 2.92237, 2.81730,
    2.80183, 2.77813, 2.80326, 2.78296, 2.78597, 2.78529, 2.77354, 2.77358,
];

#[test]
fn the_first_20_losses_agree_on_every_backend() {
    let losses = losses();
    println!("{losses:?}");
    let differences = losses
        .iter()
        .zip(EXPECTED)
        .map(|(loss, expected)| (loss - expected).abs() / expected);
    let worst = differences.fold(0.0, f64::max);
    println!("worst relative difference {worst:.1e}");
    assert!(worst < TOLERANCE, "{losses:?} differ by {worst:.1e}");
}

/// Twenty steps of a tiny Vision Transformer with patch dropout, clipped gradients and several positives to a pair.
fn losses() -> Vec<f64> {
    let set = ["loader.batch_size=16", "loader.batches_per_epoch=20", "optim.lr=2e-4"].map(str::to_owned);
    let ResolvedRecipe { recipe, model, .. } = ResolvedRecipe::load("tiny", &set).unwrap();
    let (TaskConfig::Clip(mut config), ModelConfig::Clip(model)) = (recipe.task, model) else {
        panic!("the recipe trains another kind of model");
    };
    config.micro_batch_size = None;
    config.ema_decay = None;

    let transform = Transform::train(&recipe.transform).unwrap();
    let normalization = transform.normalization();
    let tokenizer = Tokenizer::new(&recipe.tokenizer).unwrap();
    let pipeline = Pipeline::new(Arc::new(transform), Arc::new(tokenizer), model.text_cfg.context_length).unwrap();
    let source = recipe.data.train.open().unwrap();
    let loader = ImageTextLoader::new(source, pipeline, &recipe.loader, LoaderMode::Train, recipe.seed).unwrap();

    let clip = model.init(recipe.seed, &device().autodiff());
    let mut optimizer = adamw(&recipe.optim, &clip);
    let mut task = ClipTask::new(clip, config, model.vision_cfg.patch_dropout, normalization).unwrap();
    let mut losses = Vec::new();
    for batch in loader.iter() {
        let output = task.step(batch.unwrap());
        task = task.optimize(&mut optimizer, recipe.optim.lr.into(), output.grads);
        losses.push(output.item.values().unwrap().loss());
    }
    assert_eq!(losses.len(), EXPECTED.len());
    losses
}
