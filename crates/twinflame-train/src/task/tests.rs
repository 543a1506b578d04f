//! The step on host batches: micro-batches, patch dropout, statistics, averages, precision.

mod recompute;

use burn::{
    module::{Module, ModuleVisitor, Param, ParamId},
    optim::GradientsParams,
    tensor::{Device, Tensor},
    train::{InferenceStep, TrainStep},
};
use twinflame_data::{ImageTextBatch, Normalization};
use twinflame_model::{ClipConfig, Pass, weights::to_open_clip_tensors};

use super::*;
use crate::{
    metric::spec,
    optim::{OptimConfig, adamw},
    precision::Precision,
};

const BATCH: usize = 6;

fn batch(config: &ClipConfig) -> ImageTextBatch {
    let (size, context_length) = (config.vision_cfg.image_size, config.text_cfg.context_length);
    let last = config.text_cfg.vocab_size as i32 - 1;
    let byte = |i: usize| (i.wrapping_mul(2_654_435_761) >> 7) as u8;
    let mut tokens = Vec::new();
    for pair in 0..BATCH as i32 {
        let mut row = vec![0; context_length];
        row[..4].copy_from_slice(&[last - 1, 5 + pair, 9 + 3 * pair, last]);
        tokens.extend(row);
    }
    ImageTextBatch {
        images: (0..BATCH * size * size * 3).map(byte).collect(),
        image_size: [size, size],
        tokens,
        context_length,
        image_ids: vec![1 << 40, 2, 3, 1 << 40, 5, 6],
        caption_ids: vec![1, 2, 2, 4, 5, 6],
        sample_indices: (0..BATCH).collect(),
        sample_seeds: (100..100 + BATCH as u64).collect(),
        ..ImageTextBatch::default()
    }
}

fn task(preset: &str, config: ClipTaskConfig, patch_dropout: f64) -> (ClipTask, ImageTextBatch) {
    let model = ClipConfig::named(preset).expect("preset");
    let clip = model.init(0, &Device::flex().autodiff());
    let task = ClipTask::new(clip, config, patch_dropout, Normalization::default()).expect("valid");
    (task, batch(&model))
}

fn micro(size: usize) -> ClipTaskConfig {
    ClipTaskConfig {
        micro_batch_size: Some(size),
        targets: TargetKind::ById,
        ..ClipTaskConfig::default()
    }
}

fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.try_to_vec_as().expect("readable")
}

struct Flat<'a> {
    grads: &'a GradientsParams,
    found: Vec<(ParamId, Vec<f32>)>,
}

impl ModuleVisitor for Flat<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(grad) = self.grads.get::<D>(param.id) {
            self.found.push((param.id, floats(grad)));
        }
    }
}

fn flat(task: &ClipTask, grads: &GradientsParams) -> Vec<(ParamId, Vec<f32>)> {
    let mut visitor = Flat {
        grads,
        found: Vec::new(),
    };
    task.model.visit(&mut visitor);
    visitor.found
}

#[test]
fn both_passes_drop_the_same_patches_and_targets_hold_across_micro_batches() {
    let whole = ClipTaskConfig {
        targets: TargetKind::ById,
        ..ClipTaskConfig::default()
    };
    let (whole, batch) = task("tiny-vit", whole, 0.5);
    let (parts, _) = task("tiny-vit", micro(2), 0.5);
    // Two models of the same seed: equal weights, other ids, the same order of the visit.
    let expected = TrainStep::step(&whole, batch.clone());
    let actual = TrainStep::step(&parts, batch);
    let (e, a) = (
        expected.item.values().expect("readable"),
        actual.item.values().expect("readable"),
    );
    assert!((e.loss() - a.loss()).abs() < 1e-5, "{e:?} {a:?}");
    assert_eq!(e.get(&spec::ACCURACY_I2T), a.get(&spec::ACCURACY_I2T));
    assert_eq!(e.get(&spec::ACCURACY_T2I), a.get(&spec::ACCURACY_T2I));
    let (expected, actual) = (flat(&whole, &expected.grads), flat(&parts, &actual.grads));
    assert_eq!(expected.len(), actual.len());
    for ((_, expected), (_, actual)) in expected.iter().zip(&actual) {
        let largest = expected.iter().fold(0.0f32, |max, g| max.max(g.abs()));
        for (e, a) in expected.iter().zip(actual) {
            assert!((e - a).abs() <= 1e-4 * largest + 1e-7, "{a} is not {e}");
        }
    }
}

#[test]
fn dropping_patches_changes_training_and_not_evaluation() {
    let (all, batch) = task("tiny-vit", ClipTaskConfig::default(), 0.0);
    let (some, _) = task("tiny-vit", ClipTaskConfig::default(), 0.5);
    let train = |task: &ClipTask| {
        TrainStep::step(task, batch.clone())
            .item
            .values()
            .expect("readable")
            .loss()
    };
    let valid = |task: &ClipTask| {
        InferenceStep::step(task, batch.clone())
            .values()
            .expect("readable")
            .loss()
    };
    assert!((train(&all) - train(&some)).abs() > 1e-4);
    assert!((valid(&all) - valid(&some)).abs() < 1e-6);
}

#[test]
fn running_statistics_move_once_per_micro_batch() {
    let (parts, batch) = task("tiny-rn", micro(3), 0.0);
    let (reference, _) = task("tiny-rn", ClipTaskConfig::default(), 0.0);
    let _ = TrainStep::step(&parts, batch.clone());
    for range in [0..3, 3..6] {
        let inputs = reference.upload(&batch, range, Pass::Train);
        let _ = reference.model.encode_image(inputs.images, Pass::Train);
    }
    let running = |task: &ClipTask| {
        let tensors = to_open_clip_tensors(&task.model).expect("readable");
        tensors
            .into_iter()
            .filter(|(name, _)| name.contains("running_"))
            .collect::<Vec<_>>()
    };
    let (actual, expected) = (running(&parts), running(&reference));
    assert!(!expected.is_empty());
    for ((name, expected), (_, actual)) in expected.iter().zip(&actual) {
        for (e, a) in expected.iter::<f32>().zip(actual.iter::<f32>()) {
            assert!((e - a).abs() <= 1e-5 * e.abs().max(1e-2), "{name}: {a} is not {e}");
        }
    }
}

#[test]
fn the_average_is_evaluated_beside_the_weights_and_is_not_trained() {
    let config = ClipTaskConfig {
        ema_decay: Some(0.75),
        max_grad_norm: Some(1e-3),
        ..ClipTaskConfig::default()
    };
    let (mut task, batch) = task("tiny-rn", config, 0.0);
    let before = to_open_clip_tensors(&task.model).expect("readable");
    let optim = OptimConfig::default();
    let mut optimizer = adamw(&optim, &task.model);
    let output = TrainStep::step(&task, batch.clone());
    let values = output.item.values().expect("readable");
    assert!(values.get(&spec::GRAD_NORM).expect("clipping is on") > 1e-3);
    assert_eq!(values.get(&spec::EMA_LOSS), None);
    task = task.optimize(&mut optimizer, 1e-2.into(), output.grads);
    let after = to_open_clip_tensors(&task.model).expect("readable");
    let average = to_open_clip_tensors(task.ema.as_ref().expect("average")).expect("readable");
    for (((name, before), (_, after)), (_, average)) in before.iter().zip(&after).zip(&average) {
        for ((b, a), m) in before.iter::<f32>().zip(after.iter::<f32>()).zip(average.iter::<f32>()) {
            let expected = 0.75 * b + 0.25 * a;
            assert!(
                (m - expected).abs() <= 1e-5 * expected.abs().max(1e-1),
                "{name}: {m} is not {expected}"
            );
        }
    }
    let valid = InferenceStep::step(&task, batch).values().expect("readable");
    let average = valid.get(&spec::EMA_LOSS).expect("average");
    assert!((average - valid.loss()).abs() > 1e-6, "{valid:?}");
    assert_eq!(valid.get(&spec::GRAD_NORM), None);
}

#[test]
fn low_precision_follows_f32() {
    let losses = |preset: &str, precision: Precision, micro_batch_size: Option<usize>| {
        let config = ClipTaskConfig {
            precision,
            micro_batch_size,
            ..ClipTaskConfig::default()
        };
        let (mut task, batch) = task(preset, config, 0.0);
        let mut optimizer = adamw(&OptimConfig::default(), &task.model);
        let mut losses = Vec::new();
        for _ in 0..5 {
            let output = TrainStep::step(&task, batch.clone());
            losses.push(output.item.values().expect("readable").loss());
            task = task.optimize(&mut optimizer, 2e-4.into(), output.grads);
        }
        losses
    };
    for preset in ["tiny-vit", "tiny-rn"] {
        for micro_batch_size in [None, Some(3)] {
            let single = losses(preset, Precision::F32, micro_batch_size);
            assert!(single[4] < single[0], "{preset} does not learn: {single:?}");
            for precision in [Precision::Bf16, Precision::F16] {
                let low = losses(preset, precision, micro_batch_size);
                for (s, l) in single.iter().zip(&low) {
                    assert!(
                        (s - l).abs() < 0.05 * single[0],
                        "{preset} {precision:?}: {low:?}, f32 {single:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn siglip_needs_a_bias() {
    let config = ClipTaskConfig {
        loss: LossKind::Siglip,
        ..ClipTaskConfig::default()
    };
    let clip = ClipConfig::named("tiny-vit").expect("preset").init(0, &Device::flex());
    let error = ClipTask::new(clip, config, 0.0, Normalization::default()).expect_err("no bias");
    assert_eq!(error, TaskError::MissingLogitBias);
}
