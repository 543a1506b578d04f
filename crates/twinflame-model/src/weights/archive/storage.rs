//! Types and places of what tensors view.

use std::borrow::Cow;

use burn::tensor::DType;

use super::{
    entry::MAX_RANK,
    pickle::{Global, Pickle, Value, key},
};

/// Reference to a storage, as a pickle's persistent id gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Storage<'a> {
    /// Type of its elements.
    pub(super) dtype: DType,
    /// Name of its entry in a zip archive, or in the list of a stream.
    pub(super) key: Cow<'a, str>,
    /// First element of a view of a storage, which only old streams have.
    pub(super) first: usize,
}

/// A tensor as a pickle describes it, not yet held against the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TensorView<'a> {
    pub(super) storage: Storage<'a>,
    /// In elements of the storage.
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

/// The type of `torch.FloatStorage` and the like.
fn dtype(class: &Global<'_>) -> Option<DType> {
    if !matches!(class.module, "torch" | "torch.cuda" | "torch.storage") {
        return None;
    }
    Some(match class.name {
        "DoubleStorage" => DType::F64,
        "FloatStorage" => DType::F32,
        "HalfStorage" => DType::F16,
        "BFloat16Storage" => DType::BF16,
        "LongStorage" => DType::I64,
        "IntStorage" => DType::I32,
        "ShortStorage" => DType::I16,
        "CharStorage" => DType::I8,
        "ByteStorage" | "BoolStorage" => DType::U8,
        _ => return None,
    })
}

/// The storage that a persistent id names: `('storage', class, key, device, elements)`, and in old streams the view
/// `(key, first element, elements)` or `None`.
pub(super) fn storage<'a>(pickle: &Pickle<'a>, id: &Value<'a>) -> Result<Storage<'a>, String> {
    let Value::Tuple(parts) = id else {
        return Err("a persistent id is no tuple".into());
    };
    let part = |index: usize| parts.get(index).map(|&id| pickle.value(id));
    let (Some(Value::Str("storage")), Some(Value::Global(class))) = (part(0), part(1)) else {
        return Err("a persistent id names no storage".into());
    };
    let dtype = dtype(class).ok_or_else(|| format!("`{class}` is no type of storage that can be read"))?;
    let key = key(part(2)).ok_or("a storage has no key")?;
    let first = match part(5) {
        Some(Value::Tuple(view)) => view.get(1).and_then(|&id| size(pickle.value(id))),
        _ => Some(0),
    };
    Ok(Storage {
        dtype,
        key,
        first: first.ok_or("the view of a storage has no place")?,
    })
}

/// The tensor that a call of `torch._utils._rebuild_tensor_v2` makes: storage, offset, shape, strides, and more that
/// says nothing about values.
pub(super) fn tensor<'a>(pickle: &Pickle<'a>, arguments: &[u32]) -> Result<TensorView<'a>, String> {
    let argument = |index: usize| arguments.get(index).map(|&id| pickle.value(id));
    let Some(Value::Storage(storage)) = argument(0) else {
        return Err("a tensor has no storage".into());
    };
    let sizes = |index: usize| -> Option<Vec<usize>> {
        let (Value::Tuple(items) | Value::List(items)) = argument(index)? else {
            return None;
        };
        let sizes = items.iter().map(|&id| size(pickle.value(id)));
        // A long list could be copied into many tensors.
        (items.len() <= MAX_RANK).then(|| sizes.collect())?
    };
    let (Some(offset), Some(shape), Some(strides)) = (argument(1).and_then(size), sizes(2), sizes(3)) else {
        return Err(format!(
            "a tensor has no place, shape and strides that are numbers of at least 0, of at most {MAX_RANK} axes"
        ));
    };
    Ok(TensorView {
        storage: (**storage).clone(),
        offset,
        shape,
        strides,
    })
}

fn size(value: &Value<'_>) -> Option<usize> {
    match value {
        Value::Int(number) => usize::try_from(*number).ok(),
        _ => None,
    }
}
