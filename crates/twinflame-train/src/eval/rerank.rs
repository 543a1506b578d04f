//! The second stage of retrieval: an ALBEF looks again at the best of the first.
//!
//! The first stage compares embeddings, which is cheap and sees image and text apart. The second fuses each image with
//! its most similar captions, each caption with its most similar images, and orders them by how well they match (Li et
//! al. 2021, section 4.1). What the first stage ranked lower stays below, in its order.

use std::sync::Arc;

use burn::tensor::{Bool, Int, Tensor};
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};
use twinflame_model::{
    Albef,
    text::{ImageMemory, Readout},
};

use super::retrieval::share;
use super::{
    Chunking, DirectionReport, Encoder, EvalError, Hit, Relevance, RetrievalReport, SetEmbeddings, ranks, top_k,
};

/// Retrieval after the second stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RerankReport {
    /// Candidates of each query that were looked at again.
    pub k: usize,
    /// Retrieval both ways.
    pub retrieval: RetrievalReport,
}

/// How often a caption is preferred to one of the same words that is false.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CounterpartReport {
    /// Images with such a pair of captions.
    pub num_pairs: usize,
    /// Share of them in which the embedding of the true caption is nearer; chance is 0.5.
    pub itc: f64,
    /// Share of them in which the true caption matches better when fused with the image; `None` for a model that
    /// does not fuse.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub itm: Option<f64>,
}

/// Texts after the text encoder, ready to be fused with images.
#[derive(Clone, Debug)]
pub struct EncodedTexts {
    /// `[texts, tokens, width]`
    pub states: Tensor<3>,
    /// `[texts, tokens]`, true at padding
    pub mask_pad: Tensor<2, Bool>,
}

/// Scores of the captions that an image is to be fused with.
#[derive(Clone, Debug, Default)]
struct Matches {
    /// Captions, ascending.
    captions: Vec<usize>,
    /// One for each: the logit of "match".
    scores: Vec<f32>,
}

impl Matches {
    fn score(&self, caption: usize) -> Option<f32> {
        let place = self.captions.binary_search(&caption).ok()?;
        self.scores.get(place).copied()
    }
}

/// Ranks a set in two stages.
///
/// All captions stay on the device, encoded: 25,000 of 30 tokens and width 768 take 2.3 GB. Images are loaded and encoded
/// once more, a batch at a time.
///
/// # Errors
/// If images cannot be read, an embedding is not finite, or the device fails.
pub fn rerank(
    encoder: &Encoder<'_>,
    albef: &Albef,
    embeddings: &SetEmbeddings<'_>,
    k: usize,
    ks: &[usize],
    progress: &ProgressBar,
) -> Result<RerankReport, EvalError> {
    let (images, captions) = (embeddings.image_embeds(), embeddings.captions());
    let chunking = Chunking::default();
    let of_images = top_k(images.clone(), captions.clone(), k, chunking)?;
    let of_captions = top_k(captions.clone(), images.clone(), k, chunking)?;

    let mut wanted: Vec<Vec<usize>> = of_images.iter().map(|hits| indices(hits).collect()).collect();
    for (caption, hits) in of_captions.iter().enumerate() {
        indices(hits).for_each(|image| wanted[image].push(caption));
    }
    let texts = encode(encoder, albef, embeddings.set().captions());
    let matches = fuse(encoder, albef, embeddings, &texts, wanted, progress)?;

    let hidden = ProgressBar::hidden();
    let caption_to_image = embeddings.caption_to_image();
    let image_to_caption = caption_to_image.transpose();
    let first = ranks(images.clone(), captions.clone(), &image_to_caption, chunking, &hidden)?;
    let i2t = reranked(&first, &of_images, &image_to_caption, |image, caption| {
        matches[image].score(caption)
    });
    let first = ranks(captions, images, &caption_to_image, chunking, &hidden)?;
    let t2i = reranked(&first, &of_captions, &caption_to_image, |caption, image| {
        matches[image].score(caption)
    });
    Ok(RerankReport {
        k,
        retrieval: RetrievalReport {
            num_images: i2t.len(),
            num_captions: t2i.len(),
            image_to_text: DirectionReport::from_ranks(&i2t, ks),
            text_to_image: DirectionReport::from_ranks(&t2i, ks),
        },
    })
}

/// Judges a set by captions and their false counterparts; `None` if it has none.
///
/// # Errors
/// If images cannot be read, an embedding is not finite, or the device fails.
pub fn counterparts(
    encoder: &Encoder<'_>,
    albef: Option<&Albef>,
    embeddings: &SetEmbeddings<'_>,
) -> Result<Option<CounterpartReport>, EvalError> {
    // Where an image is among those that could be read.
    let place = |row: usize| embeddings.images.rows.binary_search(&row).ok();
    let pairs: Vec<(usize, &str, &str)> = embeddings
        .set()
        .counterparts()
        .iter()
        .filter_map(|pair| Some((place(pair.image)?, pair.caption.as_str(), pair.swapped.as_str())))
        .collect();
    if pairs.is_empty() {
        return Ok(None);
    }
    let captions: Vec<&str> = pairs.iter().flat_map(|(_, own, swapped)| [*own, *swapped]).collect();
    let hidden = ProgressBar::hidden();
    let embeds = encoder.text_embeds(&captions, &hidden)?;
    let rows: Vec<i32> = pairs.iter().flat_map(|(place, ..)| [*place as i32; 2]).collect();
    let rows = Tensor::<1, Int>::from_ints(rows.as_slice(), &embeds.device());
    let cosines: Vec<f32> = (embeds * embeddings.image_embeds().select(0, rows))
        .sum_dim(1)
        .try_into_vec_as()?;
    let right = |scores: &[f32]| {
        let right = scores.as_chunks::<2>().0.iter().filter(|[own, swapped]| own > swapped);
        share(right.count(), pairs.len())
    };
    let itm = match albef {
        Some(albef) => {
            let texts = encode(encoder, albef, &captions);
            let mut wanted = vec![Vec::new(); embeddings.images.rows.len()];
            for (index, (place, ..)) in pairs.iter().enumerate() {
                wanted[*place].extend([2 * index, 2 * index + 1]);
            }
            let matches = fuse(encoder, albef, embeddings, &texts, wanted, &hidden)?;
            let scores: Vec<f32> = pairs
                .iter()
                .enumerate()
                .flat_map(|(index, (place, ..))| [2 * index, 2 * index + 1].map(|text| matches[*place].score(text)))
                .map(Option::unwrap_or_default)
                .collect();
            Some(right(&scores))
        }
        None => None,
    };
    Ok(Some(CounterpartReport {
        num_pairs: pairs.len(),
        itc: right(&cosines),
        itm,
    }))
}

fn indices(hits: &[Hit]) -> impl Iterator<Item = usize> + '_ {
    hits.iter().map(|hit| hit.index)
}

/// Rank of each query's best positive, from 1, when its candidates are ordered by `score`, and by the first stage among
/// equals. `None` for a query without positives.
///
/// - first: ranks of the first stage; a query whose positives all lie behind its candidates keeps its rank
/// - candidates: the best of the first stage, best first
/// - score: of a query and a gallery row; `None` puts the row behind those with a score
pub fn reranked(
    first: &[Option<usize>],
    candidates: &[Vec<Hit>],
    relevance: &Relevance,
    score: impl Fn(usize, usize) -> Option<f32>,
) -> Vec<Option<usize>> {
    std::iter::zip(first, candidates)
        .enumerate()
        .map(|(query, (rank, hits))| {
            let rank = (*rank)?;
            let mut order: Vec<(usize, f32)> = indices(hits)
                .map(|row| (row, score(query, row).unwrap_or(f32::NEG_INFINITY)))
                .collect();
            order.sort_by(|a, b| b.1.total_cmp(&a.1));
            let place = order.iter().position(|(row, _)| relevance.is_positive(query, *row));
            Some(place.map_or(rank, |place| place + 1))
        })
        .collect()
}

/// Fuses every image with the captions that it is to be judged with.
fn fuse(
    encoder: &Encoder<'_>,
    albef: &Albef,
    embeddings: &SetEmbeddings<'_>,
    texts: &EncodedTexts,
    wanted: Vec<Vec<usize>>,
    progress: &ProgressBar,
) -> Result<Vec<Matches>, EvalError> {
    let mut matches: Vec<Matches> = wanted
        .into_iter()
        .map(|mut captions| {
            captions.sort_unstable();
            captions.dedup();
            Matches {
                captions,
                scores: Vec::new(),
            }
        })
        .collect();
    let pairs_at_a_time = encoder.loader.batch_size.max(1);
    encoder.load_images(Arc::new(embeddings.set().clone()), progress, |rows, input| {
        let states = albef.encoders.image_states(input);
        let memory = albef.encoders.text_encoder.image_memory(states);
        // Where each image is in the batch and in the set.
        let places: Vec<(usize, usize)> = rows
            .iter()
            .enumerate()
            .filter_map(|(local, row)| Some((local, embeddings.images.rows.binary_search(row).ok()?)))
            .collect();
        let pairs: Vec<(usize, usize)> = places
            .iter()
            .flat_map(|&(local, place)| matches[place].captions.iter().map(move |&caption| (local, caption)))
            .collect();
        let mut scores = Vec::with_capacity(pairs.len());
        for pairs in pairs.chunks(pairs_at_a_time) {
            scores.extend(match_scores(albef, &memory, texts, pairs)?);
        }
        let mut scores = scores.into_iter();
        for (_, place) in places {
            let matches = &mut matches[place];
            matches.scores = scores.by_ref().take(matches.captions.len()).collect();
        }
        Ok(())
    })?;
    Ok(matches)
}

/// All `texts` after the text encoder, a batch at a time.
fn encode<S: AsRef<str>>(encoder: &Encoder<'_>, albef: &Albef, texts: &[S]) -> EncodedTexts {
    let pad = i64::from(encoder.tokenizer.pad_id());
    let (mut states, mut masks) = (Vec::new(), Vec::new());
    for texts in texts.chunks(encoder.loader.batch_size.max(1)) {
        let ids = encoder.ids(texts);
        let mask_pad = ids.clone().equal_elem(pad);
        states.push(albef.encoders.text_encoder.text(ids, &mask_pad, &Readout::All, None));
        masks.push(mask_pad);
    }
    EncodedTexts {
        states: Tensor::cat(states, 0),
        mask_pad: Tensor::cat(masks, 0),
    }
}

/// How well images match texts: the logit of "match" for each pair of an image's row in `memory` and a text's in `texts`.
///
/// # Errors
/// If the device fails.
pub fn match_scores(
    albef: &Albef,
    memory: &ImageMemory,
    texts: &EncodedTexts,
    pairs: &[(usize, usize)],
) -> Result<Vec<f32>, EvalError> {
    let device = texts.states.device();
    let rows = |of: fn(&(usize, usize)) -> usize| {
        let rows: Vec<i32> = pairs.iter().map(|pair| of(pair) as i32).collect();
        Tensor::<1, Int>::from_ints(rows.as_slice(), &device)
    };
    let chosen = rows(|(_, text)| *text);
    let fused = albef.encoders.text_encoder.fusion(
        texts.states.clone().select(0, chosen.clone()),
        &texts.mask_pad.clone().select(0, chosen),
        &memory.select(&rows(|(image, _)| *image)),
        &Readout::Class,
        None,
    );
    Ok(albef.match_logits(fused).narrow(1, 1, 1).try_into_vec_as()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_are_reordered_and_the_rest_stays_behind() {
        let hits = |rows: [usize; 3]| rows.map(|index| Hit { index, score: 0.0 }).to_vec();
        let candidates = [hits([0, 1, 2]), hits([3, 1, 2]), hits([2, 0, 1]), hits([0, 1, 2])];
        let relevance = Relevance::from_pairs(4, 5, [(0, 2), (1, 4), (2, 0), (2, 2)]);
        let first = [Some(3), Some(5), Some(1), None];
        let scores = [[0.1, 0.2, 0.9], [0.0, 0.3, 0.1], [0.4, 0.5, 0.1], [0.0; 3]];
        let ranks = reranked(&first, &candidates, &relevance, |query, row| {
            scores[query].get(row).copied()
        });
        // Found third, now first; behind the candidates as before; found first, now second; no positive.
        assert_eq!(ranks, [Some(1), Some(5), Some(2), None]);
    }
}
