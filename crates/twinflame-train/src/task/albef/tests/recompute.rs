//! Recomputed layers train the same ALBEF, to the last bit.

use burn::{
    module::{Module, ModuleVisitor, Param},
    optim::GradientsParams,
    tensor::Tensor,
    train::TrainStep,
};

use super::super::*;
use super::setup::{Setup, batch, floats};
use crate::{
    optim::{OptimConfig, adamw},
    precision::Precision,
    task::StepValues,
};

struct Gradients<'a> {
    grads: &'a GradientsParams,
    found: Vec<Vec<f32>>,
}

impl ModuleVisitor for Gradients<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(grad) = self.grads.get::<D>(param.id) {
            self.found.push(grad.try_to_vec_as().expect("readable"));
        }
    }
}

/// What three steps report, their gradients, and student, teacher and queue after them.
struct Steps {
    values: Vec<StepValues>,
    gradients: Vec<Vec<Vec<f32>>>,
    state: [Vec<f32>; 3],
}

fn steps(setup: &Setup, change: fn(AlbefTask) -> AlbefTask) -> Steps {
    let mut task = change(setup.task());
    let mut optimizer = adamw(&OptimConfig::default(), &task.model);
    let (mut values, mut gradients) = (Vec::new(), Vec::new());
    for number in 0..3 {
        let output = TrainStep::step(&task, batch(number));
        values.push(output.item.values().expect("readable"));
        let mut of_step = Gradients {
            grads: &output.grads,
            found: Vec::new(),
        };
        task.model.visit(&mut of_step);
        gradients.push(of_step.found);
        task = task.optimize(&mut optimizer, 1e-3.into(), output.grads);
    }
    let state = [floats(&task.model), floats(&task.momentum), floats(&task.queue)];
    Steps {
        values,
        gradients,
        state,
    }
}

/// Asserts that it makes no difference, and gives how many parameters have a gradient.
fn assert_same(name: &str, dropout: f64, config: AlbefTaskConfig, change: fn(AlbefTask) -> AlbefTask) -> usize {
    let [kept, again] = [false, true].map(|recompute| {
        let setup = Setup {
            config: AlbefTaskConfig {
                recompute,
                ..config.clone()
            },
            dropout,
            ..Setup::default()
        };
        steps(&setup, change)
    });
    assert!(kept.values == again.values, "{name}: other losses when recomputed");
    assert!(
        kept.gradients == again.gradients,
        "{name}: other gradients when recomputed"
    );
    assert!(kept.state == again.state, "{name}: other weights when recomputed");
    kept.gradients[0].len()
}

fn as_it_is(task: AlbefTask) -> AlbefTask {
    task
}

#[test]
fn recomputed_layers_train_the_same_albef() {
    let config = AlbefTaskConfig::default;
    let all = assert_same("without dropout", 0.0, config(), as_it_is);
    assert_eq!(assert_same("with dropout", 0.3, config(), as_it_is), all);
    for precision in [Precision::Bf16, Precision::F16] {
        let config = AlbefTaskConfig { precision, ..config() };
        assert_eq!(assert_same(&format!("{precision:?}"), 0.3, config, as_it_is), all);
    }
    let fine_tuning = AlbefTaskConfig {
        mlm_weight: 0.0,
        max_grad_norm: Some(0.5),
        ..config()
    };
    assert!(assert_same("fine-tuning", 0.3, fine_tuning, as_it_is) < all);
}

#[test]
fn recomputed_layers_leave_a_frozen_encoder_alone() {
    fn without_images(mut task: AlbefTask) -> AlbefTask {
        task.model.encoders.image_encoder = task.model.encoders.image_encoder.no_grad();
        task
    }
    let all = assert_same("all", 0.3, AlbefTaskConfig::default(), as_it_is);
    let some = assert_same("frozen image encoder", 0.3, AlbefTaskConfig::default(), without_images);
    assert!(some < all, "{some} of {all} gradients");
}
