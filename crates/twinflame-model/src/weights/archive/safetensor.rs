//! safetensors files: <https://huggingface.co/docs/safetensors>.

use std::collections::{BTreeMap, HashMap};

use burn::tensor::DType;
use safetensors::{Dtype, SafeTensors};

use super::{ArchiveError, ArchiveKind, Parsed, entry::Entry};

pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, ArchiveError> {
    let (header, metadata) = SafeTensors::read_metadata(bytes).map_err(ArchiveError::Safetensors)?;
    // Eight bytes of length, then the header; offsets count from its end.
    let start = 8 + header;
    let mut entries = BTreeMap::new();
    for (name, info) in metadata.tensors() {
        let dtype = dtype(&name, info.dtype)?;
        let (first, end) = info.data_offsets;
        let entry = Entry::contiguous(&name, dtype, info.shape.clone(), start + first..start + end)?;
        entries.insert(name, entry);
    }
    Ok(Parsed {
        kind: ArchiveKind::Safetensors,
        entries,
        metadata: metadata.metadata().clone().unwrap_or_else(HashMap::new),
    })
}

fn dtype(name: &str, dtype: Dtype) -> Result<DType, ArchiveError> {
    Ok(match dtype {
        Dtype::F64 => DType::F64,
        Dtype::F32 => DType::F32,
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        Dtype::I64 => DType::I64,
        Dtype::I32 => DType::I32,
        Dtype::I16 => DType::I16,
        Dtype::I8 => DType::I8,
        Dtype::U8 | Dtype::BOOL => DType::U8,
        other => {
            return Err(ArchiveError::tensor(
                name,
                format!("has type {other:?}, which no weight has"),
            ));
        }
    })
}
