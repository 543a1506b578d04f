//! A step of fine-tuning for retrieval.

use burn::{tensor::Device, train::TrainStep};
use twinflame_model::loss::Targets;

use super::{
    super::{Check, Fixture, Rule, Tensors, VerifyError, named_gradients, outputs::Outputs, step::StepSettings},
    Training, collect_queue, evaluation, first_step_alone, inputs, negatives, passes, state, task,
};
use crate::task::AlbefInputs;

/// An input that only a fixture of retrieval has.
pub(in super::super) const IDS: &str = "idx";

const KIND: Training = Training::Retrieval;

/// Computes evaluation with the weights as they are, then a step: outputs, gradients, and all of the model's state
/// afterwards.
///
/// # Errors
/// If the fixture cannot be computed.
pub(in super::super) fn checks(fixture: &Fixture, device: &Device) -> Result<Vec<Check>, VerifyError> {
    let mut tensors = Tensors::new();
    let fresh = task(fixture, KIND, device)?;
    if fixture.inputs("eval.", device)?.has("image") {
        evaluation::collect(fixture, &fresh, device, &mut tensors)?;
    }
    let inputs = step_inputs(fixture, device)?;
    let [pairs, ..] = inputs.pixels.dims();
    let alpha = fixture.number("alpha")?;
    let task = fresh.clone().follow(pairs);
    let score = task.score(&inputs, alpha);
    let mut outputs = Outputs {
        tensors: &mut tensors,
        prefix: "",
    };
    outputs.scalar("loss", &score.loss)?;
    if let (Some(itc), Some(itm)) = (&score.itc, &score.itm) {
        outputs.scalar("loss_ita", &itc.loss)?;
        outputs.scalar("loss_itm", &itm.loss)?;
    }
    let targets = Targets::ById {
        image_ids: inputs.image_ids.clone(),
        caption_ids: inputs.caption_ids.clone(),
    };
    passes::collect(&task, &inputs, &score, &targets, alpha, &mut outputs)?;
    let grads = task.backward(&score);
    let named = named_gradients(&task.model, &grads)?;
    let task = task.enqueue(score.entries);
    collect_queue(&state(&task)?, &mut outputs);
    let mut checks = vec![
        Check::file("outputs", tensors, Rule::Output),
        Check::file("grads", named.clone(), Rule::Gradient),
    ];
    let Some(settings) = StepSettings::of(fixture)? else {
        return Ok(checks);
    };
    checks.extend(first_step_alone(fixture, &settings, fresh, ["grads", "after_step"])?);
    let grads = settings.clipped(grads, &task.model);
    let mut optim = settings.optimizer(&task.model);
    let after = state(&task.optimize(&mut optim, settings.lr().into(), grads))?;
    let steps = settings.steps(vec![named]);
    checks.push(Check::file("after_step", after, Rule::Steps(steps)));
    Ok(checks)
}

fn step_inputs(fixture: &Fixture, device: &Device) -> Result<AlbefInputs, VerifyError> {
    let given = fixture.inputs("", device)?;
    let mut step = inputs(fixture, KIND, &given)?;
    let [pairs, _] = step.ids.dims();
    let ids = given.integers(IDS, &[pairs], 0..1 << 31)?;
    step.image_ids = given.upload(&ids, [pairs]);
    step.negatives = negatives(fixture, &given, "", pairs)?;
    Ok(step)
}
