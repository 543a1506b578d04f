use burn::tensor::{Int, Tensor};
use twinflame_model::{
    Albef, AlbefEncoders, Dropout,
    albef::QueueEntries,
    loss::{
        MatchingAccuracy,
        albef::{
            Embeds, ItcScore, ItcTargets, ItmScore, MlmScore, Negatives, Similarities, hard_negatives, itc_loss,
            itm_loss, mlm_loss,
        },
        matching_accuracy,
    },
    text::{ImageMemory, Readout},
};

use super::super::TargetKind;
use super::{AlbefInputs, AlbefTask, MaskedBatch, NegativeChoice};
use crate::precision::Precision;

/// What a batch scored.
#[derive(Clone, Debug)]
pub struct AlbefScore {
    /// `[1]`, the weighted sum of the losses.
    pub loss: Tensor<1>,
    /// Image-text contrast; `None` if turned off.
    pub itc: Option<ItcScore>,
    /// Image-text matching; `None` if turned off.
    pub itm: Option<ItmScore>,
    /// Masked language modelling; `None` if turned off.
    pub mlm: Option<MlmScore>,
    /// Similarities of the online features with the momentum features of batch and queue.
    pub similarities: Similarities,
    /// How often the most similar of the batch is a match, by online features alone.
    pub accuracy: MatchingAccuracy,
    /// What goes into the queue.
    pub entries: QueueEntries,
}

/// A batch after the unimodal encoders.
struct Encoded {
    image_states: Tensor<3>,
    text_states: Tensor<3>,
    embeds: Embeds,
}

impl Encoded {
    fn new(encoders: &AlbefEncoders, inputs: &AlbefInputs, dropout: Option<&Dropout>, precision: Precision) -> Self {
        let f32 = Precision::F32.float_dtype();
        let image_states = encoders.image_states(inputs.pixels.clone().cast(precision.float_dtype()));
        let text_states = encoders
            .text_encoder
            .text(inputs.ids.clone(), &inputs.mask_pad, &Readout::All, dropout);
        Self {
            embeds: Embeds {
                images: encoders.image_embeds(image_states.clone()).cast(f32),
                texts: encoders.text_embeds(text_states.clone()).cast(f32),
            },
            image_states,
            text_states,
        }
    }
}

impl AlbefTask {
    /// Scores a batch in the reference's order: contrast against the queue as it is, then matching, then masked
    /// language. The images go through their encoder once, online and momentum each.
    ///
    /// The momentum encoders have already followed the online ones; see [`AlbefTask::follow`].
    ///
    /// # Panics
    /// If the inputs are of different batch sizes.
    #[must_use]
    pub fn score(&self, inputs: &AlbefInputs, alpha: f64) -> AlbefScore {
        let config = self.config();
        let precision = config.precision;
        let model = precision.cast(&self.model);
        let teacher = precision.cast(&self.momentum);
        let drop = inputs.dropout.as_ref();
        let online = Encoded::new(&model.encoders, inputs, drop.map(|drop| &drop.text), precision);
        let momentum = Encoded::new(&teacher, inputs, drop.map(|drop| &drop.momentum_text), precision);
        let temp = self.model.temp.val();
        let targets = inputs.targets(config.targets);
        let similarities = Similarities::new(&online.embeds, &momentum.embeds, &self.queue, temp.clone());
        let itc = (config.itc_weight > 0.0).then(|| {
            let truth = ItcTargets::new(&similarities, &self.queue, &targets);
            let keys = &momentum.embeds;
            let soft = || Similarities::new(keys, keys, &self.queue, temp.without_autodiff());
            let wanted = match alpha > 0.0 {
                true => truth.distilled(&soft(), alpha),
                false => truth,
            };
            itc_loss(&similarities, &wanted)
        });
        let memory = model.encoders.text_encoder.image_memory(online.image_states);
        let itm = (config.itm_weight > 0.0).then(|| {
            let negatives = choose(inputs, &similarities.within_batch());
            let texts = Texts {
                states: online.text_states,
                inputs,
            };
            matching(&model, texts, &memory, &negatives, drop.map(|drop| &drop.fusion))
        });
        let mlm = inputs.masked.as_ref().map(|masked| {
            // Not asked for at alpha 0: half of the fusion encoder's work.
            let soft = (alpha > 0.0).then(|| {
                let memory = teacher.text_encoder.image_memory(momentum.image_states);
                predict(&teacher, inputs, masked, &memory, drop.map(|drop| &drop.momentum_mlm))
            });
            let logits = predict(&model.encoders, inputs, masked, &memory, drop.map(|drop| &drop.mlm));
            mlm_loss(logits, soft, masked.labels.clone(), masked.weights.clone(), alpha)
        });
        let parts = [
            (config.itc_weight, itc.as_ref().map(|score| score.loss.clone())),
            (config.itm_weight, itm.as_ref().map(|score| score.loss.clone())),
            (config.mlm_weight, mlm.as_ref().map(|score| score.loss.clone())),
        ];
        let weighted = parts.into_iter().filter_map(|(weight, loss)| Some(loss? * weight));
        let loss = weighted
            .reduce(|sum, loss| sum + loss)
            .unwrap_or_else(|| Tensor::zeros([1], &self.device()));
        let accuracy = matching_accuracy(
            online.embeds.images.without_autodiff(),
            online.embeds.texts.without_autodiff(),
            &targets,
        );
        AlbefScore {
            loss,
            itc,
            itm,
            mlm,
            similarities,
            accuracy,
            entries: QueueEntries {
                image_embeds: momentum.embeds.images,
                text_embeds: momentum.embeds.texts,
                image_ids: inputs.image_ids.clone(),
                caption_ids: inputs.caption_ids.clone(),
            },
        }
    }
}

/// Whatever contrast counts as positive, a pair of the same image or caption is no mismatch.
fn choose(inputs: &AlbefInputs, similarities: &Similarities) -> Negatives {
    let positives = inputs.targets(TargetKind::ById).positives(&similarities.image_to_text);
    match &inputs.negatives {
        NegativeChoice::Hardest => hard_negatives(similarities, &positives, None),
        NegativeChoice::Sampled { noise, hardness } => {
            hard_negatives(&similarities.scaled(hardness), &positives, Some(noise))
        }
    }
}

/// Encoded texts with their padding.
struct Texts<'a> {
    states: Tensor<3>,
    inputs: &'a AlbefInputs,
}

/// One fused pass over matching pairs, texts with negative images and images with negative texts.
fn matching(
    model: &Albef,
    texts: Texts<'_>,
    memory: &ImageMemory,
    negatives: &Negatives,
    dropout: Option<&Dropout>,
) -> ItmScore {
    let Texts { states, inputs } = texts;
    let [batch, _, _] = states.dims();
    let own = Tensor::<1, Int>::arange(0..batch as i64, (&negatives.images.device(), negatives.images.dtype()));
    let others = states.clone().select(0, negatives.texts.clone());
    let states = Tensor::cat(vec![states.clone(), states, others], 0); // [3 batch, tokens, width]
    // As integers: rows selected from booleans have another boolean type on some backends, which `cat` refuses.
    let pad = inputs.mask_pad.clone().int();
    let others = pad.clone().select(0, negatives.texts.clone());
    let pad = Tensor::cat(vec![pad.clone(), pad, others], 0).bool();
    let images = memory.select(&Tensor::cat(vec![own.clone(), negatives.images.clone(), own], 0));
    let fused = model
        .encoders
        .text_encoder
        .fusion(states, &pad, &images, &Readout::Class, dropout);
    let logits = model.match_logits(fused).cast(Precision::F32.float_dtype());
    itm_loss(logits, &negatives.exist)
}

/// Scores of the tokens behind the masks, `[batch, slots, vocab_size]`.
fn predict(
    encoders: &AlbefEncoders,
    inputs: &AlbefInputs,
    masked: &MaskedBatch,
    memory: &ImageMemory,
    dropout: Option<&Dropout>,
) -> Tensor<3> {
    let states = encoders.text_encoder.full(
        masked.ids.clone(),
        &inputs.mask_pad,
        memory,
        &Readout::At(masked.positions.clone()),
        dropout,
    );
    encoders
        .text_encoder
        .predict_tokens(states)
        .cast(Precision::F32.float_dtype())
}
