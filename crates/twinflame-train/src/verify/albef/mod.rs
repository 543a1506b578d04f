//! ALBEF: steps of pre-training or of fine-tuning for retrieval, and evaluation in two stages.

mod evaluation;
mod passes;
mod pretrain;
mod retrieval;

use burn::{
    tensor::{Device, Int, Tensor},
    train::TrainStep,
};
use serde_json::{Value, json};
use twinflame_data::Normalization;
use twinflame_model::{
    AlbefConfig,
    albef::MlmMasking,
    loss::albef::GumbelNoise,
    weights::{AlbefCheckpoint, load_albef},
};

use super::{Check, Fixture, Inputs, Tensors, VerifyError, from_named_gradients, outputs::Outputs, step::StepSettings};
use crate::task::{AlbefInputs, AlbefTask, AlbefTaskConfig, AlbefTexts, MaskedBatch, NegativeChoice, TargetKind};

pub use pretrain::pretraining_inputs;
pub(super) use pretrain::{FIRST_LABELS, checks as pretraining};
pub(super) use retrieval::{IDS, checks as retrieval};

/// What a fixture does with a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Training {
    /// Contrast, matching and masked language.
    Pretraining,
    /// Contrast by image ids, and matching.
    Retrieval,
}

impl Training {
    /// Settings of the step. The temperature is clamped where the reference does it, which is not where a run does.
    fn task_config(self, momentum: f64) -> AlbefTaskConfig {
        let config = AlbefTaskConfig {
            momentum,
            clamp_temp: false,
            ..AlbefTaskConfig::default()
        };
        match self {
            Self::Pretraining => config,
            Self::Retrieval => AlbefTaskConfig {
                mlm_weight: 0.0,
                targets: TargetKind::ById,
                ..config
            },
        }
    }
}

/// The configuration under `albef_cfg`, `bert_config` and `vit`, which are the reference's.
///
/// # Errors
/// If a key is missing, or they describe no model.
pub fn config(fixture: &Fixture, training: Training) -> Result<AlbefConfig, VerifyError> {
    let ratio = fixture.number("bert_config.intermediate_size")? / fixture.number("bert_config.hidden_size")?;
    let (layers, text_layers) = (
        fixture.size("bert_config.num_hidden_layers")?,
        fixture.size("bert_config.fusion_layer")?,
    );
    let head_width = fixture.size("vit.embed_dim")? / fixture.size("vit.num_heads")?;
    let positions = fixture.value("bert_config.max_position_embeddings");
    let json = json!({
        "embed_dim": fixture.value("albef_cfg.embed_dim"),
        "queue_size": fixture.value("albef_cfg.queue_size"),
        "init_temp": fixture.value("albef_cfg.temp"),
        "vision_cfg": {
            "image_size": fixture.value("vit.img_size"),
            "patch_size": fixture.value("vit.patch_size"),
            "width": fixture.value("vit.embed_dim"),
            "layers": fixture.value("vit.depth"),
            "head_width": head_width,
            "mlp_ratio": fixture.value("vit.mlp_ratio"),
        },
        "text_cfg": {
            "context_length": positions,
            "max_positions": positions,
            "vocab_size": fixture.value("bert_config.vocab_size"),
            "width": fixture.value("bert_config.hidden_size"),
            "heads": fixture.value("bert_config.num_attention_heads"),
            "text_layers": text_layers,
            "fusion_layers": layers.saturating_sub(text_layers),
            "mlp_ratio": ratio,
            "dropout": fixture.value("bert_config.hidden_dropout_prob"),
            "mlm_head": training == Training::Pretraining,
        },
    });
    AlbefConfig::from_json(&json.to_string()).map_err(|source| fixture.no_model(source))
}

/// A task with the fixture's weights, momentum copy and queue, on a device with autodiff.
///
/// # Errors
/// If there are none, or they are not exactly those of the configured model.
pub fn task(fixture: &Fixture, training: Training, device: &Device) -> Result<AlbefTask, VerifyError> {
    let config = config(fixture, training)?;
    let mut model = config.init(0, &device.clone().autodiff());
    let mut momentum = config.init(1, &device.clone().without_autodiff()).encoders;
    let mut queue = config.init_queue(0, device);
    let path = fixture.weights_path()?;
    let report = load_albef(&mut model, Some(&mut momentum), Some(&mut queue), &path)?;
    if !report.resized.is_empty() {
        let names = report.resized;
        return Err(VerifyError::Resized { path, names });
    }
    let settings = training.task_config(match fixture.value("albef_cfg.momentum") {
        Value::Null => AlbefTaskConfig::default().momentum,
        _ => fixture.number("albef_cfg.momentum")?,
    });
    // A fixture hides its tokens beforehand, says where its padding is, and drops nothing.
    let text = &config.text_cfg;
    let texts = AlbefTexts {
        pad_id: 0,
        masking: MlmMasking::new(settings.mlm_probability, text.context_length, text.vocab_size, 0, []),
        dropout: None,
    };
    let mut task = AlbefTask::new(model, queue, settings, texts, Normalization::default(), 1)?;
    task.momentum = momentum;
    Ok(task)
}

/// Images and texts of a step as a task takes them, all of different captions, without hidden tokens.
///
/// # Errors
/// If there are none, or the model cannot take them.
pub(super) fn inputs(fixture: &Fixture, training: Training, inputs: &Inputs) -> Result<AlbefInputs, VerifyError> {
    let config = config(fixture, training)?;
    let text = &config.text_cfg;
    let pixels = inputs.images("image", config.vision_cfg.image_size)?;
    let [pairs, ..] = pixels.dims();
    let ids = inputs.ids("input_ids", 1..=text.context_length, text.vocab_size)?;
    let [texts, tokens] = ids.dims();
    inputs.same_batch("input_ids", texts, pairs)?;
    let kept = inputs.integers("attention_mask", &[texts, tokens], 0..2)?;
    let arange = || Tensor::<1, Int>::arange(0..pairs as i64, inputs.device());
    Ok(AlbefInputs {
        pixels,
        ids,
        mask_pad: inputs.upload(&kept, [texts, tokens]).equal_elem(0),
        image_ids: arange(),
        caption_ids: arange(),
        masked: None,
        negatives: NegativeChoice::Hardest,
        dropout: None,
    })
}

/// The negatives that the fixture names, in its inputs or else its outputs; where it names none, the most similar ones.
///
/// A fixture's draw cannot be repeated, so its outcome is given to the task as noise that decides. A pair that must not
/// be chosen stays out all the same, which the comparison then shows.
fn negatives(fixture: &Fixture, inputs: &Inputs, prefix: &str, pairs: usize) -> Result<NegativeChoice, VerifyError> {
    const NAMES: [&str; 2] = ["neg_idx_image", "neg_idx_text"];
    let range = 0..pairs as i64;
    let given = match NAMES.iter().all(|name| inputs.has(name)) {
        true => Some(NAMES.map(|name| inputs.integers(name, &[pairs], range.clone()))),
        false => fixture.tensors_if_any("outputs")?.and_then(|outputs| {
            let rows = |name: &str| {
                let rows: Vec<i64> = outputs.get(&format!("{prefix}{name}"))?.iter().collect();
                let fits = rows.len() == pairs && rows.iter().all(|row| range.contains(row));
                fits.then_some(rows)
            };
            Some([Ok(rows(NAMES[0])?), Ok(rows(NAMES[1])?)])
        }),
    };
    let Some([images, texts]) = given else {
        return Ok(NegativeChoice::Hardest);
    };
    let noise = |rows: Vec<i64>| inputs.upload::<1>(&rows, [pairs]).one_hot::<2>(pairs).float() * DECISIVE;
    Ok(NegativeChoice::Sampled {
        noise: GumbelNoise {
            image_to_text: noise(texts?),
            text_to_image: noise(images?),
        },
        // One drawn pair is as hard as another: the noise decides.
        hardness: inputs.upload::<1>(&vec![1; pairs], [pairs]).float().reshape([pairs, 1]),
    })
}

/// Noise beyond every similarity, which at the lowest temperature is 1000.
const DECISIVE: f32 = 1e6;

/// Weights, momentum copy and queue under the reference's names.
///
/// # Errors
/// If the device fails.
pub fn state(task: &AlbefTask) -> Result<Tensors, VerifyError> {
    let checkpoint = AlbefCheckpoint {
        model: &task.model,
        momentum: Some(&task.momentum),
        queue: Some(&task.queue),
    };
    Ok(checkpoint.tensors()?.into_iter().collect())
}

/// The queue of a state, as outputs after a step.
fn collect_queue(state: &Tensors, outputs: &mut Outputs<'_>) {
    for name in ["image_queue", "text_queue", "queue_ptr", "idx_queue"] {
        if let Some(data) = state.get(name) {
            outputs.data(&format!("{name}_after"), data.clone());
        }
    }
}

/// The first step of the optimiser with the reference's gradients, if they and its result are there.
fn first_step_alone(
    fixture: &Fixture,
    settings: &StepSettings,
    task: AlbefTask,
    [grads_file, file]: [&str; 2],
) -> Result<Option<Check>, VerifyError> {
    let Some(golden) = fixture.tensors_if_any(grads_file)? else {
        return Ok(None);
    };
    let grads = settings.clipped(from_named_gradients(&task.model, &golden), &task.model);
    let mut optim = settings.optimizer(&task.model);
    let mut after = state(&task.optimize(&mut optim, settings.lr().into(), grads))?;
    after.retain(|name, _| golden.contains_key(name));
    Ok(Some(Check::optimizer(file, grads_file, after)))
}

/// The labelled positions as slots, as many for every text, unused ones at position 0.
fn masked(config: &AlbefConfig, inputs: &Inputs, [texts, tokens]: [usize; 2]) -> Result<MaskedBatch, VerifyError> {
    let vocab_size = config.text_cfg.vocab_size;
    let ids = inputs.ids("mlm_input_ids", tokens..=tokens, vocab_size)?;
    inputs.same_batch("mlm_input_ids", ids.dims()[0], texts)?;
    let labels = inputs.integers("mlm_labels", &[texts, tokens], -100..vocab_size as i64)?;
    let used: Vec<Vec<usize>> = labels
        .chunks(tokens)
        .map(|row| (0..tokens).filter(|&at| row[at] >= 0).collect())
        .collect();
    let slots = used.iter().map(Vec::len).max().unwrap_or_default().max(1);
    let slot = |value: &dyn Fn(usize, usize) -> i64| {
        let places = (0..texts).flat_map(|row| (0..slots).map(move |slot| (row, slot)));
        let values: Vec<i64> = places
            .map(|(row, slot)| used[row].get(slot).map_or(0, |&at| value(row, at)))
            .collect();
        inputs.upload(&values, [texts, slots])
    };
    Ok(MaskedBatch {
        ids,
        positions: slot(&|_, at| at as i64),
        labels: slot(&|row, at| labels[row * tokens + at]),
        weights: slot(&|_, _| 1).float(),
    })
}
