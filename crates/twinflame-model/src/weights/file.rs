//! Files of weights.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use burn::tensor::TensorData;

use super::{Archive, WeightsError};

/// The tensors of a file of any kind that [`Archive`] reads, and the sorted names of those that were ignored.
///
/// # Errors
/// If the file cannot be read.
pub(super) fn read_file(
    path: &Path,
    is_ignored: impl Fn(&str) -> bool,
) -> Result<(HashMap<String, TensorData>, Vec<String>), WeightsError> {
    let archive = Archive::open(path)?;
    let (ignored, wanted): (Vec<&str>, Vec<&str>) = archive
        .shapes()
        .map(|(name, _)| name)
        .partition(|name| is_ignored(name));
    let read = |name: &str| Some((name.to_owned(), archive.tensor(name)?));
    let tensors = wanted.into_iter().filter_map(read).collect();
    Ok((tensors, ignored.into_iter().map(str::to_owned).collect()))
}

/// The tensors of a file of any kind that [`Archive`] reads: floats in f32, bytes as they are, other integers in 64 bits.
///
/// # Errors
/// If the file cannot be read.
pub fn read_tensors(path: &Path) -> Result<BTreeMap<String, TensorData>, WeightsError> {
    let archive = Archive::open(path)?;
    let read = |(name, _): (&str, _)| {
        let data = archive.tensor(name)?;
        let data = match archive.is_bytes(name) {
            true => data.convert::<u8>(),
            false => data,
        };
        Some((name.to_owned(), data))
    };
    Ok(archive.shapes().filter_map(read).collect())
}
