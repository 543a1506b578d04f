//! From a host batch to tensors.

use std::ops::Range;

use burn::tensor::{DType, Device, IntDType, Tensor, TensorData};
use twinflame_data::{ImageTextBatch, Normalization};
use twinflame_model::ImageInput;

/// A part of a batch on the device, ready for the model.
#[derive(Clone, Debug)]
pub struct DeviceBatch {
    /// Pixels and the patches to keep.
    pub images: ImageInput,
    /// `[batch, context_length]`, token ids.
    pub tokens: Tensor<2, burn::tensor::Int>,
}

/// Uploads the pixels of `range` as bytes and normalises them on the device: `(value / 255 - mean) / std`.
///
/// # Shapes
/// - output: `[range.len(), 3, height, width]`, f32, without autodiff
///
/// # Panics
/// If `range` is not within the batch, or `batch.images` is not `[batch, height, width, 3]`.
#[must_use]
pub fn upload_pixels(
    batch: &ImageTextBatch,
    range: Range<usize>,
    normalization: &Normalization,
    device: &Device,
) -> Tensor<4> {
    let [height, width] = batch.image_size;
    let size = height * width * 3;
    let bytes = &batch.images[range.start * size..range.end * size];
    let bytes = if device.supports_dtype(IntDType::U8) {
        let data = TensorData::new(bytes.to_vec(), [bytes.len()]);
        Tensor::<1, burn::tensor::Int>::from_data(data, (device, DType::U8)).cast(burn::tensor::FloatDType::F32)
    } else {
        unpack_bytes(bytes, device)
    };
    let pixels = bytes.reshape([range.len(), height, width, 3]).permute([0, 3, 1, 2]); // [batch, 3, height, width]
    // One multiplication and one addition: v / (255 std) - mean / std.
    let per_channel = |f: fn(f32, f32) -> f32| {
        let values: Vec<f32> = std::iter::zip(normalization.mean, normalization.std)
            .map(|(mean, std)| f(mean, std))
            .collect();
        Tensor::<4>::from_data(TensorData::new(values, [1, 3, 1, 1]), (device, DType::F32))
    };
    pixels * per_channel(|_, std| 1.0 / (255.0 * std)) + per_channel(|mean, std| -mean / std)
}

/// The bytes as f32, for devices without 8-bit integers (WGSL): four travel in one 32-bit word.
fn unpack_bytes(bytes: &[u8], device: &Device) -> Tensor<1> {
    let words: Vec<i32> = bytes
        .chunks(4)
        .map(|chunk| {
            let mut word = [0; 4];
            word[..chunk.len()].copy_from_slice(chunk);
            i32::from_le_bytes(word)
        })
        .collect();
    let num_words = words.len();
    let words = Tensor::<1, burn::tensor::Int>::from_data(TensorData::new(words, [num_words]), (device, DType::I32));
    // The shift keeps the sign; the mask removes it.
    let byte = |shift: i32| {
        words
            .clone()
            .bitwise_right_shift_scalar(shift)
            .bitwise_and_scalar(0xff)
            .cast(burn::tensor::FloatDType::F32)
    };
    Tensor::stack::<2>(vec![byte(0), byte(8), byte(16), byte(24)], 1) // [words, 4]
        .reshape([num_words * 4])
        .narrow(0, 0, bytes.len())
}

/// Uploads the token ids of `range`.
///
/// # Shapes
/// - output: `[range.len(), context_length]`
pub(super) fn upload_tokens(
    batch: &ImageTextBatch,
    range: Range<usize>,
    device: &Device,
) -> Tensor<2, burn::tensor::Int> {
    let length = batch.context_length;
    let ids = batch.tokens[range.start * length..range.end * length].to_vec();
    Tensor::from_data(TensorData::new(ids, [range.len(), length]), (device, DType::I32))
}

/// Uploads integers of shape `[rows, columns]`.
pub(super) fn upload_indices(values: Vec<i32>, shape: [usize; 2], device: &Device) -> Tensor<2, burn::tensor::Int> {
    Tensor::from_data(TensorData::new(values, shape), (device, DType::I32))
}

/// Uploads one id per pair.
pub(super) fn upload_ids(ids: Vec<i32>, device: &Device) -> Tensor<1, burn::tensor::Int> {
    let batch = ids.len();
    Tensor::from_data(TensorData::new(ids, [batch]), (device, DType::I32))
}
