//! Evaluation in two stages: embeddings, then the best of them fused.

use std::collections::HashMap;

use burn::{
    module::Module,
    tensor::{Device, Tensor, TensorData},
};
use indicatif::ProgressBar;
use twinflame_model::{Albef, text::ImageMemory};

use super::{
    super::{Fixture, Tensors, VerifyError, outputs::Outputs},
    Training, config, passes,
};
use crate::{
    eval::{Chunking, DirectionReport, EncodedTexts, Hit, Relevance, match_scores, ranks, reranked, top_k},
    task::{AlbefInputs, AlbefTask, NegativeChoice},
};

/// What the reference keeps where nothing was scored.
const NO_SCORE: f32 = -100.0;

/// Embeds the inputs `eval.`, scores the best `k_test` candidates, and ranks. The texts are in the order of the images,
/// as many for each.
///
/// # Errors
/// If the inputs are missing or do not fit the model, or the device fails.
pub(super) fn collect(
    fixture: &Fixture,
    task: &AlbefTask,
    device: &Device,
    tensors: &mut Tensors,
) -> Result<(), VerifyError> {
    let model = task.valid().model;
    let inputs = inputs(fixture, device)?;
    let k = fixture.size("albef_cfg.k_test")?;
    let encoded = passes::encode(&model.encoders, &inputs);
    let (images, texts) = (&encoded.embeds.images, &encoded.embeds.texts);
    let [num_images, num_texts] = [images.dims()[0], texts.dims()[0]];
    let memory = model.encoders.text_encoder.image_memory(encoded.image_states);
    let encoded_texts = EncodedTexts {
        states: encoded.text_states,
        mask_pad: inputs.mask_pad,
    };
    let states = (&memory, &encoded_texts);
    let per_image = num_texts / num_images;
    let own = |text: usize| (text / per_image, text);
    let i2t = Direction {
        stages: Stages::new(&model, states, [images, texts], k, |image, text| (image, text))?,
        relevance: Relevance::from_pairs(num_images, num_texts, (0..num_texts).map(own)),
    };
    let swapped = |text: usize| (text, text / per_image);
    let t2i = Direction {
        stages: Stages::new(&model, states, [texts, images], k, |text, image| (image, text))?,
        relevance: Relevance::from_pairs(num_texts, num_images, (0..num_texts).map(swapped)),
    };

    let mut outputs = Outputs {
        tensors,
        prefix: "eval.",
    };
    outputs.tensor("image_embeds", images)?;
    outputs.tensor("text_embeds", texts)?;
    outputs.tensor("sims_i2t", &images.clone().matmul(texts.clone().transpose()))?;
    outputs.data("score_matrix_i2t", i2t.stages.matrix([num_images, num_texts]));
    outputs.data("score_matrix_t2i", t2i.stages.matrix([num_texts, num_images]));
    let txt = collect_recalls("txt", &i2t.recall([images, texts])?, &mut outputs);
    let img = collect_recalls("img", &t2i.recall([texts, images])?, &mut outputs);
    outputs.number("r_mean", (txt + img) / 2.0);
    Ok(())
}

/// The recalls of one direction; their mean.
fn collect_recalls(name: &str, recalls: &[f32], outputs: &mut Outputs<'_>) -> f32 {
    for (k, recall) in std::iter::zip(RECALL_KS, recalls) {
        outputs.number(&format!("{name}_r{k}"), *recall);
    }
    let mean = recalls.iter().sum::<f32>() / recalls.len() as f32;
    outputs.number(&format!("{name}_r_mean"), mean);
    mean
}

/// Recall is of the first so many.
const RECALL_KS: [usize; 3] = [1, 5, 10];

fn inputs(fixture: &Fixture, device: &Device) -> Result<AlbefInputs, VerifyError> {
    let config = config(fixture, Training::Retrieval)?;
    let given = fixture.inputs("eval.", device)?;
    let text = &config.text_cfg;
    let pixels = given.images("image", config.vision_cfg.image_size)?;
    let [num_images, ..] = pixels.dims();
    let ids = given.ids("input_ids", 1..=text.context_length, text.vocab_size)?;
    let [texts, tokens] = ids.dims();
    if !texts.is_multiple_of(num_images) {
        let expected = format!("have a multiple of {num_images}, as many for each image");
        return Err(given.wrong("input_ids", &format!("has {texts} rows"), &expected));
    }
    let kept = given.integers("attention_mask", &[texts, tokens], 0..2)?;
    let nobody = Tensor::arange(0..1, given.device());
    Ok(AlbefInputs {
        pixels,
        ids,
        mask_pad: given.upload(&kept, [texts, tokens]).equal_elem(0),
        image_ids: nobody.clone(),
        caption_ids: nobody,
        masked: None,
        negatives: NegativeChoice::Hardest,
        dropout: None,
    })
}

/// The two stages of one direction, and what is right.
struct Direction {
    stages: Stages,
    relevance: Relevance,
}

/// Candidates of every query, and their scores by query and gallery row.
struct Stages {
    candidates: Vec<Vec<Hit>>,
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
    ) -> Result<Self, VerifyError> {
        let candidates = top_k(queries.clone(), gallery.clone(), k, Chunking::default())?;
        let places: Vec<(usize, usize)> = candidates
            .iter()
            .enumerate()
            .flat_map(|(query, hits)| hits.iter().map(move |hit| (query, hit.index)))
            .collect();
        let pairs: Vec<(usize, usize)> = places.iter().map(|&(query, row)| pair(query, row)).collect();
        let scores = match_scores(model, memory, texts, &pairs)?;
        Ok(Self {
            candidates,
            scores: places.into_iter().zip(scores).collect(),
        })
    }

    fn score(&self, query: usize, row: usize) -> Option<f32> {
        self.scores.get(&(query, row)).copied()
    }

    fn matrix(&self, [queries, gallery]: [usize; 2]) -> TensorData {
        let places = (0..queries * gallery).map(|place| (place / gallery, place % gallery));
        let scores: Vec<f32> = places
            .map(|(query, row)| self.score(query, row).unwrap_or(NO_SCORE))
            .collect();
        TensorData::new(scores, [queries, gallery])
    }
}

impl Direction {
    /// Rank of a query's best positive if it was not scored. The reference forgets the first stage there: all of these
    /// have the same score, and its sort puts the last of them first.
    fn among_unscored(&self, query: usize) -> Option<usize> {
        let is_scored = |row: &usize| self.stages.score(query, *row).is_some();
        let positives = self.relevance.positives(query);
        let last = *positives.last()?;
        let behind = (last + 1..self.relevance.gallery_len()).filter(|row| !is_scored(row));
        match positives.iter().any(is_scored) {
            true => None,
            false => Some(1 + self.stages.candidates[query].len() + behind.count()),
        }
    }

    /// Recall after both stages, in percent.
    fn recall(&self, [queries, gallery]: [&Tensor<2>; 2]) -> Result<Vec<f32>, VerifyError> {
        let (bar, chunking) = (ProgressBar::hidden(), Chunking::default());
        let first = ranks(queries.clone(), gallery.clone(), &self.relevance, chunking, &bar)?;
        let score = |query: usize, row: usize| self.stages.score(query, row);
        let mut ranks = reranked(&first, &self.stages.candidates, &self.relevance, score);
        for (query, rank) in ranks.iter_mut().enumerate() {
            *rank = rank.map(|rank| self.among_unscored(query).unwrap_or(rank));
        }
        let report = DirectionReport::from_ranks(&ranks, &RECALL_KS);
        Ok(report.recall.iter().map(|recall| 100.0 * recall.value as f32).collect())
    }
}
