//! A training step computes what open_clip's computes: loss, every gradient, weights after AdamW, learning rates.

use std::collections::HashMap;

use burn::{
    lr_scheduler::LrScheduler,
    module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId},
    optim::{GradientsParams, ModuleOptimizer},
    tensor::{Tensor, TensorData},
    train::TrainStep,
};
use twinflame::{
    data::Normalization,
    model::{
        Clip, ImageInput, Pass,
        loss::Targets,
        weights::{NamedParam, named_params, to_open_clip_tensors},
    },
    train::{
        optim::{OptimConfig, adamw, no_decay_paths},
        schedule::{AlbefSchedule, Cooldown, Schedule, ScheduleKind},
        task::{ClipTask, ClipTaskConfig, DeviceBatch, LossKind},
    },
};

use crate::{
    compare::{first_step_error, floats, named_grads, scalar},
    fixture::Fixture,
};

const FIXTURES: [&str; 4] = [
    "clip_vit_tiny",
    "clip_vit_quickgelu_tiny",
    "clip_rn_tiny",
    "siglip_tiny",
];

fn task(fixture: &Fixture, weights: &Fixture, micro_batch_size: Option<usize>) -> ClipTask {
    let device = twinflame_tests::device().autodiff();
    let loss = match fixture.config["name"].as_str() {
        Some("siglip_tiny") => LossKind::Siglip,
        _ => LossKind::Clip,
    };
    let config = ClipTaskConfig {
        loss,
        micro_batch_size,
        ..ClipTaskConfig::default()
    };
    ClipTask::new(weights.clip(&device), config, 0.0, Normalization::default()).unwrap()
}

fn inputs(fixture: &Fixture) -> DeviceBatch {
    let (pixels, tokens) = fixture.inputs(&twinflame_tests::device());
    DeviceBatch {
        images: ImageInput::from(pixels),
        tokens,
    }
}

/// Puts the fixture's gradients in place of computed ones.
struct Register<'a> {
    params: HashMap<ParamId, NamedParam>,
    golden: &'a HashMap<String, TensorData>,
    grads: GradientsParams,
}

impl ModuleVisitor for Register<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let named = &self.params[&param.id];
        if let Some(golden) = self.golden.get(&named.name) {
            let values = named.layout.from_reference(golden.iter().collect(), &named.shape);
            let data = TensorData::new(values, named.shape.clone());
            let device = param.val().device().without_autodiff();
            self.grads.register(param.id, Tensor::<D>::from_data(data, &device));
        }
    }
}

/// Elements whose gradient is mathematically zero: a key bias shifts all scores of a query alike, so what is there is
/// rounding noise, which Adam turns into a step of up to the learning rate.
fn is_noise(name: &str, index: usize, len: usize) -> bool {
    name.ends_with("k_proj.bias") || (name.ends_with("in_proj_bias") && (len / 3..2 * len / 3).contains(&index))
}

/// Largest difference, noise left out.
fn worst(name: &str, actual: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(actual.len(), expected.len(), "{name}");
    let differences = actual.iter().zip(expected).enumerate();
    differences
        .filter(|(index, _)| !is_noise(name, *index, expected.len()))
        .fold(0.0, |worst, (_, (a, b))| worst.max((a - b).abs()))
}

fn assert_loss(actual: Tensor<1>, outputs: &HashMap<String, TensorData>) {
    let (actual, expected) = (scalar(actual), floats(&outputs["loss"])[0]);
    assert!(
        (actual - expected).abs() <= 1e-5 * expected,
        "loss {actual}, not {expected}"
    );
}

fn assert_grads(model: &Clip, grads: &GradientsParams, golden: &HashMap<String, TensorData>) {
    let grads = named_grads(model, grads);
    assert_eq!(grads.len(), golden.len());
    for (name, expected) in golden {
        let expected = floats(expected);
        let largest = expected.iter().fold(0.0f32, |max, v| max.max(v.abs()));
        let worst = worst(name, &grads[name], &expected);
        let allowed = 1e-4 * largest + 1e-7;
        assert!(
            worst <= allowed,
            "gradient of {name}: off by {worst}, allowed {allowed}"
        );
    }
}

fn optimizer(fixture: &Fixture, model: &Clip) -> (ModuleOptimizer, f64) {
    let optimizer = &fixture.config["optimizer"];
    let number = |key: &str| optimizer[key].as_f64().unwrap();
    // beta_2 and epsilon are left to the defaults of the family, which are the fixture's.
    let config = OptimConfig {
        lr: number("lr"),
        weight_decay: number("weight_decay"),
        ..OptimConfig::default()
    };
    (adamw(&config, model), config.lr)
}

/// Compares the weights with the fixture's, each within `tolerance` and what `first_step_error` adds if `from_own_gradients`.
fn assert_weights(fixture: &Fixture, model: &Clip, tolerance: f32, from_own_gradients: bool) {
    let golden_grads = fixture.tensors("grads");
    let actual: HashMap<String, TensorData> = to_open_clip_tensors(model).unwrap().into_iter().collect();
    let (mut checked, mut elements, mut open) = (0, 0, 0);
    for (name, expected) in fixture.tensors("after_step") {
        if name.ends_with("num_batches_tracked") {
            continue;
        }
        checked += 1;
        let (actual, expected) = (floats(&actual[&name]), floats(&expected));
        assert_eq!(actual.len(), expected.len(), "{name}");
        // Running statistics have no gradient.
        let grads = golden_grads.get(&name).map_or(vec![0.0; expected.len()], floats);
        let largest = grads.iter().fold(0.0f32, |max, g| max.max(g.abs()));
        for (index, (actual, expected)) in actual.iter().zip(&expected).enumerate() {
            if is_noise(&name, index, grads.len()) {
                continue;
            }
            let error = if from_own_gradients {
                first_step_error(&fixture.config["optimizer"], grads[index], largest)
            } else {
                0.0
            };
            let off = (actual - expected).abs();
            assert!(
                off <= tolerance + error,
                "{name}[{index}] after the step: {actual}, not {expected}"
            );
            elements += 1;
            open += usize::from(error > 1e-4);
        }
    }
    assert_eq!(checked, actual.len());
    assert!(
        open * 200 < elements,
        "the step of {open} of {elements} weights is hardly checked"
    );
}

#[test]
fn losses_gradients_and_updated_weights_are_open_clips() {
    for name in FIXTURES {
        let fixture = Fixture::new(name);
        let task = task(&fixture, &fixture, None);
        let step = task.gradients(&inputs(&fixture), &Targets::Diagonal);
        assert_loss(step.score.loss, &fixture.tensors("outputs"));
        assert_grads(&task.model, &step.grads, &fixture.tensors("grads"));

        let (mut optim, lr) = optimizer(&fixture, &task.model);
        let task = task.optimize(&mut optim, lr.into(), step.grads);
        assert_weights(&fixture, &task.model, 2e-5, true);
        assert!(
            task.model.logit_scale.is_require_grad(),
            "{name}: the clamp froze the scale"
        );
    }
}

#[test]
fn the_optimiser_alone_is_torchs() {
    for name in FIXTURES {
        let fixture = Fixture::new(name);
        let task = task(&fixture, &fixture, None);
        // For the running statistics, which are part of what is compared.
        let _ = task.model.encode_image(inputs(&fixture).images, Pass::Train);
        let golden = fixture.tensors("grads");
        let params = named_params(&task.model).into_iter().map(|p| (p.id, p)).collect();
        let mut register = Register {
            params,
            golden: &golden,
            grads: GradientsParams::new(),
        };
        task.model.visit(&mut register);
        let (mut optim, lr) = optimizer(&fixture, &task.model);
        let task = task.optimize(&mut optim, lr.into(), register.grads);
        let tolerance = if name == "clip_rn_tiny" { 2e-6 } else { 1e-6 };
        assert_weights(&fixture, &task.model, tolerance, false);
    }
}

#[test]
fn the_scale_is_clamped_after_the_step() {
    let fixture = Fixture::new("clip_vit_quickgelu_tiny");
    let before = fixture.config["optimizer"]["logit_scale_before_clamp"]
        .as_f64()
        .unwrap();
    assert!(before > 4.6052, "the fixture does not reach the clamp");
    let task = task(&fixture, &fixture, None);
    let step = task.gradients(&inputs(&fixture), &Targets::Diagonal);
    let (mut optim, lr) = optimizer(&fixture, &task.model);
    let task = task.optimize(&mut optim, lr.into(), step.grads);
    assert_eq!(scalar(task.model.logit_scale.val()), 100f32.ln());
}

#[test]
fn decay_groups_are_open_clips() {
    for name in FIXTURES {
        let fixture = Fixture::new(name);
        let model = fixture.clip(&twinflame_tests::device());
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
            let list = fixture.config["optimizer"][key].as_array().unwrap();
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
    let fixture = Fixture::new("clip_accum");
    let weights = Fixture::new("clip_vit_tiny");
    let golden = fixture.tensors("grads");
    // 8 pairs at once, as 2 x 4, as 3 + 3 + 2, one by one.
    for size in [None, Some(4), Some(3), Some(1)] {
        let task = task(&fixture, &weights, size);
        let step = task.gradients(&inputs(&fixture), &Targets::Diagonal);
        assert_loss(step.score.loss, &fixture.tensors("outputs"));
        assert_grads(&task.model, &step.grads, &golden);
        let scale = step.grads.get::<1>(task.model.logit_scale.id).unwrap();
        let scale = scalar(scale);
        // open_clip's accumulation gives twice that.
        assert!((scale - 0.618_878_7).abs() < 1e-5, "{size:?}: {scale}");
    }
}

#[test]
fn micro_batches_leave_the_bias_of_siglip_exact() {
    let fixture = Fixture::new("siglip_tiny");
    let task = task(&fixture, &fixture, Some(2));
    let step = task.gradients(&inputs(&fixture), &Targets::Diagonal);
    assert_loss(step.score.loss, &fixture.tensors("outputs"));
    assert_grads(&task.model, &step.grads, &fixture.tensors("grads"));
}

#[test]
fn learning_rates_are_open_clips() {
    let path = Fixture::new("lr_schedules");
    let cases = path.config["open_clip"].as_array().unwrap();
    assert!(!cases.is_empty());
    for case in cases {
        let kind = match case["kind"].as_str().unwrap() {
            "cosine_lr" => ScheduleKind::Cosine,
            "const_lr" => ScheduleKind::Constant,
            "const_lr_cooldown" => ScheduleKind::ConstantCooldown,
            other => panic!("unknown schedule {other}"),
        };
        let number = |key: &str| case[key].as_u64().unwrap();
        let base = case["base_lr"].as_f64().unwrap();
        let cooldown = (kind == ScheduleKind::ConstantCooldown).then(|| Cooldown {
            steps: number("cooldown_steps"),
            power: case["power"].as_f64().unwrap(),
            end_lr: case["end_lr"].as_f64().unwrap(),
        });
        let mut schedule = Schedule::new(base, number("warmup"), number("steps"), kind).with_cooldown(cooldown);
        for (step, expected) in case["lr"].as_array().unwrap().iter().enumerate() {
            let (lr, expected) = (schedule.step(), expected.as_f64().unwrap());
            assert!(
                (lr - expected).abs() <= 1e-12 * expected,
                "step {step}: {lr}, not {expected}"
            );
        }
    }
}

#[test]
fn learning_rates_are_albefs() {
    let fixture = Fixture::new("lr_schedules");
    let cases = fixture.config["albef"].as_array().unwrap();
    assert!(!cases.is_empty());
    for case in cases {
        let settings = &case["schedule"];
        let real = |key: &str| settings[key].as_f64().unwrap();
        let whole = |value: &serde_json::Value| value.as_u64().unwrap();
        let per_epoch = whole(&case["iterations_per_epoch"]);
        let albef = AlbefSchedule {
            warmup_lr: real("warmup_lr"),
            warmup_units: whole(&settings["warmup_epochs"]),
            unit_steps: whole(&case["step_size"]),
        };
        let total = whole(&settings["epochs"]) * per_epoch;
        let mut schedule = Schedule::new(real("lr"), 0, total, ScheduleKind::Albef)
            .with_min_lr(real("min_lr"))
            .with_albef(albef, per_epoch);
        // Epoch, iteration, and the rate from there on.
        let changes: Vec<(u64, u64, f64)> = serde_json::from_value(case["lr_changes_epoch_iter_lr"].clone()).unwrap();
        let mut changes = changes.into_iter().peekable();
        let mut expected = f64::NAN;
        for step in 0..total {
            if let Some((.., lr)) = changes.next_if(|(epoch, iteration, _)| epoch * per_epoch + iteration == step) {
                expected = lr;
            }
            let lr = schedule.step();
            assert!(
                (lr - expected).abs() <= 1e-12 * expected,
                "{}, step {step}: {lr}, not {expected}",
                case["config"]
            );
        }
        assert_eq!(changes.next(), None);
    }
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
    let fixture = Fixture::new("clip_rn_tiny");
    let device = twinflame_tests::device().autodiff();
    let model = fixture.clip(&device);
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
