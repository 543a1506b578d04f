//! The host-side batch that the loader hands to a task.

use std::collections::HashMap;
use std::time::Duration;

/// `batch` image-caption pairs on the host: bytes and token ids, to be uploaded and normalised once by the task.
///
/// # Shapes
/// - images: `[batch, height, width, 3]`, RGB, `0..=255`, row-major
/// - tokens: `[batch, context_length]`, row-major
/// - image_ids, caption_ids, sample_indices, sample_seeds: `[batch]`
#[derive(Clone, Debug, Default)]
pub struct ImageTextBatch {
    /// Pixels, `[batch, height, width, 3]`.
    pub images: Vec<u8>,
    /// `[height, width]` in pixels.
    pub image_size: [usize; 2],
    /// Token ids, `[batch, context_length]`.
    pub tokens: Vec<i32>,
    /// Tokens per caption, specials and padding included.
    pub context_length: usize,
    /// Equal for pictures of one thing (an emoji in the drawing of two vendors, two rows of a table with one image).
    /// Only equality means something; see [`ImageTextBatch::dense_image_ids`] before an upload.
    pub image_ids: Vec<i64>,
    /// Equal if and only if the captions are the same text for the model, that is, have the same token ids.
    pub caption_ids: Vec<i64>,
    /// Position of each sample in its source.
    pub sample_indices: Vec<usize>,
    /// A pure function of (seed, pass over the data, sample index): whatever is drawn at random for the sample after
    /// loading (patch dropout) comes from it, so that it does not depend on workers, backend or resume.
    pub sample_seeds: Vec<u64>,
    /// Time the step waited for this batch.
    pub data_wait: Duration,
    /// Epoch that the batch belongs to, from 0.
    pub epoch: usize,
    /// Position of the batch in its epoch, from 0.
    pub index: usize,
}

impl ImageTextBatch {
    /// Number of pairs.
    pub fn len(&self) -> usize {
        self.sample_indices.len()
    }

    /// Whether there is no pair: every sample of an evaluation batch was unreadable.
    pub fn is_empty(&self) -> bool {
        self.sample_indices.is_empty()
    }

    /// [`image_ids`](Self::image_ids) as ranks of first appearance: what a device whose integers have 32 bits can compare.
    pub fn dense_image_ids(&self) -> Vec<i32> {
        dense(&self.image_ids)
    }

    /// [`caption_ids`](Self::caption_ids) as ranks of first appearance.
    pub fn dense_caption_ids(&self) -> Vec<i32> {
        dense(&self.caption_ids)
    }
}

fn dense(ids: &[i64]) -> Vec<i32> {
    let mut ranks = HashMap::new();
    ids.iter()
        .map(|&id| {
            let next = ranks.len() as i32;
            *ranks.entry(id).or_insert(next)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dense_ids_keep_equality_and_fit_32_bits() {
        let batch = ImageTextBatch {
            image_ids: vec![1 << 40, 7, 1 << 40, -3, 1 << 8],
            caption_ids: vec![i64::MIN, i64::MIN, i64::MAX],
            ..ImageTextBatch::default()
        };
        assert_eq!(batch.dense_image_ids(), [0, 1, 0, 2, 3]);
        assert_eq!(batch.dense_caption_ids(), [0, 0, 1]);
    }
}
