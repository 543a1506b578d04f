//! safetensors files.

use std::{collections::HashMap, fs, path::Path};

use burn::tensor::{DType, TensorData};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use super::WeightsError;

/// The tensors of a file, floats in f32 and integers in 64 bits, and the sorted names of those that were ignored.
///
/// # Errors
/// If the file cannot be read, or has a tensor of another type.
pub(super) fn read_file(
    path: &Path,
    is_ignored: impl Fn(&str) -> bool,
) -> Result<(HashMap<String, TensorData>, Vec<String>), WeightsError> {
    let bytes = fs::read(path).map_err(|source| WeightsError::Read {
        path: path.to_owned(),
        source,
    })?;
    let file = SafeTensors::deserialize(&bytes).map_err(|source| WeightsError::Format {
        path: path.to_owned(),
        source,
    })?;
    let mut tensors = HashMap::new();
    let mut ignored = Vec::new();
    for (name, view) in file.iter() {
        if is_ignored(name) {
            ignored.push(name.to_owned());
        } else {
            tensors.insert(name.to_owned(), read(name, &view)?);
        }
    }
    ignored.sort();
    Ok((tensors, ignored))
}

fn read(name: &str, view: &TensorView<'_>) -> Result<TensorData, WeightsError> {
    let dtype = match view.dtype() {
        Dtype::F32 => DType::F32,
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        Dtype::F64 => DType::F64,
        Dtype::I64 => DType::I64,
        other => {
            return Err(WeightsError::DType {
                name: name.to_owned(),
                dtype: format!("{other:?}"),
            });
        }
    };
    let data = TensorData::from_bytes_vec(view.data().to_vec(), view.shape().to_vec(), dtype);
    Ok(if dtype == DType::I64 {
        data
    } else {
        data.convert::<f32>()
    })
}

/// Writes tensors of f32 and 64-bit integers, all at once or not at all.
///
/// # Errors
/// If the file cannot be written.
pub(super) fn write_file(path: &Path, tensors: &[(String, TensorData)]) -> Result<(), WeightsError> {
    let views = tensors
        .iter()
        .map(|(name, data)| {
            let dtype = if data.dtype() == DType::I64 {
                Dtype::I64
            } else {
                Dtype::F32
            };
            let view = TensorView::new(dtype, data.shape().to_vec(), data.as_bytes());
            view.map(|view| (name.as_str(), view)).map_err(WeightsError::Serialize)
        })
        .collect::<Result<Vec<_>, _>>()?;
    let bytes = safetensors::serialize(views, None).map_err(WeightsError::Serialize)?;
    let partial = path.with_extension("safetensors.partial");
    fs::write(&partial, bytes)
        .and_then(|()| fs::rename(&partial, path))
        .map_err(|source| WeightsError::Write {
            path: path.to_owned(),
            source,
        })
}
