//! Ranks and top-k lists from embeddings, without ever holding the whole score matrix.
//!
//! A *strip* of scores, a few queries against the whole gallery, is computed at a time, in blocks of columns. Memory
//! is one strip (a fixed budget) plus what is kept of each query: one rank, or `k` hits. The full matrix is what runs
//! out of memory in the references (open_clip#11, #436).
//!
//! Equal scores are ordered by index, lower first, in both functions, whatever the backend does with ties.

use burn::tensor::{Int, Tensor};
use indicatif::ProgressBar;

use super::strip::{Block, Chunking, for_each_strip};
use super::{EvalError, Relevance};

/// One entry of a top-k list.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// Row of the gallery.
    pub index: usize,
    /// Inner product of the query with that row; the cosine if both have length 1.
    pub score: f32,
}

/// The rank of each query's best positive, counted from 1; `None` for a query without positives.
///
/// Exact: the rank is one plus the number of gallery rows that score higher, or as high with a lower index.
///
/// # Shapes
/// - queries: `[num_queries, embed_dim]`
/// - gallery: `[gallery_len, embed_dim]`
///
/// # Errors
/// If an embedding is not finite or the device fails.
///
/// # Panics
/// If `relevance` speaks of another number of queries or gallery rows, or the embedding sizes differ.
pub fn ranks(
    queries: Tensor<2>,
    gallery: Tensor<2>,
    relevance: &Relevance,
    chunking: Chunking,
    progress: &ProgressBar,
) -> Result<Vec<Option<usize>>, EvalError> {
    assert_eq!(
        queries.dims()[0],
        relevance.num_queries(),
        "one relevance entry per query"
    );
    assert_eq!(
        gallery.dims()[0],
        relevance.gallery_len(),
        "relevance speaks of this gallery"
    );
    let mut ranks = Vec::with_capacity(relevance.num_queries());
    for_each_strip(queries, gallery, chunking, |first_query, rows, blocks| {
        let best = best_positives(first_query, rows, &blocks, relevance)?;
        let ahead = count_ahead(&blocks, &best)?;
        ranks.extend(best.iter().zip(ahead).map(|(best, ahead)| best.map(|_| ahead + 1)));
        progress.inc(rows as u64);
        Ok(())
    })?;
    Ok(ranks)
}

/// The `k` best gallery rows of each query, best first (fewer if the gallery is smaller).
///
/// # Shapes
/// - queries: `[num_queries, embed_dim]`
/// - gallery: `[gallery_len, embed_dim]`
///
/// # Errors
/// If an embedding is not finite or the device fails.
///
/// # Panics
/// If the embedding sizes differ.
pub fn top_k(queries: Tensor<2>, gallery: Tensor<2>, k: usize, chunking: Chunking) -> Result<Vec<Vec<Hit>>, EvalError> {
    let mut lists = Vec::with_capacity(queries.dims()[0]);
    if k == 0 {
        lists.resize(queries.dims()[0], Vec::new());
        return Ok(lists);
    }
    for_each_strip(queries, gallery, chunking, |_, rows, blocks| {
        let mut strip: Vec<Vec<Hit>> = vec![Vec::new(); rows];
        for block in blocks {
            for (list, hits) in strip.iter_mut().zip(block_top_k(block, k)?) {
                list.extend(hits);
            }
        }
        for list in &mut strip {
            list.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.index.cmp(&b.index)));
            list.truncate(k);
        }
        lists.append(&mut strip);
        Ok(())
    })?;
    Ok(lists)
}

/// Score and gallery row of each query's best positive: the highest score, the lowest row among equals.
fn best_positives(
    first_query: usize,
    rows: usize,
    blocks: &[Block],
    relevance: &Relevance,
) -> Result<Vec<Option<Hit>>, EvalError> {
    let mut best: Vec<Option<Hit>> = vec![None; rows];
    for block in blocks {
        let in_block: Vec<&[usize]> = (0..rows)
            .map(|row| part_in(relevance.positives(first_query + row), block.offset, block.columns))
            .collect();
        let width = in_block.iter().map(|part| part.len()).max().unwrap_or(0);
        if width == 0 {
            continue;
        }
        // Short lists are padded with column 0, which is read and then ignored.
        let mut columns = vec![0_i32; rows * width];
        for (row, part) in in_block.iter().enumerate() {
            for (slot, &positive) in part.iter().enumerate() {
                columns[row * width + slot] = (positive - block.offset) as i32;
            }
        }
        let index = int_tensor(columns, [rows, width], block);
        let values: Vec<f32> = block.scores.clone().gather(1, index).try_into_vec_as()?; // [rows, width]
        for (row, part) in in_block.iter().enumerate() {
            for (slot, &index) in part.iter().enumerate() {
                let score = values[row * width + slot];
                // Rows ascend, so a later equal score never replaces an earlier one.
                if best[row].is_none_or(|best| score > best.score) {
                    best[row] = Some(Hit { index, score });
                }
            }
        }
    }
    Ok(best)
}

/// The positives that lie in `[offset, offset + columns)`.
fn part_in(positives: &[usize], offset: usize, columns: usize) -> &[usize] {
    let start = positives.partition_point(|&row| row < offset);
    let end = positives.partition_point(|&row| row < offset + columns);
    &positives[start..end]
}

/// For each query, how many gallery rows are listed before its best positive. The scores are those of
/// `best_positives`, bit for bit, so a row is never counted against itself.
fn count_ahead(blocks: &[Block], best: &[Option<Hit>]) -> Result<Vec<usize>, EvalError> {
    let rows = best.len();
    let mut ahead = vec![0_usize; rows];
    let threshold: Vec<f32> = best.iter().map(|hit| hit.map_or(0.0, |hit| hit.score)).collect();
    for block in blocks {
        let device = block.scores.device();
        let threshold = Tensor::<1>::from_floats(threshold.as_slice(), &device).reshape([rows, 1]);
        // Where the best positive stands relative to this block: columns left of it win ties.
        let limit: Vec<i32> = best
            .iter()
            .map(|hit| {
                hit.map_or(0, |hit| {
                    hit.index.saturating_sub(block.offset).min(block.columns) as i32
                })
            })
            .collect();
        let limit = int_tensor(limit, [rows, 1], block).expand([rows, block.columns]);
        let column = Tensor::<1, Int>::arange(0..block.columns as i64, (&device, limit.dtype()))
            .reshape([1, block.columns])
            .expand([rows, block.columns]);
        let threshold = threshold.expand([rows, block.columns]);
        let higher = block.scores.clone().greater(threshold.clone());
        let tied_before = block.scores.clone().equal(threshold).bool_and(column.lower(limit));
        let counts: Vec<i32> = higher.bool_or(tied_before).int().sum_dim(1).try_into_vec_as()?;
        for (total, count) in ahead.iter_mut().zip(counts) {
            *total += count as usize;
        }
    }
    Ok(ahead)
}

/// The `k` best columns of a block for each of its rows, in no particular order.
fn block_top_k(block: Block, k: usize) -> Result<Vec<Vec<Hit>>, EvalError> {
    let rows = block.scores.dims()[0];
    let k = k.min(block.columns);
    let device = block.scores.device();
    let (values, indices) = block.scores.clone().topk_with_indices(k, 1); // [rows, k] each
    // Which of several equal scores a backend keeps is its own affair. Those above the k-th value are certain; for the
    // k-th value itself the columns are asked again, the lowest first. A block has few enough columns for f32 to count
    // them exactly.
    let kth = values.clone().narrow(1, k - 1, 1).expand([rows, block.columns]);
    let column = Tensor::<1, Int>::arange(0..block.columns as i64, &device).float();
    let from_left = column.neg().reshape([1, block.columns]).expand([rows, block.columns]);
    let tied = from_left
        .mask_fill(block.scores.equal(kth).bool_not(), f32::MIN)
        .topk(k, 1); // [rows, k]
    let values: Vec<f32> = values.try_into_vec_as()?;
    let indices: Vec<i64> = indices.try_into_vec_as()?;
    let tied: Vec<f32> = tied.try_into_vec_as()?;
    let lists = (0..rows).map(|row| {
        let part = row * k..(row + 1) * k;
        let kth = values[part.end - 1];
        let certain = values[part.clone()]
            .iter()
            .zip(&indices[part.clone()])
            .filter(|(score, _)| **score > kth)
            .map(|(&score, &index)| Hit {
                index: block.offset + index as usize,
                score,
            });
        let tied = tied[part]
            .iter()
            .filter(|negative| **negative > f32::MIN)
            .map(|negative| Hit {
                index: block.offset + (-negative) as usize,
                score: kth,
            });
        certain.chain(tied).take(k).collect()
    });
    Ok(lists.collect())
}

fn int_tensor(values: Vec<i32>, shape: [usize; 2], block: &Block) -> Tensor<2, Int> {
    Tensor::<1, Int>::from_ints(values.as_slice(), &block.scores.device()).reshape(shape)
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};
    use proptest::prelude::*;

    use super::*;

    /// Embeddings whose products are the given scores: one-hot queries against the transposed matrix.
    fn from_scores(scores: &[Vec<f32>]) -> (Tensor<2>, Tensor<2>) {
        let device = Device::flex();
        let (rows, columns) = (scores.len(), scores[0].len());
        let data = TensorData::new(scores.concat(), [rows, columns]);
        (
            Tensor::eye(rows, &device),
            Tensor::<2>::from_data(data, &device).transpose(),
        )
    }

    fn full_sort(row: &[f32]) -> Vec<usize> {
        let mut order: Vec<usize> = (0..row.len()).collect();
        order.sort_by(|&a, &b| row[b].total_cmp(&row[a]).then(a.cmp(&b)));
        order
    }

    #[test]
    fn equal_scores_are_listed_lower_index_first() {
        let (queries, gallery) = from_scores(&[vec![0.5, 0.9, 0.5, 0.5, 0.1]]);
        let hits = top_k(queries.clone(), gallery.clone(), 3, Chunking::default()).unwrap();
        assert_eq!(hits[0].iter().map(|hit| hit.index).collect::<Vec<_>>(), [1, 0, 2]);
        for (positive, rank) in [(0, 2), (1, 1), (2, 3), (3, 4), (4, 5)] {
            let relevance = Relevance::from_pairs(1, 5, [(0, positive)]);
            let found = ranks(
                queries.clone(),
                gallery.clone(),
                &relevance,
                Chunking::default(),
                &ProgressBar::hidden(),
            );
            assert_eq!(found.unwrap(), [Some(rank)], "positive {positive}");
        }
    }

    #[test]
    fn query_without_positives_has_no_rank() {
        let (queries, gallery) = from_scores(&[vec![0.1, 0.2], vec![0.3, 0.4]]);
        let relevance = Relevance::from_pairs(2, 2, [(1, 0)]);
        let found = ranks(
            queries,
            gallery,
            &relevance,
            Chunking::default(),
            &ProgressBar::hidden(),
        )
        .unwrap();
        assert_eq!(found, [None, Some(2)]);
    }

    #[test]
    fn nan_is_an_error_that_says_where() {
        let (queries, gallery) = from_scores(&[vec![0.1, f32::NAN]]);
        let error = top_k(queries, gallery, 1, Chunking::default()).unwrap_err();
        assert!(error.to_string().contains("gallery"), "{error}");
    }

    #[test]
    fn empty_gallery_gives_empty_lists() {
        let device = Device::flex();
        let lists = top_k(
            Tensor::ones([2, 3], &device),
            Tensor::empty([0, 3], &device),
            4,
            Chunking::default(),
        )
        .unwrap();
        assert!(lists.iter().all(Vec::is_empty));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Few distinct values, so that ties are everywhere.
        #[test]
        fn streamed_equals_full_sort(
            scores in (1..7_usize, 1..12_usize).prop_flat_map(|(rows, columns)| {
                prop::collection::vec(prop::collection::vec((0..6_u8).prop_map(|v| f32::from(v) / 4.0), columns), rows)
            }),
            strip_rows in 1..4_usize,
            block_columns in 1..6_usize,
            k in 1..9_usize,
            seed in any::<u64>(),
        ) {
            let (rows, columns) = (scores.len(), scores[0].len());
            let chunking = Chunking { max_strip_scores: 64, max_block_columns: block_columns, max_strip_rows: strip_rows };
            let pairs = (0..rows * columns).filter(|i| (seed >> (i % 64)) & 3 == 0).map(|i| (i / columns, i % columns));
            let relevance = Relevance::from_pairs(rows, columns, pairs);
            let (queries, gallery) = from_scores(&scores);
            let found = ranks(queries.clone(), gallery.clone(), &relevance, chunking, &ProgressBar::hidden()).unwrap();
            let lists = top_k(queries, gallery, k, chunking).unwrap();
            for (query, row) in scores.iter().enumerate() {
                let order = full_sort(row);
                let expected = order.iter().position(|&item| relevance.is_positive(query, item)).map(|place| place + 1);
                prop_assert_eq!(found[query], expected);
                let indices: Vec<usize> = lists[query].iter().map(|hit| hit.index).collect();
                prop_assert_eq!(&indices[..], &order[..k.min(columns)]);
                for hit in &lists[query] {
                    prop_assert_eq!(hit.score, row[hit.index]);
                }
            }
        }
    }
}
