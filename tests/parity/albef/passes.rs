//! What a step computes on the way to its losses, pass by pass: a loss that is off says too little about where.

use std::collections::HashMap;

use burn::tensor::{Int, Tensor, TensorData};
use twinflame::{
    model::{
        Albef, AlbefEncoders,
        loss::{
            Targets,
            albef::{Embeds, ItcTargets, Negatives, Similarities},
        },
        text::Readout,
    },
    train::task::{AlbefInputs, AlbefScore, AlbefTask, MaskedBatch},
};

use super::check::{Check, Kind};
use crate::compare::floats;

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
pub(super) fn match_logits(model: &Albef, encoded: &Encoded, inputs: &AlbefInputs, negatives: &Negatives) -> Tensor<2> {
    let [batch, ..] = encoded.text_states.dims();
    let own = Tensor::<1, Int>::arange(0..batch as i64, &negatives.images.device());
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

/// Similarities that teach, and what all similarities ought to be.
pub(super) struct Wanted {
    pub(super) momentum: Similarities,
    pub(super) truth: ItcTargets,
    pub(super) targets: ItcTargets,
}

/// From the momentum features that `score` is about to put into the queue.
pub(super) fn wanted(task: &AlbefTask, score: &AlbefScore, targets: &Targets, alpha: f64) -> Wanted {
    let keys = Embeds {
        images: score.entries.image_embeds.clone(),
        texts: score.entries.text_embeds.clone(),
    };
    let temp = task.model.temp.val().without_autodiff();
    let momentum = Similarities::new(&keys, &keys, &task.queue, temp);
    let truth = ItcTargets::new(&score.similarities, &task.queue, targets);
    Wanted {
        targets: truth.clone().distilled(&momentum, alpha),
        momentum,
        truth,
    }
}

/// Compares what is computed with the outputs of a fixture whose names start with `prefix`.
pub(super) struct Expected<'a> {
    pub(super) outputs: &'a HashMap<String, TensorData>,
    pub(super) prefix: &'a str,
    pub(super) check: Check,
}

impl Expected<'_> {
    pub(super) fn data(&self, name: &str) -> &TensorData {
        let name = format!("{}{name}", self.prefix);
        self.outputs
            .get(&name)
            .unwrap_or_else(|| panic!("{name} is not in the fixture"))
    }

    pub(super) fn tensor<const D: usize>(&mut self, name: &str, actual: &Tensor<D>) {
        let expected = self.data(name).clone();
        self.check
            .tensor(Kind::Output, name, &actual.clone().into_data(), &expected);
    }

    /// The reference's numbers have no axis, ours have one.
    pub(super) fn scalar(&mut self, name: &str, actual: &Tensor<1>) {
        let expected = floats(self.data(name));
        self.check
            .values(Kind::Output, name, &floats(&actual.clone().into_data()), &expected);
    }

    /// Encoder outputs, similarities and targets: everything before the losses that both kinds of training share.
    pub(super) fn contrast(&mut self, online: &Encoded, score: &AlbefScore, wanted: &Wanted) {
        self.tensor("image_embeds", &online.image_states);
        self.tensor("text_embeds", &online.text_states);
        self.tensor("image_feat", &online.embeds.images);
        self.tensor("text_feat", &online.embeds.texts);
        self.tensor("image_feat_m", &score.entries.image_embeds);
        self.tensor("text_feat_m", &score.entries.text_embeds);
        self.tensor("sim_i2t", &score.similarities.image_to_text);
        self.tensor("sim_t2i", &score.similarities.text_to_image);
        self.tensor("sim_i2t_m", &wanted.momentum.image_to_text);
        self.tensor("sim_t2i_m", &wanted.momentum.text_to_image);
        self.tensor("sim_i2t_targets", &wanted.targets.image_to_text);
        self.tensor("sim_t2i_targets", &wanted.targets.text_to_image);
    }
}
