//! How a tensor here and the tensor of the same meaning in open_clip lie.

/// Relation between a tensor of this crate and open_clip's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// The same elements in the same order; a `[1]` here is a scalar there.
    Same,
    /// A `Linear` weight: `[input, output]` here, `[output, input]` there.
    Transposed,
    /// The patch embedding: `[3 patch patch, width]` here, the convolution `[width, 3, patch, patch]` there.
    Patches,
}

impl Layout {
    /// open_clip's shape for a tensor that has this shape here.
    pub fn open_clip_shape(self, shape: &[usize]) -> Vec<usize> {
        match (self, shape) {
            (Self::Same, [1]) => Vec::new(),
            (Self::Transposed, &[rows, columns]) => vec![columns, rows],
            (Self::Patches, &[rows, columns]) => {
                let patch = (rows / 3).isqrt();
                vec![columns, 3, patch, patch]
            }
            _ => shape.to_vec(),
        }
    }

    /// Elements in open_clip's order, from a tensor of this crate with the given shape.
    pub fn to_open_clip(self, values: Vec<f32>, shape: &[usize]) -> Vec<f32> {
        match (self, shape) {
            (Self::Transposed | Self::Patches, &[rows, columns]) => transpose(&values, rows, columns),
            _ => values,
        }
    }

    /// The reverse of [`Layout::to_open_clip`]; `shape` is this crate's.
    pub fn from_open_clip(self, values: Vec<f32>, shape: &[usize]) -> Vec<f32> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways() {
        let values = vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let there = Layout::Transposed.to_open_clip(values.clone(), &[2, 3]);
        assert_eq!(there, [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
        assert_eq!(Layout::Transposed.from_open_clip(there, &[2, 3]), values);
        assert_eq!(Layout::Transposed.open_clip_shape(&[2, 3]), [3, 2]);
        assert_eq!(Layout::Patches.open_clip_shape(&[192, 48]), [48, 3, 8, 8]);
        assert_eq!(Layout::Same.open_clip_shape(&[1]), [0usize; 0]);
    }
}
