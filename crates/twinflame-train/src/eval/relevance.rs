//! Which gallery rows answer which query, when the relation is many to many.

use std::collections::HashMap;

/// For each query, the gallery rows that count as right.
///
/// Many to many: an image has several captions, a caption (an emoji drawn by several vendors) has several images.
/// Stored as one flat list with offsets, so that a query costs what its positives cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relevance {
    /// `offsets[q]..offsets[q + 1]` is the part of `positives` that belongs to query `q`.
    offsets: Vec<usize>,
    /// Gallery rows, ascending and without repetition within a query.
    positives: Vec<usize>,
    gallery_len: usize,
}

impl Relevance {
    /// A relation from pairs `(query, gallery row)`; repeated pairs count once.
    ///
    /// # Panics
    /// If a pair names a query or a gallery row that does not exist.
    pub fn from_pairs(num_queries: usize, gallery_len: usize, pairs: impl IntoIterator<Item = (usize, usize)>) -> Self {
        let mut lists = vec![Vec::new(); num_queries];
        for (query, row) in pairs {
            assert!(query < num_queries, "query {query} of {num_queries}");
            assert!(row < gallery_len, "gallery row {row} of {gallery_len}");
            lists[query].push(row);
        }
        Self::from_lists(lists, gallery_len)
    }

    /// A relation in which a query and a gallery row belong together when their ids are equal.
    pub fn from_ids(query_ids: &[i64], gallery_ids: &[i64]) -> Self {
        let mut rows_of_id: HashMap<i64, Vec<usize>> = HashMap::new();
        for (row, &id) in gallery_ids.iter().enumerate() {
            rows_of_id.entry(id).or_default().push(row);
        }
        let lists = query_ids
            .iter()
            .map(|id| rows_of_id.get(id).cloned().unwrap_or_default())
            .collect();
        Self::from_lists(lists, gallery_ids.len())
    }

    /// A relation in which query `q` has the one right answer `labels[q]`, as in classification.
    ///
    /// # Panics
    /// If a label is not below `gallery_len`.
    pub fn from_labels(labels: &[usize], gallery_len: usize) -> Self {
        Self::from_pairs(labels.len(), gallery_len, labels.iter().copied().enumerate())
    }

    fn from_lists(lists: Vec<Vec<usize>>, gallery_len: usize) -> Self {
        let mut offsets = Vec::with_capacity(lists.len() + 1);
        let mut positives = Vec::new();
        offsets.push(0);
        for mut rows in lists {
            rows.sort_unstable();
            rows.dedup();
            positives.extend(rows);
            offsets.push(positives.len());
        }
        Self {
            offsets,
            positives,
            gallery_len,
        }
    }

    /// Number of queries, with and without positives.
    pub fn num_queries(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Number of rows in the gallery.
    pub fn gallery_len(&self) -> usize {
        self.gallery_len
    }

    /// The gallery rows that answer `query`, ascending; empty if nothing does.
    ///
    /// # Panics
    /// If `query` is not below [`Relevance::num_queries`].
    pub fn positives(&self, query: usize) -> &[usize] {
        &self.positives[self.offsets[query]..self.offsets[query + 1]]
    }

    /// True if `row` answers `query`.
    pub fn is_positive(&self, query: usize, row: usize) -> bool {
        self.positives(query).binary_search(&row).is_ok()
    }

    /// The same relation, seen from the gallery.
    pub fn transpose(&self) -> Self {
        let pairs =
            (0..self.num_queries()).flat_map(|query| self.positives(query).iter().map(move |&row| (row, query)));
        Self::from_pairs(self.gallery_len, self.num_queries(), pairs)
    }
}

/// The captions of a set with repetitions of the same text merged, and the relation to its images.
///
/// A text that describes several images is *one* gallery entry with several right images: otherwise its copies would
/// push each other down the list, and image-to-text recall would fall for no fault of the model.
#[derive(Clone, Debug)]
pub struct DistinctCaptions {
    /// For each distinct caption, the position of its first occurrence in the caller's list.
    pub first: Vec<usize>,
    /// Distinct captions (queries) against images (gallery).
    pub caption_to_image: Relevance,
}

impl DistinctCaptions {
    /// Merges captions with equal `keys` (a caption's cleaned text, or an id of it); `images[i]` is the image of
    /// caption `i`.
    ///
    /// # Panics
    /// If `keys` and `images` differ in length or an image is not below `num_images`.
    pub fn new<K: Eq + std::hash::Hash>(
        keys: impl IntoIterator<Item = K>,
        images: &[usize],
        num_images: usize,
    ) -> Self {
        let mut first = Vec::new();
        let mut seen: HashMap<K, usize> = HashMap::new();
        let mut pairs = Vec::with_capacity(images.len());
        let mut num_keys = 0;
        for (position, key) in keys.into_iter().enumerate() {
            num_keys += 1;
            let caption = *seen.entry(key).or_insert_with(|| {
                first.push(position);
                first.len() - 1
            });
            if let Some(&image) = images.get(position) {
                pairs.push((caption, image));
            }
        }
        assert_eq!(num_keys, images.len(), "one image per caption");
        let caption_to_image = Relevance::from_pairs(first.len(), num_images, pairs);
        Self {
            first,
            caption_to_image,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_captions_become_one_entry_with_all_their_images() {
        let captions = ["a cat", "a dog", "a cat", "a bird"];
        let distinct = DistinctCaptions::new(captions, &[0, 1, 2, 2], 3);
        assert_eq!(distinct.first, [0, 1, 3]);
        assert_eq!(distinct.caption_to_image.positives(0), [0, 2]);
        assert_eq!(distinct.caption_to_image.positives(1), [1]);
        let image_to_caption = distinct.caption_to_image.transpose();
        assert_eq!(image_to_caption.positives(2), [0, 2]);
        assert_eq!(image_to_caption.transpose(), distinct.caption_to_image);
    }

    #[test]
    fn ids_match_many_to_many() {
        let relevance = Relevance::from_ids(&[7, 8, 9], &[8, 7, 7]);
        assert_eq!(relevance.positives(0), [1, 2]);
        assert_eq!(relevance.positives(1), [0]);
        assert!(relevance.positives(2).is_empty());
        assert!(relevance.is_positive(0, 2) && !relevance.is_positive(0, 0));
    }

    #[test]
    fn repeated_pairs_count_once() {
        let relevance = Relevance::from_pairs(1, 3, [(0, 2), (0, 0), (0, 2)]);
        assert_eq!(relevance.positives(0), [0, 2]);
    }
}
