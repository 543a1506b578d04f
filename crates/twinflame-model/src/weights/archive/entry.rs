//! One tensor of a file: where its elements are, and how they become values.

use std::ops::Range;

use burn::tensor::{DType, TensorData};

use super::ArchiveError;

/// Most axes of a tensor.
pub(super) const MAX_RANK: usize = 8;

/// A tensor whose elements are known to lie within the file.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    dtype: DType,
    shape: Vec<usize>,
    /// In elements; empty if the elements follow each other.
    strides: Vec<usize>,
    /// Bytes of the file from the first element on.
    bytes: Range<usize>,
}

impl Entry {
    /// Elements that follow each other in `bytes` of the file, which must be as many as the shape says.
    pub(super) fn contiguous(
        name: &str,
        dtype: DType,
        shape: Vec<usize>,
        bytes: Range<usize>,
    ) -> Result<Self, ArchiveError> {
        let strides = contiguous_strides(name, &shape)?;
        Self::view(name, dtype, shape, &strides, 0, bytes)
    }

    /// A view into a storage: `offset` and `strides` in elements, `storage` in bytes of the file.
    ///
    /// # Errors
    /// If an element lies outside the storage, or there are more elements than the storage holds.
    pub(super) fn view(
        name: &str,
        dtype: DType,
        shape: Vec<usize>,
        strides: &[usize],
        offset: usize,
        storage: Range<usize>,
    ) -> Result<Self, ArchiveError> {
        let wrong = |message: String| ArchiveError::tensor(name, message);
        if shape.len() > MAX_RANK || shape.len() != strides.len() {
            return Err(wrong(format!(
                "has {} axes and {} strides; at most {MAX_RANK} are read, and each needs its stride",
                shape.len(),
                strides.len()
            )));
        }
        let size = dtype.size();
        let expected = contiguous_strides(name, &shape)?;
        let count = shape.iter().product::<usize>();
        // The last element of a view with elements; one without may point anywhere.
        let end = match count {
            0 => Some(0),
            _ => shape.iter().zip(strides).try_fold(offset, |last, (&dim, &stride)| {
                last.checked_add((dim - 1).checked_mul(stride)?)
            }),
        };
        let end = end.and_then(|last| {
            if count == 0 {
                Some(0)
            } else {
                last.checked_add(1)?.checked_mul(size)
            }
        });
        match end {
            Some(end) if end <= storage.len() && count * size <= storage.len() => {}
            _ => {
                return Err(wrong(format!(
                    "has shape {shape:?} from element {offset} on, more than its storage of {} bytes holds",
                    storage.len()
                )));
            }
        }
        let start = if count == 0 {
            storage.start
        } else {
            storage.start + offset * size
        };
        Ok(Self {
            dtype,
            bytes: start..storage.end,
            strides: if strides == expected {
                Vec::new()
            } else {
                strides.to_vec()
            },
            shape,
        })
    }

    pub(super) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Whether the elements are numbers from 0 to 255.
    pub(super) fn is_bytes(&self) -> bool {
        self.dtype == DType::U8
    }

    /// Size of the elements, each counted once.
    pub(super) fn num_bytes(&self) -> usize {
        self.shape.iter().product::<usize>() * self.dtype.size()
    }

    /// The elements in row-major order, floats as f32, others as i64. `file` is what the entry was made for.
    pub(super) fn read(&self, file: &[u8]) -> TensorData {
        let storage = &file[self.bytes.clone()];
        let elements = match self.strides.is_empty() {
            true => storage[..self.num_bytes()].to_vec(),
            false => self.gather(storage),
        };
        let data = TensorData::from_bytes_vec(elements, self.shape.clone(), self.dtype);
        match self.dtype.is_float() {
            true => data.convert::<f32>(),
            false => data.convert::<i64>(),
        }
    }

    fn gather(&self, storage: &[u8]) -> Vec<u8> {
        let size = self.dtype.size();
        let mut elements = Vec::with_capacity(self.num_bytes());
        let mut index = vec![0; self.shape.len()];
        for _ in 0..self.shape.iter().product() {
            let element: usize = index.iter().zip(&self.strides).map(|(at, stride)| at * stride).sum();
            elements.extend_from_slice(&storage[element * size..][..size]);
            // The next index, last axis first.
            for (at, &dim) in index.iter_mut().zip(&self.shape).rev() {
                *at += 1;
                if *at < dim {
                    break;
                }
                *at = 0;
            }
        }
        elements
    }
}

/// Strides of a tensor whose elements follow each other. PyTorch counts an axis of length 0 as 1.
fn contiguous_strides(name: &str, shape: &[usize]) -> Result<Vec<usize>, ArchiveError> {
    let mut strides = vec![1; shape.len()];
    let mut total = 1usize;
    for (stride, &dim) in strides.iter_mut().zip(shape).rev() {
        *stride = total;
        // Eight bytes are the widest element: the size in bytes does not overflow either.
        total = total
            .checked_mul(dim.max(1))
            .filter(|total| total.checked_mul(8).is_some())
            .ok_or_else(|| ArchiveError::tensor(name, format!("has shape {shape:?}, which is impossibly large")))?;
    }
    Ok(strides)
}
