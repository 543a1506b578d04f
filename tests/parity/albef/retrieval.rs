//! Fine-tuning for retrieval, and evaluation in two stages.

use std::collections::HashMap;

use burn::{
    module::Module,
    tensor::{Int, Tensor, TensorData},
    train::TrainStep,
};
use twinflame::{
    model::{
        Albef,
        loss::{Targets, albef::hard_negatives},
        text::ImageMemory,
    },
    train::{
        eval::{
            Chunking, DirectionReport, EncodedTexts, Hit, Relevance, match_scores, progress_bar, ranks, reranked, top_k,
        },
        task::{AlbefTaskConfig, NegativeChoice, TargetKind},
    },
};

use super::{
    Inputs,
    check::{Check, Kind},
    check_grads, checkpoint, followed, load, optimizer,
    passes::{Expected, encode, match_logits, wanted},
};
use crate::{compare::floats, fixture::Fixture};

fn fixture() -> Fixture {
    Fixture::new("albef_retrieval_tiny")
}

/// What fine-tuning sets, as the recipe `albef-retrieval` does.
fn config() -> AlbefTaskConfig {
    AlbefTaskConfig {
        mlm_weight: 0.0,
        targets: TargetKind::ById,
        clamp_temp: false,
        ..AlbefTaskConfig::default()
    }
}

#[test]
fn a_fine_tuning_step() {
    let fixture = fixture();
    let device = twinflame_tests::device();
    let task = load(&fixture, &device.clone().autodiff(), config()).follow(4);
    let (tensors, outputs) = (fixture.tensors("inputs"), fixture.tensors("outputs"));
    let inputs = Inputs {
        tensors: &tensors,
        prefix: "",
        device: device.clone(),
    };
    let mut expected = Expected {
        outputs: &outputs,
        prefix: "",
        check: Check::default(),
    };
    let alpha = fixture.config["alpha"].as_f64().unwrap();
    // The fixture takes the most similar candidate where the reference draws one.
    let inputs = inputs.of_task(inputs.integers("idx"), None, NegativeChoice::Hardest);
    let score = task.score(&inputs, alpha);
    assert!(score.mlm.is_none());
    expected.scalar("loss", &score.loss);
    expected.scalar("loss_ita", &score.itc.as_ref().unwrap().loss);
    expected.scalar("loss_itm", &score.itm.as_ref().unwrap().loss);

    let online = encode(&task.model.encoders, &inputs);
    let targets = Targets::ById {
        image_ids: inputs.image_ids.clone(),
        caption_ids: inputs.caption_ids.clone(),
    };
    let wanted = wanted(&task, &score, &targets, alpha);
    expected.contrast(&online, &score, &wanted);
    expected.tensor("sim_targets", &wanted.truth.image_to_text);
    let similarities = score.similarities.within_batch();
    let positives = targets.positives(&similarities.image_to_text);
    let negatives = hard_negatives(&similarities, &positives, None);
    for (name, rows) in [("neg_idx_image", &negatives.images), ("neg_idx_text", &negatives.texts)] {
        let actual = rows.clone().into_data();
        assert_eq!(floats(&actual), floats(expected.data(name)), "{name}");
    }
    let logits = match_logits(&task.model, &online, &inputs, &negatives);
    expected.tensor("vl_output", &logits);
    expected.check.finish("outputs of fine-tuning");

    let grads = task.backward(&score);
    check_grads(&fixture, "grads", &task.model, &grads);

    let (mut optim, lr) = optimizer(&fixture, &task);
    let task = task
        .optimize(&mut optim, lr.into(), grads)
        .enqueue(score.entries)
        .follow(4);
    let state = checkpoint(&task);
    let golden = fixture.tensors("grads");
    let mut check = Check::default();
    for (name, expected) in followed(fixture.tensors("after_step")) {
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

/// The two stages of one direction.
struct Stages {
    candidates: Vec<Vec<Hit>>,
    /// By query and gallery row.
    scores: HashMap<(usize, usize), f32>,
}

impl Stages {
    /// `pair` gives the image and the text of a query and a gallery row.
    fn new(
        model: &Albef,
        (memory, texts): (&ImageMemory, &EncodedTexts),
        [queries, gallery]: [&Tensor<2>; 2],
        k: usize,
        pair: fn(usize, usize) -> (usize, usize),
    ) -> Self {
        let candidates = top_k(queries.clone(), gallery.clone(), k, Chunking::default()).unwrap();
        let places: Vec<(usize, usize)> = candidates
            .iter()
            .enumerate()
            .flat_map(|(query, hits)| hits.iter().map(move |hit| (query, hit.index)))
            .collect();
        let pairs: Vec<(usize, usize)> = places.iter().map(|&(query, row)| pair(query, row)).collect();
        let scores = match_scores(model, memory, texts, &pairs).unwrap();
        Self {
            candidates,
            scores: places.into_iter().zip(scores).collect(),
        }
    }

    /// As the reference keeps them: -100 where nothing was scored.
    fn matrix(&self, size: usize) -> TensorData {
        let places = (0..size * size).map(|place| (place / size, place % size));
        let scores: Vec<f32> = places
            .map(|place| self.scores.get(&place).copied().unwrap_or(-100.0))
            .collect();
        TensorData::new(scores, [size, size])
    }

    /// Recall after both stages, in percent. Image `i` belongs to text `i`.
    fn recall(&self, [queries, gallery]: [&Tensor<2>; 2]) -> Vec<f32> {
        let size = self.candidates.len();
        let relevance = Relevance::from_pairs(size, size, (0..size).map(|i| (i, i)));
        let (queries, gallery) = (queries.clone(), gallery.clone());
        let first = ranks(
            queries,
            gallery,
            &relevance,
            Chunking::default(),
            &progress_bar("ranks", size),
        )
        .unwrap();
        let ranks = reranked(&first, &self.candidates, &relevance, |query, row| {
            self.scores.get(&(query, row)).copied()
        });
        let report = DirectionReport::from_ranks(&ranks, &[1, 5, 10]);
        report.recall.iter().map(|recall| 100.0 * recall.value as f32).collect()
    }
}

#[test]
fn evaluation_in_two_stages() {
    let fixture = fixture();
    let device = twinflame_tests::device();
    let model = load(&fixture, &device.clone().autodiff(), config()).valid().model;
    let (tensors, outputs) = (fixture.tensors("inputs"), fixture.tensors("outputs"));
    let inputs = Inputs {
        tensors: &tensors,
        prefix: "eval.",
        device: device.clone(),
    };
    let inputs = inputs.of_task(Tensor::<1, Int>::arange(0..4, &device), None, NegativeChoice::Hardest);
    let encoded = encode(&model.encoders, &inputs);
    let (images, texts) = (&encoded.embeds.images, &encoded.embeds.texts);
    let k = fixture.config["albef_cfg"]["k_test"].as_u64().unwrap() as usize;
    let memory = model.encoders.text_encoder.image_memory(encoded.image_states);
    let encoded_texts = EncodedTexts {
        states: encoded.text_states,
        mask_pad: inputs.mask_pad,
    };
    let states = (&memory, &encoded_texts);
    let i2t = Stages::new(&model, states, [images, texts], k, |image, text| (image, text));
    let t2i = Stages::new(&model, states, [texts, images], k, |text, image| (image, text));

    let mut check = Check::default();
    let data = |tensor: &Tensor<2>| tensor.clone().into_data();
    let computed = [
        ("eval.image_embeds", data(images)),
        ("eval.text_embeds", data(texts)),
        ("eval.sims_i2t", data(&images.clone().matmul(texts.clone().transpose()))),
        ("eval.score_matrix_i2t", i2t.matrix(4)),
        ("eval.score_matrix_t2i", t2i.matrix(4)),
    ];
    for (name, actual) in computed {
        check.tensor(Kind::Output, name, &actual, &outputs[name]);
    }
    let recalls = [
        ("txt", i2t.recall([images, texts])),
        ("img", t2i.recall([texts, images])),
    ];
    let mut means = Vec::new();
    for (direction, recalls) in recalls {
        for (k, recall) in [1, 5, 10].into_iter().zip(&recalls) {
            let name = format!("eval.{direction}_r{k}");
            check.values(Kind::Output, &name, &[*recall], &floats(&outputs[&name]));
        }
        means.push(recalls.iter().sum::<f32>() / 3.0);
        let name = format!("eval.{direction}_r_mean");
        check.values(Kind::Output, &name, &[means[means.len() - 1]], &floats(&outputs[&name]));
    }
    let mean = [means.iter().sum::<f32>() / 2.0];
    check.values(Kind::Output, "eval.r_mean", &mean, &floats(&outputs["eval.r_mean"]));
    check.finish("evaluation");
}
