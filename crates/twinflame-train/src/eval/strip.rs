//! The score matrix, a strip at a time.

use burn::tensor::Tensor;

use super::EvalError;

/// How many scores a strip may hold: 128 MiB of f32.
const MAX_STRIP_SCORES: usize = 32 << 20;
/// Columns of one block; every buffer stays far below the 128 MiB that WebGPU guarantees to bind.
const MAX_BLOCK_COLUMNS: usize = 16 << 10;

/// How the score matrix is cut. The result does not depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunking {
    /// Scores held at a time.
    pub max_strip_scores: usize,
    /// Columns (gallery rows) of one matrix product.
    pub max_block_columns: usize,
    /// Rows (queries) of one strip.
    pub max_strip_rows: usize,
}

impl Default for Chunking {
    fn default() -> Self {
        Self {
            max_strip_scores: MAX_STRIP_SCORES,
            max_block_columns: MAX_BLOCK_COLUMNS,
            max_strip_rows: 2048,
        }
    }
}

/// Scores of one strip's queries with a block of the gallery.
pub(super) struct Block {
    /// Gallery row of the first column.
    pub(super) offset: usize,
    pub(super) columns: usize,
    /// `[rows, columns]`
    pub(super) scores: Tensor<2>,
}

/// Calls `visit(first query, number of queries, blocks)` for one strip after the other.
pub(super) fn for_each_strip(
    queries: Tensor<2>,
    gallery: Tensor<2>,
    chunking: Chunking,
    mut visit: impl FnMut(usize, usize, Vec<Block>) -> Result<(), EvalError>,
) -> Result<(), EvalError> {
    let [num_queries, embed_dim] = queries.dims();
    let [gallery_len, gallery_dim] = gallery.dims();
    assert_eq!(embed_dim, gallery_dim, "queries and gallery share one embedding space");
    if num_queries == 0 {
        return Ok(());
    }
    if gallery_len == 0 {
        return visit(0, num_queries, Vec::new());
    }
    let queries = check_finite(queries.without_autodiff(), "queries")?;
    let gallery = check_finite(gallery.without_autodiff(), "gallery")?;
    let strip_rows = (chunking.max_strip_scores / gallery_len).clamp(1, chunking.max_strip_rows.max(1));
    let columns = even_size(gallery_len, chunking.max_block_columns.max(1));
    for first in (0..num_queries).step_by(strip_rows) {
        let rows = strip_rows.min(num_queries - first);
        let strip = queries.clone().narrow(0, first, rows); // [rows, embed_dim]
        let blocks = (0..gallery_len)
            .step_by(columns)
            .map(|offset| {
                let columns = columns.min(gallery_len - offset);
                let scores = scores(strip.clone(), gallery.clone().narrow(0, offset, columns));
                Block {
                    offset,
                    columns,
                    scores,
                }
            })
            .collect();
        visit(first, rows, blocks)?;
    }
    Ok(())
}

/// The largest part when `len` is cut into equal parts of at most `max`: no part is left with a handful of rows.
fn even_size(len: usize, max: usize) -> usize {
    len.div_ceil(len.div_ceil(max))
}

/// `[rows, embed_dim]` x `[columns, embed_dim]` -> `[rows, columns]`
fn scores(queries: Tensor<2>, gallery: Tensor<2>) -> Tensor<2> {
    if gallery.dims()[0] == 1 {
        // burn 0.22.1's autotuned matrix product can be wrong for one column (burn#5122).
        return (queries * gallery).sum_dim(1);
    }
    queries.matmul(gallery.transpose())
}

pub(super) fn check_finite(embeds: Tensor<2>, what: &'static str) -> Result<Tensor<2>, EvalError> {
    let finite = embeds.clone().is_finite().all().try_into_scalar::<bool>()?;
    if finite {
        Ok(embeds)
    } else {
        Err(EvalError::NotFinite { what })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_even() {
        assert_eq!(even_size(10, 16), 10);
        assert_eq!(even_size(17, 16), 9);
        assert_eq!(even_size(1, 16), 1);
    }
}
