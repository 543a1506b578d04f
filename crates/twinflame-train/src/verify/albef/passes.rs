//! What a step computes on the way to its losses, pass by pass: a loss that is off says too little about where.

use burn::tensor::{Int, Tensor, TensorData, activation::softmax};
use twinflame_model::{
    Albef, AlbefEncoders,
    loss::{
        Targets,
        albef::{Embeds, ItcTargets, Negatives, Similarities, hard_negatives},
    },
    text::Readout,
};

use super::super::{VerifyError, outputs::Outputs};
use crate::task::{AlbefInputs, AlbefScore, AlbefTask, MaskedBatch, NegativeChoice};

/// A batch as the online or the momentum encoders see it.
pub(super) struct Encoded {
    pub(super) image_states: Tensor<3>,
    pub(super) text_states: Tensor<3>,
    pub(super) embeds: Embeds,
}

pub(super) fn encode(encoders: &AlbefEncoders, inputs: &AlbefInputs) -> Encoded {
    let image_states = encoders.image_states(inputs.pixels.clone());
    let bert = &encoders.text_encoder;
    let text_states = bert.text(inputs.ids.clone(), &inputs.mask_pad, &Readout::All, None);
    Encoded {
        embeds: Embeds {
            images: encoders.image_embeds(image_states.clone()),
            texts: encoders.text_embeds(text_states.clone()),
        },
        image_states,
        text_states,
    }
}

/// Logits of image-text matching: matching pairs, then texts with negative images, then images with negative texts.
fn match_logits(model: &Albef, encoded: &Encoded, inputs: &AlbefInputs, negatives: &Negatives) -> Tensor<2> {
    let [batch, ..] = encoded.text_states.dims();
    let own = Tensor::<1, Int>::arange(0..batch as i64, (&negatives.images.device(), negatives.images.dtype()));
    let image_rows = Tensor::cat(vec![own.clone(), negatives.images.clone(), own.clone()], 0);
    let text_rows = Tensor::cat(vec![own.clone(), own, negatives.texts.clone()], 0);
    let bert = &model.encoders.text_encoder;
    let memory = bert.image_memory(encoded.image_states.clone());
    let fused = bert.fusion(
        encoded.text_states.clone().select(0, text_rows.clone()),
        &inputs.mask_pad.clone().select(0, text_rows),
        &memory.select(&image_rows),
        &Readout::Class,
        None,
    );
    model.match_logits(fused)
}

/// Scores of all tokens of texts with hidden ones, `[batch, tokens, vocab_size]`; training asks for the hidden ones
/// alone.
pub(super) fn token_logits(
    encoders: &AlbefEncoders,
    encoded: &Encoded,
    inputs: &AlbefInputs,
    masked: &MaskedBatch,
) -> Tensor<3> {
    let bert = &encoders.text_encoder;
    let memory = bert.image_memory(encoded.image_states.clone());
    let states = bert.full(masked.ids.clone(), &inputs.mask_pad, &memory, &Readout::All, None);
    bert.predict_tokens(states)
}

/// Everything on the way to the losses of a step: encoder outputs, similarities and targets, negatives and what is made
/// of them, hidden tokens if there are any.
///
/// # Errors
/// If the device fails.
pub(super) fn collect(
    task: &AlbefTask,
    inputs: &AlbefInputs,
    score: &AlbefScore,
    targets: &Targets,
    alpha: f64,
    outputs: &mut Outputs<'_>,
) -> Result<(), VerifyError> {
    let online = encode(&task.model.encoders, inputs);
    outputs.tensor("image_embeds", &online.image_states)?;
    outputs.tensor("text_embeds", &online.text_states)?;
    outputs.tensor("image_feat", &online.embeds.images)?;
    outputs.tensor("text_feat", &online.embeds.texts)?;
    contrast(task, score, targets, alpha, outputs)?;
    let negatives = choose(inputs, &score.similarities.within_batch(), outputs)?;
    outputs.tensor("vl_output", &match_logits(&task.model, &online, inputs, &negatives))?;
    let [batch, ..] = online.text_states.dims();
    let labels: Vec<i64> = (0..3 * batch).map(|row| i64::from(row < batch)).collect();
    outputs.data("itm_labels", TensorData::new(labels, [3 * batch]));
    if let Some(masked) = &inputs.masked {
        let momentum = encode(&task.momentum, inputs);
        outputs.tensor("image_embeds_m", &momentum.image_states)?;
        let logits = token_logits(&task.model.encoders, &online, inputs, masked);
        outputs.tensor("mlm_logits", &logits)?;
        let logits = token_logits(&task.momentum, &momentum, inputs, masked);
        outputs.tensor("logits_m", &logits)?;
    }
    Ok(())
}

/// Momentum features, similarities with batch and queue, and what they ought to be.
fn contrast(
    task: &AlbefTask,
    score: &AlbefScore,
    targets: &Targets,
    alpha: f64,
    outputs: &mut Outputs<'_>,
) -> Result<(), VerifyError> {
    let keys = Embeds {
        images: score.entries.image_embeds.clone(),
        texts: score.entries.text_embeds.clone(),
    };
    outputs.tensor("image_feat_m", &keys.images)?;
    outputs.tensor("text_feat_m", &keys.texts)?;
    let temp = task.model.temp.val().without_autodiff();
    let momentum = Similarities::new(&keys, &keys, &task.queue, temp);
    outputs.tensor("sim_i2t", &score.similarities.image_to_text)?;
    outputs.tensor("sim_t2i", &score.similarities.text_to_image)?;
    outputs.tensor("sim_i2t_m", &momentum.image_to_text)?;
    outputs.tensor("sim_t2i_m", &momentum.text_to_image)?;
    let truth = ItcTargets::new(&score.similarities, &task.queue, targets);
    outputs.tensor("sim_targets", &truth.image_to_text)?;
    let wanted = truth.distilled(&momentum, alpha);
    outputs.tensor("sim_i2t_targets", &wanted.image_to_text)?;
    outputs.tensor("sim_t2i_targets", &wanted.text_to_image)
}

/// The negatives of a step, and the weights that the reference draws them by.
fn choose(inputs: &AlbefInputs, within: &Similarities, outputs: &mut Outputs<'_>) -> Result<Negatives, VerifyError> {
    let by_id = Targets::ById {
        image_ids: inputs.image_ids.clone(),
        caption_ids: inputs.caption_ids.clone(),
    };
    let positives = by_id.positives(&within.image_to_text).without_autodiff();
    for (direction, similarities) in [("i2t", &within.image_to_text), ("t2i", &within.text_to_image)] {
        // As the reference has it: positives are taken out after the softmax, and the rest does not sum to one.
        let weights = softmax(similarities.clone().without_autodiff(), 1);
        let weights = weights.mask_fill(positives.clone().greater_elem(0.5), 0.0);
        outputs.tensor(&format!("weights_{direction}"), &weights)?;
    }
    let noise = match &inputs.negatives {
        NegativeChoice::Hardest => None,
        NegativeChoice::Sampled { noise, .. } => Some(noise),
    };
    let negatives = hard_negatives(within, &positives, noise);
    outputs.integers("neg_idx_image", &negatives.images)?;
    outputs.integers("neg_idx_text", &negatives.texts)?;
    Ok(negatives)
}
