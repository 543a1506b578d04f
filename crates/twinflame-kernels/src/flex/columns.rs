//! Sums of columns.

use macerator::{AutoArch, Simd, WithSimd};
use rayon::prelude::*;

/// Columns that a thread sums at a time: 1 KiB of each row.
const COLUMNS: usize = 256;

/// The sum of all rows of `columns` elements, in their order: the same bits with any number of threads.
pub(crate) fn sum(rows: &[f32], columns: usize) -> Vec<f32> {
    let mut sums = vec![0.0; columns];
    sums.par_chunks_mut(COLUMNS).enumerate().for_each(|(chunk, sums)| {
        AutoArch::new().dispatch(Sum {
            rows,
            columns,
            first: chunk * COLUMNS,
            sums,
        });
    });
    sums
}

struct Sum<'a> {
    rows: &'a [f32],
    columns: usize,
    first: usize,
    sums: &'a mut [f32],
}

impl WithSimd for Sum<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self) {
        for row in self.rows.chunks_exact(self.columns) {
            let row = &row[self.first..self.first + self.sums.len()];
            for (sum, value) in self.sums.iter_mut().zip(row) {
                *sum += value;
            }
        }
    }
}
