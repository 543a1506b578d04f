//! A step of fine-tuning for retrieval.

use burn::{tensor::Device, train::TrainStep};
use twinflame_model::loss::Targets;

use super::{
    super::{
        Check, Fixture, Rule, Steps, Tensors, VerifyError, from_named_gradients, named_gradients, outputs::Outputs,
    },
    Training, evaluation, inputs, negatives, optimizer, passes, state, task,
};
use crate::{
    grad_norm::clip_to,
    task::{AlbefInputs, AlbefTask},
};

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
    let mut checks = vec![Check::file("grads", named.clone(), Rule::Gradient)];

    let task = task.enqueue(score.entries);
    let queue = state(&task)?;
    for name in ["image_queue", "text_queue", "queue_ptr", "idx_queue"] {
        if let Some(data) = queue.get(name) {
            outputs.data(&format!("{name}_after"), data.clone());
        }
    }
    checks.insert(0, Check::file("outputs", tensors, Rule::Output));
    let Some(config) = fixture.optimizer()? else {
        return Ok(checks);
    };
    let max_norm = fixture.value("optimizer.grad_clip").as_f64();
    let step = |task: AlbefTask, grads| {
        let (grads, _) = clip_to(grads, &task.model, max_norm);
        let mut optim = optimizer(&config, &task);
        state(&task.optimize(&mut optim, config.lr.into(), grads))
    };
    if let Some(golden) = fixture.tensors_if_any("grads")? {
        let grads = from_named_gradients(&fresh.model, &golden);
        let mut after = step(fresh, grads)?;
        after.retain(|name, _| golden.contains_key(name));
        checks.push(Check::optimizer("after_step", "grads", after));
    }
    let steps = Steps {
        lr: config.lr as f32,
        epsilon: config.epsilon.unwrap_or_default() as f32,
        grads: vec![named],
    };
    checks.push(Check::file("after_step", step(task, grads)?, Rule::Steps(steps)));
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
