//! Recomputed blocks train the same model, to the last bit.

use super::*;

/// Loss, gradients and weights of three steps.
#[derive(PartialEq)]
struct Steps {
    losses: Vec<f64>,
    gradients: Vec<Vec<Vec<f32>>>,
    weights: Vec<f32>,
}

struct Weights(Vec<f32>);

impl ModuleVisitor for Weights {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.extend(floats(param.val()));
    }
}

/// Trains a preset of which `change` may freeze parts.
fn steps(preset: &str, config: ClipTaskConfig, change: fn(ClipTask) -> ClipTask) -> Steps {
    let (task, batch) = task(preset, config, 0.5);
    let mut task = change(task);
    let mut optimizer = adamw(&OptimConfig::default(), &task.model);
    let (mut losses, mut gradients) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let output = TrainStep::step(&task, batch.clone());
        losses.push(output.item.values().expect("readable").loss());
        let of_step = flat(&task, &output.grads).into_iter().map(|(_, grad)| grad);
        gradients.push(of_step.collect());
        task = task.optimize(&mut optimizer, 1e-3.into(), output.grads);
    }
    let mut weights = Weights(Vec::new());
    task.model.visit(&mut weights);
    Steps {
        losses,
        gradients,
        weights: weights.0,
    }
}

/// Asserts that it makes no difference, and gives how many parameters have a gradient.
fn assert_same(name: &str, preset: &str, config: ClipTaskConfig, change: fn(ClipTask) -> ClipTask) -> usize {
    let again = ClipTaskConfig {
        recompute: true,
        ..config.clone()
    };
    let [kept, again] = [config, again].map(|config| steps(preset, config, change));
    assert_ne!(kept.losses[0], kept.losses[2], "{name}: nothing is learned");
    assert!(kept == again, "{name}: other numbers when recomputed");
    kept.gradients[0].len()
}

fn as_it_is(task: ClipTask) -> ClipTask {
    task
}

#[test]
fn recomputed_blocks_train_the_same_clip() {
    let config = ClipTaskConfig {
        max_grad_norm: Some(0.5),
        ..ClipTaskConfig::default()
    };
    let all = assert_same("whole batch", "tiny-vit", config, as_it_is);
    assert_eq!(assert_same("micro-batches", "tiny-vit", micro(4), as_it_is), all);
    for precision in [Precision::Bf16, Precision::F16] {
        for micro_batch_size in [None, Some(4)] {
            let config = ClipTaskConfig {
                precision,
                micro_batch_size,
                ..ClipTaskConfig::default()
            };
            let name = format!("{precision:?}, {micro_batch_size:?}");
            assert_eq!(assert_same(&name, "tiny-vit", config, as_it_is), all);
        }
    }
    assert_same("ResNet", "tiny-rn", ClipTaskConfig::default(), as_it_is);
    assert_same("ResNet in micro-batches", "tiny-rn", micro(4), as_it_is);
}

#[test]
fn recomputed_blocks_leave_a_frozen_tower_alone() {
    fn without_images(mut task: ClipTask) -> ClipTask {
        task.model.image_encoder = task.model.image_encoder.no_grad();
        task
    }
    fn without_embeddings(mut task: ClipTask) -> ClipTask {
        if let twinflame_model::ImageEncoder::Vit(vit) = &mut task.model.image_encoder {
            vit.conv1 = vit.conv1.clone().no_grad();
            vit.class_embedding = vit.class_embedding.clone().set_require_grad(false);
            vit.positional_embedding = vit.positional_embedding.clone().set_require_grad(false);
            vit.ln_pre = vit.ln_pre.clone().map(Module::no_grad);
        }
        task
    }
    let whole = || ClipTaskConfig::default();
    let all = assert_same("all", "tiny-vit", whole(), as_it_is);
    let texts = assert_same("frozen tower", "tiny-vit", whole(), without_images);
    assert!(texts < all && assert_same("in micro-batches", "tiny-vit", micro(4), without_images) == texts);
    // The first block's input then has no gradient, its parameters have.
    assert_eq!(
        assert_same("frozen patches", "tiny-vit", whole(), without_embeddings),
        all - 5
    );
}
