//! A training step computes what open_clip's computes, beyond what `verify` compares: clamping, decay groups, micro-batches
//! of any size, the average of the weights.

use burn::{
    module::{Module, ModuleMapper, Param, ParamId},
    tensor::Tensor,
    train::TrainStep,
};
use twinflame::{
    model::{
        Clip,
        loss::Targets,
        weights::{named_params, to_open_clip_tensors},
    },
    train::{
        optim::{OptimConfig, Optimized, adamw, no_decay_paths},
        task::{ClipTask, StepGradients},
        verify::{Check, Rule, clip, named_gradients},
    },
};

use crate::fixture::{assert_agrees, fixture, floats, model, scalar};

const FIXTURES: [&str; 4] = [
    "clip_vit_tiny",
    "clip_vit_quickgelu_tiny",
    "clip_rn_tiny",
    "siglip_tiny",
];

/// A task of a fixture and its gradients, which are the fixture's.
fn gradients(name: &str, micro_batch_size: Option<usize>) -> (ClipTask, StepGradients) {
    let (fixture, device) = (fixture(name), twinflame_tests::device());
    let task = clip::task(&fixture, &device, micro_batch_size).unwrap();
    let step = task.gradients(&clip::batch(&fixture, &device).unwrap(), &Targets::Diagonal);
    let (loss, golden) = (scalar(step.score.loss.clone()), fixture.tensors("outputs").unwrap());
    let expected = floats(&golden["loss"])[0];
    assert!(
        (loss - expected).abs() <= 1e-5 * expected,
        "loss {loss}, not {expected}"
    );
    let grads = named_gradients(&task.model, &step.grads).unwrap();
    let golden = fixture.tensors("grads").unwrap();
    assert_agrees(&Check::file("grads", grads, Rule::Gradient), &golden);
    (task, step)
}

#[test]
fn the_scale_is_clamped_after_the_step() {
    let fixture = fixture("clip_vit_quickgelu_tiny");
    let before = fixture.config()["optimizer"]["logit_scale_before_clamp"].as_f64();
    assert!(before.unwrap() > 4.6052, "the fixture does not reach the clamp");
    let (task, step) = gradients("clip_vit_quickgelu_tiny", None);
    let config = fixture.optimizer().unwrap().unwrap();
    let mut optim = adamw(&config, &task.model);
    let task = task.optimize(&mut optim, config.lr.into(), step.grads);
    assert_eq!(scalar(task.model.logit_scale.val()), 100f32.ln());
    assert!(task.model.logit_scale.is_require_grad(), "the clamp froze the scale");
}

/// The fixtures' optimisers are those that the models have by default.
#[test]
fn the_defaults_are_the_fixtures() {
    for name in FIXTURES {
        let config = fixture(name).optimizer().unwrap().unwrap();
        let model = model(name, &twinflame_tests::device());
        let (beta_2, epsilon) = model.moment_defaults();
        assert_eq!((config.beta_2, config.epsilon), (Some(beta_2), Some(epsilon)), "{name}");
        assert_eq!(config.beta_1, OptimConfig::default().beta_1);
    }
}

#[test]
fn decay_groups_are_open_clips() {
    for name in FIXTURES {
        let fixture = fixture(name);
        let model = model(name, &twinflame_tests::device());
        let exempt = no_decay_paths(&OptimConfig::default(), &model);
        let names = |decays: bool| {
            let mut names: Vec<String> = named_params(&model)
                .into_iter()
                .filter(|p| !p.is_buffer && exempt.contains(&p.path) != decays)
                .map(|p| p.name)
                .collect();
            names.sort();
            names
        };
        let golden = |key: &str| {
            let list = fixture.config()["optimizer"][key].as_array().unwrap();
            let mut names: Vec<String> = list.iter().map(|n| n.as_str().unwrap().to_owned()).collect();
            names.sort();
            names
        };
        assert_eq!(names(true), golden("decay"));
        assert_eq!(names(false), golden("no_decay"));
    }
}

#[test]
fn micro_batches_give_the_gradient_of_the_whole_batch() {
    // 8 pairs at once, as 2 x 4, as 3 + 3 + 2, one by one.
    for size in [None, Some(4), Some(3), Some(1)] {
        let (task, step) = gradients("clip_accum", size);
        let scale = scalar(step.grads.get::<1>(task.model.logit_scale.id).unwrap());
        // open_clip's accumulation gives twice that.
        assert!((scale - 0.618_878_7).abs() < 1e-5, "{size:?}: {scale}");
    }
}

#[test]
fn micro_batches_leave_the_bias_of_siglip_exact() {
    gradients("siglip_tiny", Some(2));
}

/// Multiplies a parameter by two, as a stand-in for training.
struct Double;

impl ModuleMapper for Double {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|tensor| (tensor.detach() * 2.0).detach().require_grad())
    }
}

#[test]
fn the_average_follows_the_weights_with_ids_of_its_own() {
    let device = twinflame_tests::device().autodiff();
    let model = model("clip_rn_tiny", &device);
    let start = to_open_clip_tensors(&model).unwrap();
    let mut average = twinflame::train::ema::averaged_copy(&model);
    let ids = |model: &Clip| -> Vec<ParamId> {
        let params = named_params(model).into_iter();
        params.filter(|p| !p.is_buffer).map(|p| p.id).collect()
    };
    let of_model = ids(&model);
    assert!(ids(&average).iter().all(|id| !of_model.contains(id)));
    let doubled = model.clone().map(&mut Double);
    for _ in 0..3 {
        average = twinflame::train::ema::update_average(average, &doubled, 0.9);
    }
    // After n steps towards a constant: w + d^n (w0 - w), here with w = 2 w0.
    let expected = 2.0 - 0.9f32.powi(3);
    for ((name, start), (_, average)) in start.iter().zip(to_open_clip_tensors(&average).unwrap()) {
        for (start, average) in floats(start).iter().zip(floats(&average)) {
            let expected = expected * start;
            assert!(
                (average - expected).abs() <= 1e-5 * start.abs().max(1e-3),
                "{name}: {average}, not {expected}"
            );
        }
    }
    // The average lives beside the model and leaves it alone.
    assert_eq!(start, to_open_clip_tensors(&model).unwrap());
}
