//! Three steps of pre-training.

use std::collections::HashMap;

use burn::{
    optim::GradientsParams,
    tensor::{Int, Tensor, TensorData},
};
use twinflame::model::{
    loss::{
        Targets,
        albef::{GumbelNoise, MlmScore, candidate_logits, mlm_loss},
    },
    text::Readout,
    weights::AlbefCheckpoint,
};

use super::{
    Inputs, Texts,
    check::{Check, Kind},
    load,
    step::{Parts, adamw, encode, itc, itm},
};
use crate::{
    compare::{floats, named_grads},
    fixture::Fixture,
};

/// Compares what a step computes with the outputs of the fixture whose names start with `prefix`.
struct Expected<'a> {
    outputs: &'a HashMap<String, TensorData>,
    prefix: String,
    check: &'a mut Check,
}

impl Expected<'_> {
    fn data(&self, name: &str) -> &TensorData {
        let name = format!("{}{name}", self.prefix);
        self.outputs
            .get(&name)
            .unwrap_or_else(|| panic!("{name} is not in the fixture"))
    }

    fn tensor<const D: usize>(&mut self, name: &str, actual: &Tensor<D>) {
        let expected = self.data(name).clone();
        let name = format!("{}{name}", self.prefix);
        self.check
            .tensor(Kind::Output, &name, &actual.clone().into_data(), &expected);
    }

    fn scalar(&mut self, name: &str, actual: &Tensor<1>) {
        let expected = floats(self.data(name));
        let name = format!("{}{name}", self.prefix);
        self.check
            .values(Kind::Output, &name, &floats(&actual.clone().into_data()), &expected);
    }
}

/// Masked positions as slots: all positions of the text, of which the labelled ones count.
struct Masked {
    ids: Tensor<2, Int>,
    labels: Tensor<2, Int>,
    weights: Tensor<2>,
}

impl Masked {
    fn new(inputs: &Inputs<'_>) -> Self {
        let labels: Tensor<2, Int> = inputs.integers("mlm_labels");
        Self {
            ids: inputs.integers("mlm_input_ids"),
            weights: labels.clone().greater_equal_elem(0).float(),
            labels: labels.clamp_min(0),
        }
    }

    /// The labelled positions alone, as many slots for every text, unused ones at position 0.
    fn slots(&self) -> (Readout, Tensor<2, Int>, Tensor<2>) {
        let weights = self.weights.clone().into_data();
        let labels: Vec<i64> = self.labels.clone().into_data().iter().collect();
        let [batch, tokens] = self.weights.dims();
        let used: Vec<Vec<usize>> = floats(&weights)
            .chunks(tokens)
            .map(|row| (0..tokens).filter(|&at| row[at] > 0.0).collect())
            .collect();
        let slots = 1 + used.iter().map(Vec::len).max().unwrap();
        let slot = |f: &dyn Fn(usize, usize) -> i64| {
            let value = |row: usize, slot: usize| used[row].get(slot).map_or(0, |&at| f(row, at)) as i32;
            let values: Vec<i32> = (0..batch)
                .flat_map(|row| (0..slots).map(move |slot| (row, slot)))
                .map(|(row, slot)| value(row, slot))
                .collect();
            Tensor::<2, Int>::from_data(TensorData::new(values, [batch, slots]), &self.weights.device())
        };
        (
            Readout::At(slot(&|_, at| at as i64)),
            slot(&|row, at| labels[row * tokens + at]),
            slot(&|_, _| 1).float(),
        )
    }
}

fn mlm(
    parts: &Parts,
    [image_states, momentum_states]: [Tensor<3>; 2],
    texts: &Texts,
    masked: &Masked,
    alpha: f64,
    expected: &mut Expected<'_>,
) -> MlmScore {
    let predict = |encoders: &twinflame::model::AlbefEncoders, states: &Tensor<3>, readout: &Readout| {
        let bert = &encoders.text_encoder;
        let memory = bert.image_memory(states.clone());
        let states = bert.full(masked.ids.clone(), &texts.mask_pad, &memory, readout, None);
        bert.predict_tokens(states)
    };
    let logits = predict(&parts.model.encoders, &image_states, &Readout::All);
    let momentum = predict(&parts.momentum, &momentum_states, &Readout::All);
    expected.tensor("mlm_logits", &logits);
    expected.tensor("logits_m", &momentum);
    let score = mlm_loss(
        logits,
        Some(momentum),
        masked.labels.clone(),
        masked.weights.clone(),
        alpha,
    );
    expected.scalar("loss_mlm", &score.loss);

    // The same at the masked positions alone, which is how training computes it.
    let (readout, labels, weights) = masked.slots();
    let logits = predict(&parts.model.encoders, &image_states, &readout);
    let momentum = predict(&parts.momentum, &momentum_states, &readout);
    let score = mlm_loss(logits, Some(momentum), labels, weights, alpha);
    expected.scalar("loss_mlm", &score.loss);
    score
}

/// One step up to its gradients.
fn step(parts: &mut Parts, inputs: &Inputs<'_>, alpha: f64, expected: &mut Expected<'_>) -> GradientsParams {
    expected.scalar("temp_before", &parts.model.temp.val());
    parts.clamp_temp();
    expected.scalar("temp_clamped", &parts.model.temp.val());
    let (images, texts) = (inputs.images(), inputs.texts());
    let online = encode(&parts.model.encoders, images.clone(), &texts);
    expected.tensor("image_embeds", &online.image_states);
    expected.tensor("text_embeds", &online.text_states);
    expected.tensor("image_feat", &online.embeds.images);
    expected.tensor("text_feat", &online.embeds.texts);

    parts.update_momentum(0.995);
    let momentum = encode(&parts.momentum, images.clone(), &texts);
    expected.tensor("image_embeds_m", &momentum.image_states);
    expected.tensor("image_feat_m", &momentum.embeds.images);
    expected.tensor("text_feat_m", &momentum.embeds.texts);
    // The shortcuts of those who need the embeddings alone.
    expected.tensor("image_feat_m", &parts.momentum.encode_image(images));
    let text = parts.momentum.encode_text(texts.ids.clone(), &texts.mask_pad, None);
    expected.tensor("text_feat_m", &text);

    let itc = itc(parts, &online.embeds, &momentum.embeds, &Targets::Diagonal, alpha);
    expected.tensor("sim_i2t", &itc.online.image_to_text);
    expected.tensor("sim_t2i", &itc.online.text_to_image);
    expected.tensor("sim_i2t_m", &itc.momentum.image_to_text);
    expected.tensor("sim_t2i_m", &itc.momentum.text_to_image);
    expected.tensor("sim_i2t_targets", &itc.targets.image_to_text);
    expected.tensor("sim_t2i_targets", &itc.targets.text_to_image);
    expected.scalar("loss_i2t", &itc.score.image_to_text);
    expected.scalar("loss_t2i", &itc.score.text_to_image);
    expected.scalar("loss_ita", &itc.score.loss);
    parts.enqueue(momentum.embeds, None);

    let noise = GumbelNoise::draw(&[3, 4], &inputs.device);
    let itm = itm(parts, &online, &texts, &itc.online, &Targets::Diagonal, Some(&noise));
    // With two pairs the hard negative of each is the other.
    for rows in [&itm.negatives.images, &itm.negatives.texts] {
        assert_eq!(rows.clone().into_data().iter::<i64>().collect::<Vec<_>>(), [1, 0]);
    }
    expected.tensor("vl_output", &itm.logits);
    expected.scalar("loss_itm", &itm.score.loss);

    let mlm = mlm(
        parts,
        [online.image_states, momentum.image_states],
        &texts,
        &Masked::new(inputs),
        alpha,
        expected,
    );
    let loss = mlm.loss + itc.score.loss + itm.score.loss;
    expected.scalar("loss", &loss);
    parts.gradients(&loss)
}

fn checkpoint(parts: &Parts) -> HashMap<String, TensorData> {
    let checkpoint = AlbefCheckpoint {
        model: &parts.model,
        momentum: Some(&parts.momentum),
        queue: Some(&parts.queue),
    };
    checkpoint.tensors().unwrap().into_iter().collect()
}

fn check_state(parts: &Parts, expected: &HashMap<String, TensorData>, what: &str) {
    let mut check = Check::default();
    let actual = checkpoint(parts);
    for (name, expected) in expected {
        check.tensor(Kind::Weight, name, &actual[name], expected);
    }
    check.finish(what);
}

#[test]
fn three_steps() {
    let fixture = Fixture::new("albef_pretrain_tiny");
    let device = twinflame_tests::device();
    let mut parts = load(&fixture, &device.clone().autodiff());
    let mut optim = adamw(&fixture.config["optimizer"], &parts.model);
    let lr = fixture.config["optimizer"]["lr"].as_f64().unwrap();
    let (inputs, outputs) = (fixture.tensors("inputs"), fixture.tensors("outputs"));
    let alphas: Vec<f64> = serde_json::from_value(fixture.config["alphas"].clone()).unwrap();
    for (index, alpha) in alphas.into_iter().enumerate() {
        let number = index + 1;
        let prefix = format!("s{number}.");
        let inputs = Inputs {
            tensors: &inputs,
            prefix: &prefix,
            device: device.clone(),
        };
        let mut check = Check::default();
        let mut expected = Expected {
            outputs: &outputs,
            prefix: prefix.clone(),
            check: &mut check,
        };
        let grads = step(&mut parts, &inputs, alpha, &mut expected);
        let state = checkpoint(&parts);
        for (name, key) in [("image_queue_after", "image_queue"), ("text_queue_after", "text_queue")] {
            let expected_queue = expected.data(name).clone();
            expected.check.tensor(Kind::Output, name, &state[key], &expected_queue);
        }
        expected.data("queue_ptr_after").assert_eq(&state["queue_ptr"], true);
        check.finish(&format!("outputs of step {number}"));

        if number != 2 {
            let mut check = Check::default();
            let actual = named_grads(&parts.model, &grads);
            let golden = fixture.tensors(&format!("grads_step{number}"));
            assert_eq!(actual.len(), golden.len());
            for (name, golden) in &golden {
                check.values(Kind::Gradient, name, &actual[name], &floats(golden));
            }
            check.finish(&format!("gradients of step {number}"));
        }

        parts.optimize(&mut optim, lr, grads);
        let expected = floats(&outputs[&format!("s{number}.temp_after_step")]);
        let temp = floats(&parts.model.temp.val().into_data());
        Check::default().values(Kind::Weight, "temp", &temp, &expected);
        if number == 1 {
            check_state(&parts, &fixture.tensors("after_step1"), "some weights after step 1");
        }
    }
    let after = fixture.tensors("after_step");
    assert_eq!(after.len(), checkpoint(&parts).len());
    check_state(&parts, &after, "all weights after step 3");
}

#[test]
fn negatives_have_the_references_distribution() {
    let fixture = Fixture::new("albef_retrieval_tiny");
    let outputs = fixture.tensors("outputs");
    let device = twinflame_tests::device();
    let load = |name: &str| Tensor::<2>::from_data(outputs[name].clone(), &device);
    let ids = Tensor::<1, Int>::from_data(fixture.tensors("inputs")["idx"].clone().convert::<i32>(), &device);
    let targets = Targets::ById {
        image_ids: ids,
        caption_ids: Tensor::arange(0..4, &device),
    };
    let mut check = Check::default();
    for direction in ["i2t", "t2i"] {
        let similarities = load(&format!("sim_{direction}")).narrow(1, 0, 4);
        let logits = candidate_logits(similarities.clone(), targets.positives(&similarities));
        let actual = burn::tensor::activation::softmax(logits, 1);
        // The reference takes the positives out after its softmax and leaves it to the sampler to divide by the rest.
        let expected = load(&format!("weights_{direction}"));
        let expected = expected.clone() / expected.sum_dim(1);
        check.tensor(Kind::Output, direction, &actual.into_data(), &expected.into_data());
    }
    check.finish("distribution of negatives");
}
