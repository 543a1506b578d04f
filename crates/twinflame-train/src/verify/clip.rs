//! A CLIP or SigLIP: one training step, at once or in micro-batches.

use burn::{
    optim::GradientsParams,
    tensor::{Device, TensorData},
    train::TrainStep,
};
use twinflame_data::Normalization;
use twinflame_model::{
    BlockOutput, Clip, ClipConfig, ImageInput, Pass,
    image::ImageEncoder,
    loss::Targets,
    normalize,
    weights::{load_open_clip, to_open_clip_tensors},
};

use super::{
    Check, Fixture, Rule, Tensors, VerifyError, from_named_gradients, named_gradients, outputs::Outputs,
    step::StepSettings,
};
use crate::task::{ClipTask, ClipTaskConfig, DeviceBatch, LossKind};

/// The configuration under `model_cfg`, which is open_clip's.
///
/// # Errors
/// If it is none.
pub fn config(fixture: &Fixture) -> Result<ClipConfig, VerifyError> {
    ClipConfig::from_json(&fixture.value("model_cfg").to_string()).map_err(|source| fixture.no_model(source))
}

/// The model with the fixture's weights.
///
/// # Errors
/// If there are none, or they are not exactly those of the configured model.
pub fn model(fixture: &Fixture, device: &Device) -> Result<Clip, VerifyError> {
    let mut clip = config(fixture)?.init(0, device);
    let path = fixture.weights_path()?;
    let report = load_open_clip(&mut clip, &path)?;
    match report.resized.is_empty() {
        true => Ok(clip),
        false => Err(VerifyError::Resized {
            path,
            names: report.resized,
        }),
    }
}

/// The images and texts of the fixture.
///
/// # Errors
/// If there are none, or the model cannot take them.
pub fn batch(fixture: &Fixture, device: &Device) -> Result<DeviceBatch, VerifyError> {
    let config = config(fixture)?;
    let inputs = fixture.inputs("", device)?;
    let pixels = inputs.images("image", config.vision_cfg.image_size)?;
    let context = config.text_cfg.context_length;
    let tokens = inputs.ids("text", context..=context, config.text_cfg.vocab_size)?;
    inputs.same_batch("text", tokens.dims()[0], pixels.dims()[0])?;
    Ok(DeviceBatch {
        images: ImageInput::from(pixels),
        tokens,
    })
}

/// Training of the fixture's model, on a device with autodiff.
///
/// # Errors
/// As [`model`]; or if the loss is none that there is.
pub fn task(fixture: &Fixture, device: &Device, micro_batch_size: Option<usize>) -> Result<ClipTask, VerifyError> {
    let loss = match fixture.value("loss").as_str() {
        Some(loss) if loss.starts_with("siglip") => LossKind::Siglip,
        Some(loss) if loss.starts_with("clip") => LossKind::Clip,
        Some(_) => return Err(fixture.wrong("loss", "text that starts with \"clip\" or \"siglip\"")),
        None if config(fixture)?.init_logit_bias.is_some() => LossKind::Siglip,
        None => LossKind::Clip,
    };
    let config = ClipTaskConfig {
        loss,
        micro_batch_size,
        ..ClipTaskConfig::default()
    };
    let model = model(fixture, &device.clone().autodiff())?;
    Ok(ClipTask::new(model, config, 0.0, Normalization::default())?)
}

/// Computes outputs, gradients and, with an optimiser, the weights after its step.
///
/// # Errors
/// If the fixture cannot be computed.
pub(super) fn checks(fixture: &Fixture, device: &Device) -> Result<Vec<Check>, VerifyError> {
    let batch = batch(fixture, device)?;
    let task = task(fixture, device, None)?;
    let mut outputs = Tensors::new();
    let has_statistics = matches!(task.model.image_encoder, ImageEncoder::ResNet(_));
    if has_statistics {
        outputs.extend(forward(&task, &batch, Pass::Eval, "eval.")?);
    }
    // What training computes, without its effect on running statistics.
    outputs.extend(forward(&task, &batch, Pass::Preview, "")?);
    let step = task.gradients(&batch, &Targets::Diagonal);
    collect(&mut outputs, "").scalar("loss", &step.score.loss)?;
    let grads = named_gradients(&task.model, &step.grads)?;
    let counters = counters(fixture)?;
    if has_statistics {
        let state = to_open_clip_tensors(&task.model)?.into_iter().chain(counters.clone());
        for (name, data) in state.filter(|(name, _)| is_statistic(name)) {
            collect(&mut outputs, "bn_after_train_forward.").data(&name, data);
        }
        outputs.extend(forward(&task, &batch, Pass::Eval, "eval_after_bn_update.")?);
    }
    let mut checks = vec![
        Check::file("outputs", outputs, Rule::Output),
        Check::file("grads", grads.clone(), Rule::Gradient),
    ];
    let Some(settings) = StepSettings::of(fixture)? else {
        return Ok(checks);
    };
    checks.extend(optimizer_alone(fixture, device, &settings)?);
    let after = optimized(task, &settings, step.grads)?
        .into_iter()
        .chain(counters)
        .collect();
    let steps = settings.steps(vec![grads]);
    checks.push(Check::file("after_step", after, Rule::Steps(steps)));
    Ok(checks)
}

/// The weights after the optimiser's first step.
fn optimized(task: ClipTask, settings: &StepSettings, grads: GradientsParams) -> Result<Tensors, VerifyError> {
    let grads = settings.clipped(grads, &task.model);
    let mut optim = settings.optimizer(&task.model);
    let task = task.optimize(&mut optim, settings.lr().into(), grads);
    Ok(to_open_clip_tensors(&task.model)?.into_iter().collect())
}

/// Computes the outputs and gradients of a batch in micro-batches of the given size.
///
/// # Errors
/// If the fixture cannot be computed.
pub(super) fn accumulated(fixture: &Fixture, device: &Device) -> Result<Vec<Check>, VerifyError> {
    let batch = batch(fixture, device)?;
    let passes = fixture.size("accum_freq")?;
    let [pairs, _] = batch.tokens.dims();
    let task = task(fixture, device, Some(pairs.div_ceil(passes)))?;
    let mut outputs = forward(&task, &batch, Pass::Preview, "")?;
    let full = task.backward(&task.forward_loss(batch.clone(), &Targets::Diagonal, Pass::Preview));
    let full = named_gradients(&task.model, &full)?;
    let step = task.gradients(&batch, &Targets::Diagonal);
    let grads = named_gradients(&task.model, &step.grads)?;
    let mut outputs_of_step = collect(&mut outputs, "");
    outputs_of_step.scalar("loss", &step.score.loss)?;
    // Each of the reference's passes evaluates the loss of the whole batch, and adds the whole gradient of the numbers
    // that all of them share. Here that gradient comes once, as it should.
    let loss: f32 = step.score.loss.try_to_vec_as::<f32>()?.into_iter().sum();
    outputs_of_step.data(
        "accum_loss_each_micro_batch",
        TensorData::new(vec![loss; passes], [passes]),
    );
    for name in ["logit_scale", "logit_bias"] {
        let number = |grads: &Tensors| grads.get(name).map(|data| data.iter::<f32>().sum::<f32>());
        if let (Some(full), Some(accumulated)) = (number(&full), number(&grads)) {
            outputs_of_step.number(&format!("full_{name}_grad"), full);
            outputs_of_step.number(&format!("accum_{name}_grad"), accumulated * passes as f32);
        }
    }
    Ok(vec![
        Check::file("outputs", outputs, Rule::Output),
        Check::file("grads", grads, Rule::Gradient),
    ])
}

/// A step of the optimiser with the reference's gradients, if they and its result are there: where this is off, the
/// weights are not those that the reference started from, or the optimiser is another.
fn optimizer_alone(fixture: &Fixture, device: &Device, settings: &StepSettings) -> Result<Option<Check>, VerifyError> {
    let Some(golden) = fixture.tensors_if_any("grads")? else {
        return Ok(None);
    };
    let task = task(fixture, device, None)?;
    let grads = from_named_gradients(&task.model, &golden);
    let mut after = optimized(task, settings, grads)?;
    after.retain(|name, _| golden.contains_key(name));
    Ok(Some(Check::optimizer("after_step", "grads", after)))
}

fn collect<'a>(tensors: &'a mut Tensors, prefix: &'a str) -> Outputs<'a> {
    Outputs { tensors, prefix }
}

/// Features, logits, loss and what comes out of every block, under names that start with `prefix`.
///
/// # Errors
/// If the device fails.
pub fn forward(task: &ClipTask, batch: &DeviceBatch, pass: Pass, prefix: &str) -> Result<Tensors, VerifyError> {
    let clip = &task.model;
    let mut tensors = Tensors::new();
    let mut outputs = collect(&mut tensors, prefix);
    let images = clip.encode_image(batch.images.clone(), pass);
    let texts = clip.encode_text(batch.tokens.clone());
    outputs.tensor("image_features_raw", &images)?;
    outputs.tensor("text_features_raw", &texts)?;
    let (images, texts) = (normalize(images), normalize(texts));
    outputs.tensor("image_features", &images)?;
    outputs.tensor("text_features", &texts)?;
    let scale = clip.logit_scale.val().exp();
    outputs.scalar("logit_scale_exp", &scale)?;
    let mut logits = images.matmul(texts.transpose()) * scale.reshape([1, 1]);
    if let Some(bias) = &clip.logit_bias {
        logits = logits + bias.val().reshape([1, 1]);
    }
    outputs.tensor("logits_per_image", &logits)?;
    outputs.tensor("logits_per_text", &logits.transpose())?;
    let score = task.forward_loss(batch.clone(), &Targets::Diagonal, pass);
    outputs.scalar("loss", &score.loss)?;

    let (_, visual) = clip.image_encoder.forward_with_blocks(batch.images.clone(), pass);
    let (_, textual) = clip.text_encoder.forward_with_blocks(batch.tokens.clone());
    for block in &visual {
        outputs.reshaped(
            &format!("hidden.visual.{}", block.name),
            &block.value,
            spatial_shape(block),
        )?;
    }
    for block in &textual {
        outputs.tensor(&format!("hidden.{}", block.name), &block.value)?;
    }
    Ok(tensors)
}

/// The reference's shape of what a block gives: rows and columns of a feature map apart, a pooled one without them.
fn spatial_shape(block: &BlockOutput) -> Vec<usize> {
    let [batch, channels, positions] = block.value.dims();
    let is_map = ["conv1", "avgpool", "layer1", "layer2", "layer3", "layer4"].contains(&block.name.as_str());
    match block.name.as_str() {
        "attnpool" => vec![batch, channels * positions],
        _ if is_map => vec![batch, channels, positions.isqrt(), positions.isqrt()],
        _ => vec![batch, channels, positions],
    }
}

fn is_statistic(name: &str) -> bool {
    let ends = [".running_mean", ".running_var", ".num_batches_tracked"];
    ends.iter().any(|end| name.ends_with(end))
}

/// PyTorch's counters of batch normalisation after one more batch; nothing here depends on them.
fn counters(fixture: &Fixture) -> Result<Tensors, VerifyError> {
    let mut weights = twinflame_model::weights::read_tensors(&fixture.weights_path()?)?;
    weights.retain(|name, _| name.ends_with(".num_batches_tracked"));
    for data in weights.values_mut() {
        let counts: Vec<i64> = data.iter::<i64>().map(|count| count + 1).collect();
        *data = TensorData::new(counts, data.shape().clone());
    }
    Ok(weights)
}
