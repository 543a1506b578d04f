//! What a safetensors file says about itself.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read},
    path::Path,
};

use safetensors::{SafeTensorError, tensor::Metadata};

use super::WeightsError;

/// The format's own limit for the length of a header, in bytes.
const MAX_HEADER: u64 = 100_000_000;

/// The texts in the metadata of a safetensors file, by name; only the header is read.
///
/// # Errors
/// If the file cannot be read or does not begin as a safetensors file does.
pub fn read_metadata(path: &Path) -> Result<HashMap<String, String>, WeightsError> {
    let header = read_header(path).map_err(|source| WeightsError::Read {
        path: path.to_owned(),
        source,
    })?;
    let parsed = match header {
        Some(header) => {
            serde_json::from_slice::<Metadata>(&header).map_err(SafeTensorError::InvalidHeaderDeserialization)
        }
        None => Err(SafeTensorError::InvalidHeaderLength),
    };
    let metadata = parsed.map_err(|source| WeightsError::Format {
        path: path.to_owned(),
        source,
    })?;
    Ok(metadata.metadata().clone().unwrap_or_default())
}

/// `None` if the file is shorter than its header says, or the header longer than the format allows.
fn read_header(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut file = File::open(path)?;
    let mut length = [0; 8];
    if let Err(error) = file.read_exact(&mut length) {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof => Ok(None),
            _ => Err(error),
        };
    }
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER {
        return Ok(None);
    }
    let mut header = Vec::new();
    let read = file.take(length).read_to_end(&mut header)?;
    Ok((read as u64 == length).then_some(header))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::{FileDType, save_tensors};

    #[test]
    fn what_was_written_is_read_and_damage_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.safetensors");
        let card = HashMap::from([("card".to_owned(), "{\"a\": 1}".to_owned())]);
        let tensor = burn::tensor::TensorData::from([1.0f32, 2.0]);
        save_tensors(&path, vec![("x".into(), tensor)], FileDType::F32, card.clone()).unwrap();
        assert_eq!(read_metadata(&path).unwrap(), card);
        let whole = std::fs::read(&path).unwrap();
        for damaged in [
            &whole[..0],
            &whole[..7],
            &whole[..20],
            b"\xff\xff\xff\xff\xff\xff\xff\xff{}",
        ] {
            std::fs::write(&path, damaged).unwrap();
            let error = read_metadata(&path).unwrap_err().to_string();
            assert!(error.contains("a.safetensors is not a safetensors file"), "{error}");
        }
        read_metadata(&dir.path().join("missing")).unwrap_err();
    }
}
