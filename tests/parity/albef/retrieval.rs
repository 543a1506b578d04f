//! Fine-tuning for retrieval, and evaluation in two stages.

use std::collections::HashMap;

use burn::tensor::{Int, Tensor, TensorData};
use twinflame::model::{
    Albef,
    loss::{Targets, albef::Embeds},
    text::Readout,
    weights::AlbefCheckpoint,
};

use super::{
    Inputs, Texts,
    check::{Check, Kind},
    load,
    step::{adamw, encode, itc, itm},
};
use crate::{
    compare::{floats, named_grads},
    fixture::Fixture,
};

fn fixture() -> Fixture {
    Fixture::new("albef_retrieval_tiny")
}

/// Compares tensors with the fixture's outputs of these names.
fn check_outputs(check: &mut Check, outputs: &HashMap<String, TensorData>, tensors: &[(&str, TensorData)]) {
    for (name, actual) in tensors {
        check.values(Kind::Output, name, &floats(actual), &floats(&outputs[*name]));
    }
}

#[test]
fn a_fine_tuning_step() {
    let fixture = fixture();
    let device = twinflame_tests::device();
    let mut parts = load(&fixture, &device.clone().autodiff());
    let (inputs, outputs) = (fixture.tensors("inputs"), fixture.tensors("outputs"));
    let inputs = Inputs {
        tensors: &inputs,
        prefix: "",
        device: device.clone(),
    };
    let alpha = fixture.config["alpha"].as_f64().unwrap();
    let (images, texts) = (inputs.images(), inputs.texts());
    let image_ids: Tensor<1, Int> = inputs.integers("idx");
    let caption_ids = Tensor::<1, Int>::arange(0..4, &device);
    let targets = Targets::ById {
        image_ids: image_ids.clone(),
        caption_ids: caption_ids.clone(),
    };

    let online = encode(&parts.model.encoders, images.clone(), &texts);
    parts.update_momentum(0.995);
    let momentum = Embeds {
        images: parts.momentum.encode_image(images),
        texts: parts.momentum.encode_text(texts.ids.clone(), &texts.mask_pad, None),
    };
    let itc = itc(&parts, &online.embeds, &momentum, &targets, alpha);
    parts.enqueue(momentum.clone(), Some([image_ids, caption_ids]));
    // The fixture takes the most similar candidate where the reference draws one.
    let itm = itm(&parts, &online, &texts, &itc.online, &targets, None);
    let loss = itc.score.loss.clone() + itm.score.loss.clone();

    let data = |tensor: &Tensor<2>| tensor.clone().into_data();
    let mut check = Check::default();
    let computed = [
        ("image_embeds", online.image_states.into_data()),
        ("text_embeds", online.text_states.into_data()),
        ("image_feat", data(&online.embeds.images)),
        ("text_feat", data(&online.embeds.texts)),
        ("image_feat_m", data(&momentum.images)),
        ("text_feat_m", data(&momentum.texts)),
        ("sim_targets", data(&itc.truth.image_to_text)),
        ("sim_i2t", data(&itc.online.image_to_text)),
        ("sim_t2i", data(&itc.online.text_to_image)),
        ("sim_i2t_m", data(&itc.momentum.image_to_text)),
        ("sim_t2i_m", data(&itc.momentum.text_to_image)),
        ("sim_i2t_targets", data(&itc.targets.image_to_text)),
        ("sim_t2i_targets", data(&itc.targets.text_to_image)),
        ("neg_idx_image", itm.negatives.images.clone().into_data()),
        ("neg_idx_text", itm.negatives.texts.clone().into_data()),
        ("vl_output", data(&itm.logits)),
        ("loss_ita", itc.score.loss.into_data()),
        ("loss_itm", itm.score.loss.into_data()),
        ("loss", loss.clone().into_data()),
    ];
    check_outputs(&mut check, &outputs, &computed);
    check.finish("outputs of fine-tuning");

    let grads = parts.gradients(&loss);
    let actual = named_grads(&parts.model, &grads);
    let golden = fixture.tensors("grads");
    assert_eq!(actual.len(), golden.len());
    let mut check = Check::default();
    for (name, golden) in &golden {
        check.values(Kind::Gradient, name, &actual[name], &floats(golden));
    }
    check.finish("gradients of fine-tuning");

    let mut optim = adamw(&fixture.config["optimizer"], &parts.model);
    parts.optimize(&mut optim, fixture.config["optimizer"]["lr"].as_f64().unwrap(), grads);
    let checkpoint = AlbefCheckpoint {
        model: &parts.model,
        momentum: Some(&parts.momentum),
        queue: Some(&parts.queue),
    };
    let state: HashMap<_, _> = checkpoint.tensors().unwrap().into_iter().collect();
    let mut check = Check::default();
    for (name, expected) in fixture.tensors("after_step") {
        match golden.get(&name) {
            Some(grads) => {
                let values = [&state[&name], &expected, grads].map(floats);
                check.first_step(
                    &fixture.config["optimizer"],
                    &name,
                    values.each_ref().map(Vec::as_slice),
                );
            }
            None => check.tensor(Kind::Weight, &name, &state[&name], &expected),
        }
    }
    check.finish("weights after fine-tuning");
}

/// Scores of row `i` against the `k` columns that are most similar to it; -100 elsewhere.
///
/// `pairs` gives the image and the text of a row and a column.
fn rescore(
    model: &Albef,
    (image_states, text_states): (&Tensor<3>, &Tensor<3>),
    texts: &Texts,
    similarities: &Tensor<2>,
    k: usize,
    pairs: fn(usize, usize) -> (usize, usize),
) -> TensorData {
    let [rows, columns] = similarities.dims();
    let device = similarities.device();
    let memory = model.encoders.text_encoder.image_memory(image_states.clone());
    let mut scores = vec![-100.0f32; rows * columns];
    let values = floats(&similarities.clone().into_data());
    for row in 0..rows {
        let mut best: Vec<usize> = (0..columns).collect();
        best.sort_by(|&a, &b| values[row * columns + b].total_cmp(&values[row * columns + a]));
        best.truncate(k);
        let index = |of: fn((usize, usize)) -> usize| {
            let rows: Vec<i32> = best.iter().map(|&column| of(pairs(row, column)) as i32).collect();
            Tensor::<1, Int>::from_data(TensorData::new(rows, [k]), &device)
        };
        let (images, chosen) = (index(|pair| pair.0), index(|pair| pair.1));
        let fused = model.encoders.text_encoder.fusion(
            text_states.clone().select(0, chosen.clone()),
            &texts.mask_pad.clone().select(0, chosen),
            &memory.select(&images),
            &Readout::Class,
            None,
        );
        let logits = floats(&model.match_logits(fused).into_data());
        for (place, column) in best.into_iter().enumerate() {
            scores[row * columns + column] = logits[2 * place + 1];
        }
    }
    TensorData::new(scores, [rows, columns])
}

#[test]
fn evaluation_in_two_stages() {
    let fixture = fixture();
    let device = twinflame_tests::device();
    let model = load(&fixture, &device).model;
    let (inputs, outputs) = (fixture.tensors("inputs"), fixture.tensors("outputs"));
    let inputs = Inputs {
        tensors: &inputs,
        prefix: "eval.",
        device,
    };
    let texts = inputs.texts();
    let encoded = encode(&model.encoders, inputs.images(), &texts);
    let similarities = encoded
        .embeds
        .images
        .clone()
        .matmul(encoded.embeds.texts.clone().transpose());
    let k = fixture.config["albef_cfg"]["k_test"].as_u64().unwrap() as usize;
    let states = (&encoded.image_states, &encoded.text_states);
    let by_image = rescore(&model, states, &texts, &similarities, k, |row, column| (row, column));
    let transposed = similarities.clone().transpose();
    let by_text = rescore(&model, states, &texts, &transposed, k, |row, column| (column, row));

    let mut check = Check::default();
    let computed = [
        ("eval.image_embeds", encoded.embeds.images.into_data()),
        ("eval.text_embeds", encoded.embeds.texts.into_data()),
        ("eval.sims_i2t", similarities.into_data()),
        ("eval.score_matrix_i2t", by_image),
        ("eval.score_matrix_t2i", by_text),
    ];
    check_outputs(&mut check, &outputs, &computed);
    check.finish("evaluation");
}
