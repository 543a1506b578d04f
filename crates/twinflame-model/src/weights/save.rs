//! Tensors to a safetensors file.

use std::{collections::HashMap, fs, io, path::Path};

use burn::tensor::{DType, TensorData};
use safetensors::{Dtype, SafeTensorError, tensor::TensorView};

use super::WeightsError;

/// Type of the floats of a written file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FileDType {
    /// 32 bits.
    #[default]
    F32,
    /// 16 bits, 11 of them significant, up to 65,504.
    F16,
    /// 16 bits, 8 of them significant, with the range of 32.
    Bf16,
}

/// The largest finite value of 16 bits (IEEE 754 binary16).
const F16_MAX: f32 = 65_504.0;

impl FileDType {
    fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::F16 => DType::F16,
            Self::Bf16 => DType::BF16,
        }
    }

    /// Floats in this type, integers as they are.
    fn convert(self, name: &str, data: TensorData) -> Result<TensorData, WeightsError> {
        if !data.dtype().is_float() || data.dtype() == self.dtype() {
            return Ok(data);
        }
        if self == Self::F16
            && let Some(value) = data
                .iter::<f32>()
                .find(|value| value.is_finite() && value.abs() > F16_MAX)
        {
            return Err(WeightsError::TooLarge {
                name: name.to_owned(),
                value,
                dtype: "f16",
                instead: "bf16 or f32",
            });
        }
        Ok(data.convert_dtype(self.dtype()))
    }
}

/// Writes tensors and metadata to a safetensors file, all at once or not at all: floats in `dtype`, 64-bit integers
/// and bytes as they are.
///
/// # Errors
/// If a tensor has another type or a value that `dtype` has not, or the file cannot be written.
pub fn save_tensors(
    path: &Path,
    tensors: Vec<(String, TensorData)>,
    dtype: FileDType,
    metadata: HashMap<String, String>,
) -> Result<(), WeightsError> {
    let tensors = tensors
        .into_iter()
        .map(|(name, data)| dtype.convert(&name, data).map(|data| (name, data)))
        .collect::<Result<Vec<_>, _>>()?;
    let views = tensors
        .iter()
        .map(|(name, data)| view(name, data).map(|view| (name.as_str(), view)))
        .collect::<Result<Vec<_>, _>>()?;
    let metadata = (!metadata.is_empty()).then_some(metadata);
    let partial = path.with_extension("safetensors.partial");
    let failed = |source: io::Error| WeightsError::Write {
        path: path.to_owned(),
        source,
    };
    let written = match safetensors::serialize_to_file(views, metadata, &partial) {
        Ok(()) => fs::rename(&partial, path).map_err(failed),
        Err(SafeTensorError::IoError(source)) => Err(failed(source)),
        Err(other) => Err(WeightsError::Serialize(other)),
    };
    if written.is_err() {
        // The error of writing is the one to report.
        let _ = fs::remove_file(&partial);
    }
    written
}

fn view<'a>(name: &str, data: &'a TensorData) -> Result<TensorView<'a>, WeightsError> {
    let dtype = match data.dtype() {
        DType::F32 => Dtype::F32,
        DType::F16 => Dtype::F16,
        DType::BF16 => Dtype::BF16,
        DType::I64 => Dtype::I64,
        DType::U8 => Dtype::U8,
        other => {
            return Err(WeightsError::DType {
                name: name.to_owned(),
                dtype: format!("{other:?}"),
            });
        }
    };
    TensorView::new(dtype, data.shape().to_vec(), data.as_bytes()).map_err(WeightsError::Serialize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::file::read_file;

    #[test]
    fn half_files_are_half_as_long_and_integers_stay() {
        let dir = tempfile::tempdir().unwrap();
        let values: Vec<f32> = (0..1000).map(|index| index as f32 / 256.0).collect();
        let tensors = || {
            let x = ("x".to_owned(), TensorData::new(values.clone(), [1000]));
            vec![x, ("n".to_owned(), TensorData::from([3i64]))]
        };
        let size = |dtype: FileDType| {
            let path = dir.path().join("x.safetensors");
            save_tensors(&path, tensors(), dtype, HashMap::new()).unwrap();
            let (read, _) = read_file(&path, |_| false).unwrap();
            assert_eq!(read["n"], TensorData::from([3i64]));
            let error = read["x"]
                .iter::<f32>()
                .zip(&values)
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, f32::max);
            assert!(
                error <= if dtype == FileDType::Bf16 { 1.0 / 128.0 } else { 0.0 },
                "{error}"
            );
            fs::metadata(path).unwrap().len()
        };
        assert_eq!(size(FileDType::F32) - size(FileDType::F16), 2000);
        assert_eq!(size(FileDType::Bf16), size(FileDType::F16));
        assert_eq!(dir.path().read_dir().unwrap().count(), 1);
    }

    #[test]
    fn a_value_that_does_not_fit_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.safetensors");
        let save = |dtype| {
            save_tensors(
                &path,
                vec![("big".into(), TensorData::from([1e6f32]))],
                dtype,
                HashMap::new(),
            )
        };
        let error = save(FileDType::F16).unwrap_err().to_string();
        assert!(
            error.contains("`big` has the value 1000000, too large for f16"),
            "{error}"
        );
        save(FileDType::Bf16).unwrap();
    }
}
