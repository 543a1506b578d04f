//! Steps of pre-training.

use burn::{tensor::Device, train::TrainStep};
use twinflame_model::loss::Targets;

use super::{
    super::{
        Check, Fixture, Rule, Steps, Tensors, VerifyError, from_named_gradients, named_gradients, outputs::Outputs,
    },
    Training, config, inputs, masked, negatives, optimizer, passes, state, task,
};
use crate::{
    grad_norm::clip_to,
    optim::OptimConfig,
    task::{AlbefInputs, AlbefScore, AlbefTask},
};

/// An input that only a fixture of pre-training has.
pub(in super::super) const FIRST_LABELS: &str = "s1.mlm_labels";

const KIND: Training = Training::Pretraining;

/// Computes every step, one for each of `alphas`, on the inputs `s1.`, `s2.`, ..: outputs, gradients, and all of the
/// model's state afterwards.
///
/// # Errors
/// If the fixture cannot be computed.
pub(in super::super) fn checks(fixture: &Fixture, device: &Device) -> Result<Vec<Check>, VerifyError> {
    let alphas = alphas(fixture)?;
    let config = fixture
        .optimizer()?
        .ok_or_else(|| fixture.wrong("optimizer", "an object"))?;
    let max_norm = fixture.value("optimizer.grad_clip").as_f64();
    let mut task = task(fixture, KIND, device)?;
    let file_after = |number: usize| match number == alphas.len() {
        true => "after_step".to_owned(),
        false => format!("after_step{number}"),
    };
    let alone = first_step_alone(fixture, &config, &task, &file_after(1))?;
    let mut checks: Vec<Check> = alone.into_iter().collect();
    let mut optim = optimizer(&config, &task);
    let mut tensors = Tensors::new();
    let mut steps = Steps {
        lr: config.lr as f32,
        epsilon: config.epsilon.unwrap_or_default() as f32,
        grads: Vec::new(),
    };
    for (index, alpha) in alphas.iter().enumerate() {
        let number = index + 1;
        let prefix = format!("s{number}.");
        let mut outputs = Outputs {
            tensors: &mut tensors,
            prefix: &prefix,
        };
        outputs.scalar("temp_before", &task.model.temp.val())?;
        task = task.with_clamped_temp();
        outputs.scalar("temp_clamped", &task.model.temp.val())?;
        let inputs = pretraining_inputs(fixture, &prefix, device)?;
        let [pairs, ..] = inputs.pixels.dims();
        task = task.follow(pairs);
        let score = task.score(&inputs, *alpha);
        collect(&task, &inputs, &score, *alpha, &mut outputs)?;

        let grads = task.backward(&score);
        let named = named_gradients(&task.model, &grads)?;
        checks.push(Check::file(
            format!("grads_step{number}"),
            named.clone(),
            Rule::Gradient,
        ));
        steps.grads.push(named);
        let (grads, _) = clip_to(grads, &task.model, max_norm);
        task = task
            .optimize(&mut optim, config.lr.into(), grads)
            .enqueue(score.entries);
        let after = state(&task)?;
        for name in ["image_queue", "text_queue", "queue_ptr"] {
            if let Some(data) = after.get(name) {
                outputs.data(&format!("{name}_after"), data.clone());
            }
        }
        outputs.scalar("temp_after_step", &task.model.temp.val())?;
        checks.push(Check::file(file_after(number), after, Rule::Steps(steps.clone())));
    }
    checks.insert(0, Check::file("outputs", tensors, Rule::Output));
    Ok(checks)
}

/// Share of the momentum model in the targets of each step.
fn alphas(fixture: &Fixture) -> Result<Vec<f64>, VerifyError> {
    let expected = "a list of at least one number";
    let alphas = fixture.list("alphas")?.iter().map(|alpha| alpha.as_f64());
    let alphas: Option<Vec<f64>> = alphas.collect();
    let alphas = alphas.filter(|alphas| !alphas.is_empty());
    alphas.ok_or_else(|| fixture.wrong("alphas", expected))
}

/// What the step whose inputs start with `prefix` computes with.
///
/// # Errors
/// If something is missing, or the model cannot take it.
pub fn pretraining_inputs(fixture: &Fixture, prefix: &str, device: &Device) -> Result<AlbefInputs, VerifyError> {
    let given = fixture.inputs(prefix, device)?;
    let mut step = inputs(fixture, KIND, &given)?;
    step.masked = Some(masked(&config(fixture, KIND)?, &given, step.ids.dims())?);
    step.negatives = negatives(fixture, &given, prefix, step.ids.dims()[0])?;
    Ok(step)
}

fn collect(
    task: &AlbefTask,
    inputs: &AlbefInputs,
    score: &AlbefScore,
    alpha: f64,
    outputs: &mut Outputs<'_>,
) -> Result<(), VerifyError> {
    let itc = score.itc.as_ref();
    let losses = [
        ("loss", Some(&score.loss)),
        ("loss_i2t", itc.map(|itc| &itc.image_to_text)),
        ("loss_t2i", itc.map(|itc| &itc.text_to_image)),
        ("loss_ita", itc.map(|itc| &itc.loss)),
        ("loss_itm", score.itm.as_ref().map(|itm| &itm.loss)),
        ("loss_mlm", score.mlm.as_ref().map(|mlm| &mlm.loss)),
    ];
    for (name, loss) in losses {
        if let Some(loss) = loss {
            outputs.scalar(name, loss)?;
        }
    }
    passes::collect(task, inputs, score, &Targets::Diagonal, alpha, outputs)
}

/// The first step of the optimiser with the reference's gradients, if they and its result are there.
fn first_step_alone(
    fixture: &Fixture,
    config: &OptimConfig,
    task: &AlbefTask,
    file: &str,
) -> Result<Option<Check>, VerifyError> {
    let Some(golden) = fixture.tensors_if_any("grads_step1")? else {
        return Ok(None);
    };
    let task = task.clone().with_clamped_temp();
    let max_norm = fixture.value("optimizer.grad_clip").as_f64();
    let (grads, _) = clip_to(from_named_gradients(&task.model, &golden), &task.model, max_norm);
    let mut optim = optimizer(config, &task);
    let task = task.optimize(&mut optim, config.lr.into(), grads);
    let mut after = state(&task)?;
    after.retain(|name, _| golden.contains_key(name));
    Ok(Some(Check::optimizer(file, "grads_step1", after)))
}
