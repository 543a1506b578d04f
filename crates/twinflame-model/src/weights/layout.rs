//! How a tensor here and the tensor of the same meaning in the reference lie.

/// Relation between a tensor of this crate and the reference's (open_clip for CLIP, salesforce/ALBEF for ALBEF).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// The same elements in the same order; a `[1]` here is a scalar there.
    Same,
    /// A `Linear` weight: `[input, output]` here, `[output, input]` there.
    Transposed,
    /// The patch embedding: `[3 patch patch, width]` here, the convolution `[width, 3, patch, patch]` there.
    Patches,
    /// The same elements in the same order; there with this many axes of length 1 in front.
    Leading(usize),
}

impl Layout {
    /// The reference's shape for a tensor that has this shape here.
    pub fn reference_shape(self, shape: &[usize]) -> Vec<usize> {
        match (self, shape) {
            (Self::Same, [1]) => Vec::new(),
            (Self::Transposed, &[rows, columns]) => vec![columns, rows],
            (Self::Patches, &[rows, columns]) => {
                let patch = (rows / 3).isqrt();
                vec![columns, 3, patch, patch]
            }
            (Self::Leading(axes), shape) => [&vec![1; axes], shape].concat(),
            _ => shape.to_vec(),
        }
    }

    /// Elements in the reference's order, from a tensor of this crate with the given shape.
    pub fn to_reference(self, values: Vec<f32>, shape: &[usize]) -> Vec<f32> {
        match (self, shape) {
            (Self::Transposed | Self::Patches, &[rows, columns]) => transpose(&values, rows, columns),
            _ => values,
        }
    }

    /// The reverse of [`Layout::to_reference`]; `shape` is this crate's.
    pub fn from_reference(self, values: Vec<f32>, shape: &[usize]) -> Vec<f32> {
        match (self, shape) {
            (Self::Transposed | Self::Patches, &[rows, columns]) => transpose(&values, columns, rows),
            _ => values,
        }
    }
}

/// Row-major `[rows, columns]` to row-major `[columns, rows]`.
fn transpose(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(values.len());
    for column in 0..columns {
        out.extend((0..rows).map(|row| values[row * columns + column]));
    }
    out
}

/// [`transpose`] for elements of any type, as bytes; their number and the shape say how long one is.
pub(super) fn transpose_bytes(bytes: &[u8], rows: usize, columns: usize) -> Vec<u8> {
    let size = bytes.len() / (rows * columns).max(1);
    let mut out = Vec::with_capacity(bytes.len());
    for column in 0..columns {
        out.extend((0..rows).flat_map(|row| &bytes[(row * columns + column) * size..][..size]));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways() {
        let values = vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let there = Layout::Transposed.to_reference(values.clone(), &[2, 3]);
        assert_eq!(there, [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
        assert_eq!(Layout::Transposed.from_reference(there, &[2, 3]), values);
        assert_eq!(Layout::Transposed.reference_shape(&[2, 3]), [3, 2]);
        assert_eq!(Layout::Patches.reference_shape(&[192, 48]), [48, 3, 8, 8]);
        assert_eq!(Layout::Same.reference_shape(&[1]), [0usize; 0]);
        assert_eq!(Layout::Leading(2).reference_shape(&[4]), [1, 1, 4]);
    }
}
