//! From a host batch to tensors.

use std::ops::Range;

use burn::tensor::{DType, Device, FloatDType, Int, IntDType, Tensor, TensorData};
use twinflame_data::{ImageTextBatch, Normalization};
use twinflame_model::{ImageInput, Pass};

use super::{kept_patches, num_kept_patches};

/// Where a step takes its pairs from, a part at a time.
pub trait StepInputs {
    /// Pairs in the batch.
    fn num_pairs(&self) -> usize;

    /// Images of the pairs in `range`: the same in [`Pass::Train`] and [`Pass::Preview`].
    fn images(&self, range: Range<usize>, pass: Pass) -> ImageInput;

    /// Token ids of the pairs in `range`, `[range.len(), context_length]`.
    fn tokens(&self, range: Range<usize>) -> Tensor<2, Int>;

    /// Images and token ids of the pairs in `range`.
    fn upload(&self, range: Range<usize>, pass: Pass) -> DeviceBatch {
        DeviceBatch {
            images: self.images(range.clone(), pass),
            tokens: self.tokens(range),
        }
    }
}

/// A batch on the device, ready for the model.
#[derive(Clone, Debug)]
pub struct DeviceBatch {
    /// Pixels and the patches to keep.
    pub images: ImageInput,
    /// `[batch, context_length]`, token ids.
    pub tokens: Tensor<2, Int>,
}

impl StepInputs for DeviceBatch {
    fn num_pairs(&self) -> usize {
        let [batch, _] = self.tokens.dims();
        batch
    }

    fn images(&self, range: Range<usize>, _pass: Pass) -> ImageInput {
        ImageInput {
            pixels: self.images.pixels.clone().narrow(0, range.start, range.len()),
            keep_patches: self
                .images
                .keep_patches
                .clone()
                .map(|p| p.narrow(0, range.start, range.len())),
        }
    }

    fn tokens(&self, range: Range<usize>) -> Tensor<2, Int> {
        self.tokens.clone().narrow(0, range.start, range.len())
    }
}

/// A batch on the host: a part is uploaded when it is asked for, and dropped with its use.
pub(super) struct HostInputs<'a> {
    pub(super) batch: &'a ImageTextBatch,
    pub(super) normalization: Normalization,
    /// Patches per image, for a Vision Transformer.
    pub(super) num_patches: Option<usize>,
    /// Share of the patches that training drops.
    pub(super) patch_dropout: f64,
    pub(super) device: Device,
}

impl StepInputs for HostInputs<'_> {
    fn num_pairs(&self) -> usize {
        self.batch.len()
    }

    fn images(&self, range: Range<usize>, pass: Pass) -> ImageInput {
        let keep_patches = match (pass, self.num_patches) {
            (Pass::Train | Pass::Preview, Some(num)) if self.patch_dropout > 0.0 => {
                let kept = num_kept_patches(num, self.patch_dropout);
                let patches = kept_patches(&self.batch.sample_seeds[range.clone()], num, kept);
                Some(upload_matrix(patches, [range.len(), kept], &self.device))
            }
            _ => None,
        };
        ImageInput {
            pixels: upload_pixels(self.batch, range, &self.normalization, &self.device),
            keep_patches,
        }
    }

    fn tokens(&self, range: Range<usize>) -> Tensor<2, Int> {
        let length = self.batch.context_length;
        let ids = self.batch.tokens[range.start * length..range.end * length].to_vec();
        upload_matrix(ids, [range.len(), length], &self.device)
    }
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
        Tensor::<1, Int>::from_data(data, (device, DType::U8)).cast(FloatDType::F32)
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
    let words = Tensor::<1, Int>::from_data(TensorData::new(words, [num_words]), (device, DType::I32));
    // The shift keeps the sign; the mask removes it.
    let byte = |shift: i32| {
        words
            .clone()
            .bitwise_right_shift_scalar(shift)
            .bitwise_and_scalar(0xff)
            .cast(FloatDType::F32)
    };
    Tensor::stack::<2>(vec![byte(0), byte(8), byte(16), byte(24)], 1) // [words, 4]
        .reshape([num_words * 4])
        .narrow(0, 0, bytes.len())
}

/// Uploads integers of shape `[rows, columns]`.
pub(super) fn upload_matrix(values: Vec<i32>, shape: [usize; 2], device: &Device) -> Tensor<2, Int> {
    Tensor::from_data(TensorData::new(values, shape), (device, DType::I32))
}

/// Uploads one id per pair.
pub(super) fn upload_ids(ids: Vec<i32>, device: &Device) -> Tensor<1, Int> {
    let batch = ids.len();
    Tensor::from_data(TensorData::new(ids, [batch]), (device, DType::I32))
}

#[cfg(test)]
mod tests {
    use twinflame_data::{OPENAI_MEAN, OPENAI_STD};

    use super::*;

    #[test]
    fn packed_words_hold_every_byte() {
        let device = Device::flex();
        for length in [1, 4, 255, 256] {
            let bytes: Vec<u8> = (0..length).map(|i| i as u8).collect();
            let unpacked: Vec<f32> = unpack_bytes(&bytes, &device).try_to_vec_as().expect("readable");
            assert_eq!(unpacked, bytes.iter().map(|&b| f32::from(b)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn pixels_are_normalised_channels_first() {
        let batch = ImageTextBatch {
            images: (0..2 * 2 * 3 * 3).collect(),
            image_size: [2, 3],
            ..ImageTextBatch::default()
        };
        let pixels = upload_pixels(&batch, 1..2, &Normalization::default(), &Device::flex());
        assert_eq!(pixels.dims(), [1, 3, 2, 3]);
        let pixels: Vec<f32> = pixels.try_to_vec_as().expect("readable");
        for channel in 0..3 {
            for position in 0..6 {
                let byte = 18 + position * 3 + channel;
                let expected = (byte as f32 / 255.0 - OPENAI_MEAN[channel]) / OPENAI_STD[channel];
                let value = pixels[channel * 6 + position];
                assert!((value - expected).abs() < 1e-5, "{value} is not {expected}");
            }
        }
    }
}
