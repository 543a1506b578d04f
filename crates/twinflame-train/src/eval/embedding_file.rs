//! Embeddings on disk: `.npy` or `.safetensors`, with an index of what each row is.
//!
//! Both formats are a header and raw little-endian f32, so rows are streamed behind a header of fixed size that is
//! filled in once their number is known: memory does not grow with the number of rows.

use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::EvalError;
use super::partial_file::PartialFile;

/// Bytes of the header that are kept free; both formats pad it with spaces. npy wants a multiple of 64.
const HEADER_LEN: usize = 256;
/// Name of the one tensor in a safetensors file.
pub const TENSOR_NAME: &str = "embeddings";

/// How embeddings are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmbeddingFormat {
    /// NumPy's.
    Npy,
    /// Hugging Face's.
    Safetensors,
}

impl EmbeddingFormat {
    /// The format that the ending of `path` stands for.
    ///
    /// # Errors
    /// If the ending is neither `.npy` nor `.safetensors`.
    pub fn of(path: &Path) -> Result<Self, EvalError> {
        let ending = path.extension().and_then(|ending| ending.to_str());
        match ending.map(str::to_ascii_lowercase).as_deref() {
            Some("npy") => Ok(Self::Npy),
            Some("safetensors") => Ok(Self::Safetensors),
            _ => Err(EvalError::OutputFormat { path: path.to_owned() }),
        }
    }
}

/// A file of embeddings that grows row by row, and its index beside it.
///
/// `OUT.npy` is a C-ordered float32 array `[rows, embed_dim]` (NumPy format 1.0); `OUT.safetensors` holds the same as
/// the tensor `embeddings`. `OUT.npy.index.tsv` has a header line and then, per row, its number and the path or text;
/// a backslash, tab or line break in it is written as `\\`, `\t`, `\n`, `\r`. Neither file exists under its name
/// before [`EmbeddingFile::finish`].
#[derive(Debug)]
pub struct EmbeddingFile {
    data: PartialFile,
    index: PartialFile,
    format: EmbeddingFormat,
    embed_dim: usize,
    num_rows: usize,
}

impl EmbeddingFile {
    /// Opens a file for rows of `embed_dim` values; the ending of `path` says in which format.
    ///
    /// # Errors
    /// If the ending is neither `.npy` nor `.safetensors`, or the files cannot be made.
    pub fn create(path: &Path, embed_dim: usize) -> Result<Self, EvalError> {
        let format = EmbeddingFormat::of(path)?;
        let mut data = PartialFile::create(path)?;
        let mut index = PartialFile::create(&index_path(path))?;
        data.write(&[0; HEADER_LEN])?;
        index.write(b"row\tsource\n")?;
        Ok(Self {
            data,
            index,
            format,
            embed_dim,
            num_rows: 0,
        })
    }

    /// Adds rows: `sources` names them, `values` holds them one after the other.
    ///
    /// # Errors
    /// If the disk refuses.
    ///
    /// # Panics
    /// If `values` is not `embed_dim` values per source.
    pub fn push<S: AsRef<str>>(&mut self, sources: &[S], values: &[f32]) -> Result<(), EvalError> {
        assert_eq!(
            values.len(),
            sources.len() * self.embed_dim,
            "{} values per row",
            self.embed_dim
        );
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.data.write(&bytes)?;
        for source in sources {
            let line = format!("{}\t{}\n", self.num_rows, escape(source.as_ref()));
            self.index.write(line.as_bytes())?;
            self.num_rows += 1;
        }
        Ok(())
    }

    /// Writes the header and gives both files their names. Returns the number of rows and the path of the index.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn finish(mut self) -> Result<(usize, PathBuf), EvalError> {
        let header = match self.format {
            EmbeddingFormat::Npy => npy_header(self.num_rows, self.embed_dim),
            EmbeddingFormat::Safetensors => safetensors_header(self.num_rows, self.embed_dim),
        };
        self.data.overwrite_start(&header)?;
        self.data.finish()?;
        Ok((self.num_rows, self.index.finish()?))
    }
}

/// The index beside an embedding file: `OUT.npy` has `OUT.npy.index.tsv`.
pub fn index_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".index.tsv");
    PathBuf::from(name)
}

fn escape(source: &str) -> String {
    source
        .replace('\\', "\\\\")
        .replace('\t', "\\t")
        .replace('\n', "\\n")
        .replace('\r', "\\r")
}

/// <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>, version 1.0.
fn npy_header(num_rows: usize, embed_dim: usize) -> Vec<u8> {
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    header.extend(((HEADER_LEN - 10) as u16).to_le_bytes());
    header.extend(
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({num_rows}, {embed_dim}), }}").into_bytes(),
    );
    header.resize(HEADER_LEN - 1, b' ');
    header.push(b'\n');
    header
}

/// <https://github.com/huggingface/safetensors#format>.
fn safetensors_header(num_rows: usize, embed_dim: usize) -> Vec<u8> {
    let num_bytes = num_rows * embed_dim * size_of::<f32>();
    let description =
        json!({ TENSOR_NAME: { "dtype": "F32", "shape": [num_rows, embed_dim], "data_offsets": [0, num_bytes] } });
    let mut header = ((HEADER_LEN - 8) as u64).to_le_bytes().to_vec();
    header.extend(description.to_string().into_bytes());
    header.resize(HEADER_LEN, b' ');
    header
}

impl PartialFile {
    fn overwrite_start(&mut self, bytes: &[u8]) -> Result<(), EvalError> {
        self.with(|file| {
            file.seek(SeekFrom::Start(0))?;
            file.write_all(bytes)
        })
    }
}

#[cfg(test)]
mod tests {
    use safetensors::SafeTensors;

    use super::*;

    const ROWS: [f32; 6] = [1.0, -2.5, 3.25, f32::MIN_POSITIVE, 1e30, -0.0];

    fn write(path: &Path) -> PathBuf {
        let mut file = EmbeddingFile::create(path, 3).unwrap();
        file.push(&["a\tb.png"], &ROWS[..3]).unwrap();
        assert!(!path.exists(), "not under its name before it is complete");
        file.push(&["two"], &ROWS[3..]).unwrap();
        let (num_rows, index) = file.finish().unwrap();
        assert_eq!(num_rows, 2);
        index
    }

    fn floats(bytes: &[u8]) -> Vec<f32> {
        bytes
            .chunks_exact(4)
            .map(|four| f32::from_le_bytes(four.try_into().unwrap()))
            .collect()
    }

    #[test]
    fn npy_is_a_padded_header_and_raw_rows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.npy");
        let index = write(&path);
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
        let header_len = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        assert!((10 + header_len).is_multiple_of(64));
        let header = std::str::from_utf8(&bytes[10..10 + header_len]).unwrap();
        assert!(header.ends_with('\n'));
        assert_eq!(
            header.trim_end(),
            "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }"
        );
        assert_eq!(floats(&bytes[10 + header_len..]), ROWS);
        assert_eq!(index, folder.path().join("out.npy.index.tsv"));
        assert_eq!(
            std::fs::read_to_string(index).unwrap(),
            "row\tsource\n0\ta\\tb.png\n1\ttwo\n"
        );
    }

    #[test]
    fn safetensors_reads_back_with_the_library() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.safetensors");
        write(&path);
        let bytes = std::fs::read(&path).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let view = tensors.tensor(TENSOR_NAME).unwrap();
        assert_eq!(view.shape(), [2, 3]);
        assert_eq!(floats(view.data()), ROWS);
    }

    #[test]
    fn an_unknown_ending_and_a_missing_folder_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let error = EmbeddingFile::create(&folder.path().join("out.csv"), 3)
            .unwrap_err()
            .to_string();
        assert!(error.contains("out.csv") && error.contains(".npy"), "{error}");
        let error = EmbeddingFile::create(&folder.path().join("no/out.npy"), 3)
            .unwrap_err()
            .to_string();
        assert!(error.contains("out.npy"), "{error}");
    }

    #[test]
    fn an_abandoned_file_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        drop(EmbeddingFile::create(&folder.path().join("out.npy"), 3).unwrap());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
