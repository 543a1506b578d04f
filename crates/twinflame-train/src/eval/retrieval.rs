//! Recall, median and mean rank of image-to-text and text-to-image retrieval.

use burn::tensor::Tensor;
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};

use super::{Chunking, DistinctCaptions, EvalError, Relevance, ranks};

/// The list lengths at which recall is usually reported (Radford et al. 2021, table 13).
pub const RECALL_KS: [usize; 3] = [1, 5, 10];

/// Share of queries with a right answer among the first `k`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recall {
    /// Length of the list.
    pub k: usize,
    /// Between 0 and 1. A query counts in full as soon as *any* of its positives is among the first `k`.
    pub value: f64,
}

/// Retrieval in one direction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DirectionReport {
    /// Recall at each `k` asked for, in that order.
    pub recall: Vec<Recall>,
    /// Median rank of the best positive, from 1. As open_clip: the lower whole number when the median falls between
    /// two.
    pub median_rank: usize,
    /// Mean rank of the best positive, from 1.
    pub mean_rank: f64,
    /// Queries that were ranked.
    pub num_queries: usize,
    /// Queries left out because the gallery holds no right answer for them.
    pub num_without_positive: usize,
}

impl DirectionReport {
    /// Summarises the ranks that [`ranks`] found.
    ///
    /// Recall is 0 and ranks are 0 if no query has a positive.
    pub fn from_ranks(ranks: &[Option<usize>], ks: &[usize]) -> Self {
        let mut found: Vec<usize> = ranks.iter().flatten().copied().collect();
        found.sort_unstable();
        let num_queries = found.len();
        let recall = ks
            .iter()
            .map(|&k| Recall {
                k,
                value: share(found.partition_point(|&rank| rank <= k), num_queries),
            })
            .collect();
        // The mean of the two middle ranks, rounded down; both are the same one when the number is odd.
        let median_rank = match num_queries {
            0 => 0,
            n => (found[(n - 1) / 2] + found[n / 2]) / 2,
        };
        Self {
            recall,
            median_rank,
            mean_rank: share(found.iter().sum(), num_queries),
            num_queries,
            num_without_positive: ranks.len() - num_queries,
        }
    }

    /// Recall at `k`, if it was asked for.
    pub fn recall_at(&self, k: usize) -> Option<f64> {
        self.recall
            .iter()
            .find(|recall| recall.k == k)
            .map(|recall| recall.value)
    }
}

pub(crate) fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// Retrieval both ways between images and distinct captions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RetrievalReport {
    /// Images ask, captions answer.
    pub image_to_text: DirectionReport,
    /// Captions ask, images answer.
    pub text_to_image: DirectionReport,
    /// Images in the gallery.
    pub num_images: usize,
    /// Distinct captions in the gallery.
    pub num_captions: usize,
}

/// Ranks images against captions and captions against images.
///
/// Memory is a fixed strip of scores and one rank per query, never the whole matrix.
///
/// # Shapes
/// - image_embeds: `[num_images, embed_dim]`, rows of length 1
/// - caption_embeds: `[num_captions, embed_dim]`, rows of length 1, one per *distinct* caption (see
///   [`DistinctCaptions`])
///
/// # Errors
/// If an embedding is not finite or the device fails.
///
/// # Panics
/// If `caption_to_image` speaks of other numbers of captions or images.
pub fn retrieval(
    image_embeds: Tensor<2>,
    caption_embeds: Tensor<2>,
    caption_to_image: &Relevance,
    ks: &[usize],
    progress: &ProgressBar,
) -> Result<RetrievalReport, EvalError> {
    let image_to_caption = caption_to_image.transpose();
    let chunking = Chunking::default();
    let i2t = ranks(
        image_embeds.clone(),
        caption_embeds.clone(),
        &image_to_caption,
        chunking,
        progress,
    )?;
    let t2i = ranks(caption_embeds, image_embeds, caption_to_image, chunking, progress)?;
    Ok(RetrievalReport {
        num_images: i2t.len(),
        num_captions: t2i.len(),
        image_to_text: DirectionReport::from_ranks(&i2t, ks),
        text_to_image: DirectionReport::from_ranks(&t2i, ks),
    })
}

/// Retrieval among pairs whose embeddings were gathered batch by batch, as a validation pass does.
///
/// Row `i` of both tensors is pair `i`. Captions with one id are one gallery entry; an image and a caption belong
/// together if any pair joins the caption with that image or with another picture of the same `image_id`.
///
/// # Shapes
/// - image_embeds, text_embeds: `[num_pairs, embed_dim]`, rows of length 1
///
/// # Errors
/// If an embedding is not finite or the device fails.
///
/// # Panics
/// If the ids and the embeddings differ in number.
pub fn pair_retrieval(
    image_embeds: Tensor<2>,
    text_embeds: Tensor<2>,
    image_ids: &[i64],
    caption_ids: &[i64],
    ks: &[usize],
) -> Result<RetrievalReport, EvalError> {
    let [num_pairs, _] = image_embeds.dims();
    assert_eq!(image_ids.len(), num_pairs, "one image id per pair");
    assert_eq!(text_embeds.dims()[0], num_pairs, "one caption per pair");
    let own: Vec<usize> = (0..num_pairs).collect();
    let distinct = DistinctCaptions::new(caption_ids.iter().copied(), &own, num_pairs);
    let same_image = Relevance::from_ids(image_ids, image_ids);
    let pairs = distinct.first.iter().enumerate().flat_map(|(caption, _)| {
        let images = distinct.caption_to_image.positives(caption);
        let same_image = &same_image;
        images
            .iter()
            .flat_map(move |&image| same_image.positives(image).iter().map(move |&other| (caption, other)))
    });
    let caption_to_image = Relevance::from_pairs(distinct.first.len(), num_pairs, pairs);
    let first: Vec<i32> = distinct.first.iter().map(|&row| row as i32).collect();
    let first = Tensor::from_ints(first.as_slice(), &text_embeds.device());
    let captions = text_embeds.select(0, first); // [num_captions, embed_dim]
    retrieval(image_embeds, captions, &caption_to_image, ks, &ProgressBar::hidden())
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    /// The toy of the reference values: scores of six texts with three images, two texts per image.
    fn toy() -> (Tensor<2>, Tensor<2>, Relevance) {
        let device = Device::flex();
        let texts = [
            [0.9, 0.1, 0.3],
            [0.2, 0.8, 0.4],
            [0.5, 0.6, 0.1],
            [0.3, 0.7, 0.2],
            [0.1, 0.2, 0.9],
            [0.4, 0.4, 0.3],
        ];
        let images = Tensor::<2>::eye(3, &device);
        let pairs = [0, 0, 1, 1, 2, 2].into_iter().enumerate();
        (
            images,
            Tensor::<2>::from_floats(texts, &device),
            Relevance::from_pairs(6, 3, pairs),
        )
    }

    fn close(found: Option<f64>, expected: f64) -> bool {
        found.is_some_and(|found| (found - expected).abs() < 1e-12)
    }

    #[test]
    fn toy_recall_counts_any_positive() {
        let (images, texts, relevance) = toy();
        let report = retrieval(images, texts, &relevance, &[1, 2, 3], &ProgressBar::hidden()).unwrap();
        let (i2t, t2i) = (&report.image_to_text, &report.text_to_image);
        assert!(close(t2i.recall_at(1), 2.0 / 3.0), "{t2i:?}");
        assert!(close(t2i.recall_at(2), 2.0 / 3.0), "{t2i:?}");
        assert!(close(t2i.recall_at(3), 1.0), "{t2i:?}");
        assert!(close(i2t.recall_at(1), 2.0 / 3.0), "{i2t:?}");
        assert!(close(i2t.recall_at(2), 1.0), "{i2t:?}");
        // Ranks: texts 1, 3, 1, 1, 1, 3; images 1, 2, 1.
        assert_eq!((t2i.median_rank, i2t.median_rank), (1, 1));
        assert!((t2i.mean_rank - 10.0 / 6.0).abs() < 1e-12);
        assert!((i2t.mean_rank - 4.0 / 3.0).abs() < 1e-12);
        assert_eq!((report.num_images, report.num_captions), (3, 6));
    }

    #[test]
    fn median_between_two_ranks_is_rounded_down() {
        let report = DirectionReport::from_ranks(&[Some(1), Some(4), None], &[1]);
        assert_eq!(
            (report.median_rank, report.num_queries, report.num_without_positive),
            (2, 2, 1)
        );
    }

    #[test]
    fn no_positive_at_all_is_zero_not_nan() {
        let report = DirectionReport::from_ranks(&[None, None], &RECALL_KS);
        assert_eq!(report.recall_at(10), Some(0.0));
        assert_eq!(report.mean_rank, 0.0);
    }

    /// Two vendors draw emoji 1; its caption is one entry and either drawing answers it.
    #[test]
    fn pairs_of_one_image_id_are_all_right() {
        let device = Device::flex();
        let images = Tensor::<2>::from_data(TensorData::from([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]]), &device);
        let texts = Tensor::<2>::from_data(TensorData::from([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]]), &device);
        let report = pair_retrieval(images, texts, &[1, 1, 2], &[10, 10, 20], &[1, 2]).unwrap();
        assert_eq!((report.num_images, report.num_captions), (3, 2));
        // Image 0 prefers caption 20, images 1 and 2 caption 10; caption 10 finds image 1, caption 20 finds image 0.
        assert!(close(report.image_to_text.recall_at(1), 1.0 / 3.0), "{report:?}");
        assert!(close(report.text_to_image.recall_at(1), 0.5), "{report:?}");
        assert!(close(report.text_to_image.recall_at(2), 1.0), "{report:?}");
    }
}
