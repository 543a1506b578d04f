//! A training step from the model's parts, in the reference's order.

use burn::{
    module::{Param, ParamGroup},
    optim::{AdamWConfig, GradientsParams, ModuleOptimizer},
    tensor::{Int, Tensor},
};
use serde_json::Value;
use twinflame::{
    model::{
        Albef, AlbefEncoders, FeatureQueue,
        albef::{QueueEntries, TEMP_RANGE},
        loss::{
            Targets,
            albef::{
                Embeds, GumbelNoise, ItcScore, ItcTargets, ItmScore, Negatives, Similarities, hard_negatives, itc_loss,
                itm_loss,
            },
        },
        text::Readout,
        weights::{NamedParam, named_params},
    },
    train::ema::update_average,
};

use super::Texts;

/// Everything that a step changes.
pub(super) struct Parts {
    pub(super) model: Albef,
    pub(super) momentum: AlbefEncoders,
    pub(super) queue: FeatureQueue,
}

/// A batch as the online or the momentum encoders see it.
pub(super) struct Encoded {
    pub(super) image_states: Tensor<3>,
    pub(super) text_states: Tensor<3>,
    pub(super) embeds: Embeds,
}

pub(super) fn encode(encoders: &AlbefEncoders, images: Tensor<4>, texts: &Texts) -> Encoded {
    let image_states = encoders.image_states(images);
    let text_states = encoders
        .text_encoder
        .text(texts.ids.clone(), &texts.mask_pad, &Readout::All, None);
    Encoded {
        embeds: Embeds {
            images: encoders.image_embeds(image_states.clone()),
            texts: encoders.text_embeds(text_states.clone()),
        },
        image_states,
        text_states,
    }
}

/// Image-text contrast of a batch and everything on the way.
pub(super) struct Itc {
    pub(super) score: ItcScore,
    pub(super) online: Similarities,
    pub(super) momentum: Similarities,
    pub(super) truth: ItcTargets,
    pub(super) targets: ItcTargets,
}

pub(super) fn itc(parts: &Parts, online: &Embeds, momentum: &Embeds, targets: &Targets, alpha: f64) -> Itc {
    let temp = parts.model.temp.val();
    let online = Similarities::new(online, momentum, &parts.queue, temp.clone());
    let momentum = Similarities::new(momentum, momentum, &parts.queue, temp.without_autodiff());
    let truth = ItcTargets::new(&online, &parts.queue, targets);
    let targets = truth.clone().distilled(&momentum, alpha);
    Itc {
        score: itc_loss(&online, &targets),
        online,
        momentum,
        truth,
        targets,
    }
}

/// Image-text matching of a batch and everything on the way.
pub(super) struct Itm {
    pub(super) score: ItmScore,
    pub(super) logits: Tensor<2>,
    pub(super) negatives: Negatives,
}

pub(super) fn itm(
    parts: &Parts,
    encoded: &Encoded,
    texts: &Texts,
    similarities: &Similarities,
    targets: &Targets,
    noise: Option<&GumbelNoise>,
) -> Itm {
    let similarities = similarities.within_batch();
    let positives = targets.positives(&similarities.image_to_text);
    let negatives = hard_negatives(&similarities, &positives, noise);
    let [batch, ..] = encoded.text_states.dims();
    let own = Tensor::<1, Int>::arange(0..batch as i64, &positives.device());
    // Matching pairs, then texts with negative images, then images with negative texts, in one pass.
    let image_rows = Tensor::cat(vec![own.clone(), negatives.images.clone(), own.clone()], 0);
    let text_rows = Tensor::cat(vec![own.clone(), own, negatives.texts.clone()], 0);
    let bert = &parts.model.encoders.text_encoder;
    let memory = bert.image_memory(encoded.image_states.clone());
    let fused = bert.fusion(
        encoded.text_states.clone().select(0, text_rows.clone()),
        &texts.mask_pad.clone().select(0, text_rows),
        &memory.select(&image_rows),
        &Readout::Class,
        None,
    );
    let logits = parts.model.match_logits(fused);
    Itm {
        score: itm_loss(logits.clone(), &negatives.exist),
        logits,
        negatives,
    }
}

impl Parts {
    /// Clamps the temperature, as the reference does at the start of a pre-training step.
    pub(super) fn clamp_temp(&mut self) {
        let (low, high) = (*TEMP_RANGE.start(), *TEMP_RANGE.end());
        let temp = self.model.temp.val().without_autodiff().clamp(low, high);
        self.model.temp = Param::initialized(self.model.temp.id, temp.autodiff().require_grad());
    }

    pub(super) fn update_momentum(&mut self, momentum: f64) {
        self.momentum = update_average(self.momentum.clone(), &self.model.encoders, momentum);
    }

    pub(super) fn enqueue(&mut self, embeds: Embeds, ids: Option<[Tensor<1, Int>; 2]>) {
        let [batch, _] = embeds.images.dims();
        let none = || Tensor::<1, Int>::zeros([batch], &embeds.images.device());
        let [image_ids, caption_ids] = ids.unwrap_or_else(|| [none(), none()]);
        let entries = QueueEntries {
            image_embeds: embeds.images,
            text_embeds: embeds.texts,
            image_ids,
            caption_ids,
        };
        self.queue = self.queue.clone().enqueue(entries);
    }

    pub(super) fn gradients(&self, loss: &Tensor<1>) -> GradientsParams {
        GradientsParams::from_grads(loss.backward(), &self.model)
    }

    pub(super) fn optimize(&mut self, optim: &mut ModuleOptimizer, lr: f64, grads: GradientsParams) {
        self.model = optim.step(lr, self.model.clone(), grads);
    }
}

/// The reference's rule, on its names and shapes: no decay for vectors and biases. A temperature without axis decays.
pub(super) fn decays(param: &NamedParam) -> bool {
    let rank = param.layout.reference_shape(&param.shape).len();
    rank != 1 && !param.name.ends_with(".bias")
}

/// AdamW with the settings of a fixture.
pub(super) fn adamw(config: &Value, model: &Albef) -> ModuleOptimizer {
    let number = |key: &str| config[key].as_f64().unwrap() as f32;
    let adamw = AdamWConfig::new()
        .with_beta_1(number("beta1"))
        .with_beta_2(number("beta2"))
        .with_epsilon(number("eps"))
        .with_weight_decay(number("weight_decay"));
    let exempt = named_params(model).into_iter().filter(|param| !decays(param));
    let exempt = ParamGroup::from_paths(exempt.map(|param| param.path).collect::<Vec<_>>());
    adamw
        .init()
        .with_group(ParamGroup::all(), adamw.clone().build(), None)
        .with_group(exempt, adamw.with_weight_decay(0.0).build(), None)
}
