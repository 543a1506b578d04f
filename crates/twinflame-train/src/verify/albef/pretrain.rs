//! Steps of pre-training.

use burn::{tensor::Device, train::TrainStep};
use twinflame_model::loss::Targets;

use super::{
    super::{Check, Fixture, Rule, Tensors, VerifyError, named_gradients, outputs::Outputs, step::StepSettings},
    Training, collect_queue, config, first_step_alone, inputs, masked, negatives, passes, state, task,
};
use crate::task::{AlbefInputs, AlbefScore, AlbefTask};

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
    let settings = StepSettings::of(fixture)?.ok_or_else(|| fixture.wrong("optimizer", "an object"))?;
    let mut task = task(fixture, KIND, device)?;
    let file_after = |number: usize| match number == alphas.len() {
        true => "after_step".to_owned(),
        false => format!("after_step{number}"),
    };
    let clamped = task.clone().with_clamped_temp();
    let alone = first_step_alone(fixture, &settings, clamped, ["grads_step1", &file_after(1)])?;
    let mut checks: Vec<Check> = alone.into_iter().collect();
    let mut optim = settings.optimizer(&task.model);
    let mut tensors = Tensors::new();
    let mut all_grads = Vec::new();
    for (alpha, number) in std::iter::zip(&alphas, 1..) {
        let prefix = format!("s{number}.");
        let mut outputs = Outputs {
            tensors: &mut tensors,
            prefix: &prefix,
        };
        outputs.scalar("temp_before", &task.model.temp.val())?;
        task = task.with_clamped_temp();
        let inputs = pretraining_inputs(fixture, &prefix, device)?;
        let [pairs, ..] = inputs.pixels.dims();
        task = task.follow(pairs);
        let score = task.score(&inputs, *alpha);
        collect(&task, &inputs, &score, *alpha, &mut outputs)?;

        let grads = task.backward(&score);
        all_grads.push(named_gradients(&task.model, &grads)?);
        let grads = settings.clipped(grads, &task.model);
        task = task
            .optimize(&mut optim, settings.lr().into(), grads)
            .enqueue(score.entries);
        let after = state(&task)?;
        collect_queue(&after, &mut outputs);
        outputs.scalar("temp_after_step", &task.model.temp.val())?;
        let steps = settings.steps(all_grads.clone());
        checks.push(Check::file(file_after(number), after, Rule::Steps(steps)));
    }
    let grads = std::iter::zip(all_grads, 1..);
    checks.extend(grads.map(|(grads, number)| Check::file(format!("grads_step{number}"), grads, Rule::Gradient)));
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
    outputs.scalar("temp_clamped", &task.model.temp.val())?;
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
