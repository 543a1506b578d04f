//! Can it learn a few pairs by heart?

use burn::{module::Module, tensor::Tensor, train::TrainStep};
use serde_json::Value;
use tempfile::TempDir;
use twinflame::{
    data::{ImageTextBatch, Normalization},
    model::{Clip, ClipConfig, Pass},
    train::{
        optim::{OptimConfig, adamw},
        run,
        schedule::ScheduleKind,
        task::{ClipTask, ClipTaskConfig},
    },
};

use crate::runs::{logged, options, recipe};

const NUM_PAIRS: usize = 64;
const GOAL: f64 = 1e-2;
const MAX_STEPS: u64 = 300;

/// Pseudo-random numbers below `limit` (Knuth's linear congruence), equal on every platform.
fn random(state: &mut u64, limit: u64) -> u64 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) % limit
}

/// Random pictures of 4 x 4 coloured squares with random captions of 6 tokens.
fn pairs(config: &ClipConfig) -> ImageTextBatch {
    let (size, context_length) = (config.vision_cfg.image_size, config.text_cfg.context_length);
    let last = config.text_cfg.vocab_size as i32 - 1;
    let mut state = 7;
    let mut batch = ImageTextBatch {
        image_size: [size, size],
        context_length,
        ..ImageTextBatch::default()
    };
    for pair in 0..NUM_PAIRS {
        let colours: Vec<[u8; 3]> = (0..16).map(|_| [0; 3].map(|_| random(&mut state, 256) as u8)).collect();
        for y in 0..size {
            for x in 0..size {
                batch.images.extend(colours[y * 4 / size * 4 + x * 4 / size]);
            }
        }
        let mut tokens = vec![0; context_length];
        tokens[0] = last - 1;
        for token in &mut tokens[1..7] {
            *token = 1 + random(&mut state, last as u64 - 2) as i32;
        }
        tokens[7] = last;
        batch.tokens.extend(tokens);
        batch.image_ids.push(pair as i64);
        batch.caption_ids.push(pair as i64);
        batch.sample_indices.push(pair);
        batch.sample_seeds.push(pair as u64);
    }
    batch
}

/// Trains until the loss is below `GOAL`, at most `MAX_STEPS`; gives the losses.
fn learn(preset: &str, config: ClipTaskConfig) -> (Vec<f64>, ClipTask) {
    let device = twinflame_tests::device().autodiff();
    let model_config = ClipConfig::named(preset).unwrap();
    let model = model_config.init(0, &device);
    let optim = OptimConfig {
        lr: 2e-3,
        weight_decay: 0.0,
        warmup_steps: Some(10),
        schedule: ScheduleKind::Constant,
        ..OptimConfig::default()
    };
    let schedule = optim.schedule(MAX_STEPS, MAX_STEPS).unwrap();
    let mut optimizer = adamw(&optim, &model);
    let mut task = ClipTask::new(model, config, 0.0, Normalization::default()).unwrap();
    let batch = pairs(&model_config);
    let mut losses = Vec::new();
    for step in 0..MAX_STEPS {
        let output = TrainStep::step(&task, batch.clone());
        losses.push(output.item.values().unwrap().loss());
        if losses[losses.len() - 1] < GOAL {
            break;
        }
        task = task.optimize(&mut optimizer, schedule.at(step).into(), output.grads);
    }
    (losses, task)
}

/// Share of queries whose best match is their own pair: images to texts and back.
fn recall_at_1(model: &Clip, batch: &ImageTextBatch, task: &ClipTask) -> (f64, f64) {
    let inputs = task.upload(batch, 0..batch.len(), Pass::Eval);
    let model = model.valid();
    let images = twinflame::model::normalize(model.encode_image(inputs.images, Pass::Eval));
    let texts = twinflame::model::normalize(model.encode_text(inputs.tokens));
    let similarities: Tensor<2> = images.matmul(texts.transpose());
    let hits = |dim: usize| {
        let best: Vec<i32> = similarities.clone().argmax(dim).try_to_vec_as().unwrap();
        let hits = best
            .iter()
            .enumerate()
            .filter(|(query, best)| *query == **best as usize);
        hits.count() as f64 / batch.len() as f64
    };
    (hits(1), hits(0))
}

fn assert_learnt(preset: &str, config: ClipTaskConfig) {
    let (losses, task) = learn(preset, config);
    let last = losses[losses.len() - 1];
    assert!(losses[0] > 3.0, "{preset}: starts at {}", losses[0]);
    assert!(last < GOAL, "{preset}: loss {last} after {} steps", losses.len());
    let batch = pairs(&ClipConfig::named(preset).unwrap());
    assert_eq!(recall_at_1(&task.model, &batch, &task), (1.0, 1.0), "{preset}");
}

#[test]
fn a_vision_transformer_learns_64_pairs_by_heart() {
    assert_learnt("tiny-vit", ClipTaskConfig::default());
}

/// Shows a tiny ALBEF the same 32 scenes in every step, half of them the other half with two objects exchanged, and
/// gives the last validation on them. Negatives are then the hardest.
fn learn_scenes(set: &[&str]) -> Value {
    let of_all = [
        "data.train.split=known",
        "data.train.num_scenes=32",
        "data.train.num_captions=1",
        "data.train.jitter=0.0",
        "loader.batch_size=32",
        "task.mlm_weight=0.0",
        "optim.lr=2e-3",
        "optim.beta_2=0.98",
        "run.num_steps=300",
        "run.valid_every_epochs=300",
    ];
    let mut recipe = recipe("tiny-albef", &[&of_all[..], set].concat());
    recipe.recipe.data.valid = Some(recipe.recipe.data.train.clone());
    let parent = TempDir::new().unwrap();
    let done = run::train(&recipe, &twinflame_tests::device(), &options(&parent)).unwrap();
    let last = logged(&done.run_dir, "valid").pop().unwrap();
    println!("{last}");
    last
}

#[test]
fn an_albef_learns_which_of_32_scenes_matches_a_caption() {
    let last = learn_scenes(&["task.itc_weight=0.0"]);
    // In percent; a model that always says no is right in two of three cases.
    assert!(last["itm_accuracy"].as_f64().unwrap() > 90.0, "{last}");
}

#[test]
fn an_albef_learns_to_find_32_scenes_by_their_captions() {
    // The queue holds each scene several times. A faster teacher learns in seconds what it is to teach.
    let last = learn_scenes(&["task.targets=by-id", "task.momentum=0.9", "task.alpha=0.0"]);
    for recall in ["recall_i2t_1", "recall_t2i_1"] {
        assert!(last[recall].as_f64().unwrap() > 90.0, "{last}");
    }
}
