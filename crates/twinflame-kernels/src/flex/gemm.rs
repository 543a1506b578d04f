//! Matrix products by the library that burn's flex has them from, without what flex does around them: there every output is
//! filled with zeros, and then copied to memory of another alignment, by one thread.

use std::mem::MaybeUninit;

use gemm::Parallelism;
use rayon::prelude::*;

use super::blocks::CHUNK;

/// Multiplications of a product from which on it is spread over threads: flex's number.
const THREADED: usize = 192 * 192 * 192;

/// A matrix in memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// `rows x columns`, row after row.
    pub(crate) fn dense(values: &'a [f32], columns: usize) -> Self {
        Self::with_stride(values, [values.len() / columns, columns], columns)
    }

    /// `rows x columns`, the first elements of two rows `stride` apart.
    ///
    /// # Panics
    ///
    /// If an element lies beyond the values.
    pub(crate) fn with_stride(values: &'a [f32], [rows, columns]: [usize; 2], stride: usize) -> Self {
        if rows > 0 && columns > 0 {
            let last = (rows - 1) * stride + (columns - 1);
            assert!(
                last < values.len(),
                "{rows} rows of {columns}, {stride} apart, in {}",
                values.len()
            );
        }
        Self {
            values,
            rows,
            columns,
            row_stride: stride,
            column_stride: 1,
        }
    }

    pub(crate) fn transposed(self) -> Self {
        Self {
            values: self.values,
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }
}

/// `lhs rhs`, row after row.
pub(crate) fn product(lhs: Matrix<'_>, rhs: Matrix<'_>) -> Vec<f32> {
    let len = lhs.rows * rhs.columns;
    let mut output = Vec::with_capacity(len);
    multiply(
        lhs,
        rhs,
        Output::Fresh(&mut output.spare_capacity_mut()[..len]),
        threads(lhs, rhs),
    );
    // SAFETY: the capacity is at least `len`, and `multiply` has written the first `len` elements.
    #[allow(unsafe_code, reason = "elements that are all written need not be zeros first")]
    unsafe {
        output.set_len(len);
    }
    output
}

/// `lhs rhs`, and `bias` added to every row.
///
/// # Panics
///
/// If `bias` has not one element for each column.
pub(crate) fn product_and_bias(lhs: Matrix<'_>, rhs: Matrix<'_>, bias: &[f32]) -> Vec<f32> {
    assert_eq!(bias.len(), rhs.columns, "the bias has one element for each column");
    let len = lhs.rows * rhs.columns;
    let mut output = Vec::with_capacity(len);
    let rows = (CHUNK / bias.len().max(1)).max(1);
    if len > 0 {
        let chunks = output.spare_capacity_mut()[..len].par_chunks_mut(rows * bias.len());
        chunks.for_each(|rows| {
            for row in rows.chunks_exact_mut(bias.len()) {
                row.write_copy_of_slice(bias);
            }
        });
    }
    // SAFETY: the capacity is at least `len`, and the first `len` elements are whole rows, each of which was written.
    #[allow(unsafe_code, reason = "elements that are all written need not be zeros first")]
    unsafe {
        output.set_len(len);
    }
    multiply(lhs, rhs, Output::Added(&mut output), threads(lhs, rhs));
    output
}

/// `output = lhs rhs`, row after row, by the calling thread.
///
/// # Panics
///
/// If `output` is not as long as the product.
pub(crate) fn product_into(lhs: Matrix<'_>, rhs: Matrix<'_>, output: &mut [f32]) {
    output.fill(0.0);
    multiply(lhs, rhs, Output::Added(output), Parallelism::None);
}

fn threads(lhs: Matrix<'_>, rhs: Matrix<'_>) -> Parallelism {
    if lhs.rows * lhs.columns * rhs.columns < THREADED {
        Parallelism::None
    } else {
        Parallelism::Rayon(0)
    }
}

/// Where a product goes, row after row.
enum Output<'a> {
    /// Every element is written.
    Fresh(&'a mut [MaybeUninit<f32>]),
    /// Added to every element.
    Added(&'a mut [f32]),
}

fn multiply(lhs: Matrix<'_>, rhs: Matrix<'_>, output: Output<'_>, parallelism: Parallelism) {
    assert_eq!(
        lhs.columns, rhs.rows,
        "the columns of the left are the rows of the right"
    );
    let (len, pointer, is_read) = match output {
        Output::Fresh(output) => {
            if lhs.columns == 0 {
                output.fill(MaybeUninit::new(0.0));
                return;
            }
            (output.len(), output.as_mut_ptr().cast::<f32>(), false)
        }
        Output::Added(output) => (output.len(), output.as_mut_ptr(), true),
    };
    assert_eq!(len, lhs.rows * rhs.columns, "the output has a place for every element");
    // SAFETY: `Matrix` holds slices and has checked that its last element, and with it every other, lies in them. The output is
    // borrowed mutably, has exactly `rows * columns` elements, which lie row after row, and is only read where it is
    // initialised.
    #[allow(unsafe_code, reason = "the library takes pointers and strides")]
    unsafe {
        gemm::gemm(
            lhs.rows,
            rhs.columns,
            lhs.columns,
            pointer,
            1,
            rhs.columns as isize,
            is_read,
            lhs.values.as_ptr(),
            lhs.column_stride as isize,
            lhs.row_stride as isize,
            rhs.values.as_ptr(),
            rhs.column_stride as isize,
            rhs.row_stride as isize,
            1.0_f32,
            1.0_f32,
            false,
            false,
            false,
            parallelism,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(count: usize) -> Vec<f32> {
        (0..count)
            .map(|index| ((index * 29 % 64) as f32 - 32.0) / 8.0)
            .collect()
    }

    fn element(matrix: Matrix<'_>, row: usize, column: usize) -> f64 {
        f64::from(matrix.values[row * matrix.row_stride + column * matrix.column_stride])
    }

    fn check(lhs: Matrix<'_>, rhs: Matrix<'_>) {
        let bias = values(rhs.columns);
        let plain = product(lhs, rhs);
        let with_bias = product_and_bias(lhs, rhs, &bias);
        let mut into = vec![7.0; plain.len()];
        product_into(lhs, rhs, &mut into);
        for row in 0..lhs.rows {
            for (column, bias) in bias.iter().enumerate() {
                let terms = (0..lhs.columns).map(|k| element(lhs, row, k) * element(rhs, k, column));
                let expected: f64 = terms.sum();
                let index = row * rhs.columns + column;
                let found = [plain[index], into[index], with_bias[index] - bias];
                for found in found {
                    let error = (f64::from(found) - expected).abs();
                    assert!(error < 1e-4 * (1.0 + lhs.columns as f64), "{found} is not {expected}");
                }
            }
        }
    }

    #[test]
    fn products_of_odd_sizes_by_one_thread_and_by_many() {
        for [rows, inner, columns] in [
            [1, 1, 1],
            [3, 5, 7],
            [50, 64, 50],
            [0, 4, 3],
            [2, 0, 3],
            [205, 200, 203],
        ] {
            let [left, right] = [values(rows * inner), values(inner * columns)];
            let lhs = Matrix::with_stride(&left, [rows, inner], inner);
            let rhs = Matrix::with_stride(&right, [inner, columns], columns);
            check(lhs, rhs);
            let lhs = Matrix::with_stride(&left, [inner, rows], rows).transposed();
            let rhs = Matrix::with_stride(&right, [columns, inner], inner).transposed();
            check(lhs, rhs);
        }
    }

    #[test]
    fn a_matrix_may_be_a_part_of_wider_rows() {
        let all = values(20 * 30);
        check(
            Matrix::with_stride(&all[3..], [20, 11], 30),
            Matrix::with_stride(&all[17..], [20, 11], 30).transposed(),
        );
    }

    #[test]
    #[should_panic(expected = "20 rows of 11, 30 apart, in 580")]
    fn a_matrix_beyond_its_values_is_refused() {
        let all = values(580);
        let _ = Matrix::with_stride(&all, [20, 11], 30);
    }
}
