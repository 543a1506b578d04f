//! Captions one after another, from files of any size.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::CurateError;
use crate::dataset::texts_of;
use crate::dataset::webdataset::{WebDatasetConfig, for_each_caption, is_url};
use crate::dataset::{ParquetConfig, parquet};

/// What holds the captions.
#[derive(Clone, Debug, PartialEq)]
pub enum CaptionFile {
    /// A caption on each line.
    Lines(PathBuf),
    /// A table with a header: separator and column of the captions.
    Table {
        /// The file.
        path: PathBuf,
        /// Byte between columns.
        separator: u8,
        /// Name of the column.
        column: String,
    },
    /// A JSON object on each line, and the key of its caption or captions.
    JsonLines {
        /// The file.
        path: PathBuf,
        /// Key of the captions.
        key: String,
    },
    /// Tar shards.
    Shards(WebDatasetConfig),
    /// Parquet files. Without any of the usual columns of images, and none named, a row needs a caption alone: texts, and lists
    /// of images to be downloaded, can be read too.
    Parquet(ParquetConfig),
}

/// A pair: what is written if it is kept, and its captions.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) raw: Vec<u8>,
    pub(crate) captions: Vec<String>,
}

impl CaptionFile {
    /// By the ending: `.txt`, `.csv`, `.tsv`, `.jsonl`, or `.tar` or `.parquet` for a pattern of such files; a URL is one of tar
    /// shards. `column` is the column or key of the caption; `None`: caption, and in Parquet files text if there is no caption.
    ///
    /// # Errors
    /// Another ending.
    pub fn open(path: &Path, column: Option<&str>) -> Result<Self, CurateError> {
        if path.to_str().is_some_and(is_url) {
            return Ok(Self::Shards(WebDatasetConfig::new([path.to_string_lossy()])));
        }
        let path = path.to_owned();
        let given = column.map(str::to_owned);
        let column = column.unwrap_or("caption").to_owned();
        Ok(match path.extension().and_then(|ending| ending.to_str()) {
            Some("txt") => Self::Lines(path),
            Some(ending @ ("csv" | "tsv")) => Self::Table {
                separator: if ending == "csv" { b',' } else { b'\t' },
                path,
                column,
            },
            Some("jsonl") => Self::JsonLines { path, key: column },
            Some("tar") => Self::Shards(WebDatasetConfig::new([path.to_string_lossy()])),
            Some("parquet") => Self::Parquet(ParquetConfig {
                caption_column: given,
                ..ParquetConfig::new([path.to_string_lossy()])
            }),
            _ => return Err(CurateError::Ending { path }),
        })
    }

    /// Hands over all pairs in order, and nothing after the first error. Returns how many damaged tar shards and samples there
    /// are, which are left out.
    ///
    /// # Errors
    /// A file that cannot be read, a column that is not there, a line that is none.
    pub(crate) fn for_each(&self, mut act: impl FnMut(Record) -> Result<(), CurateError>) -> Result<u64, CurateError> {
        match self {
            Self::Lines(path) => for_each_line(path, |_, line| {
                let captions = vec![line.clone()];
                let raw = line.into_bytes();
                act(Record { raw, captions })
            })
            .map(|()| 0),
            Self::JsonLines { path, key } => for_each_line(path, |number, line| {
                if line.trim().is_empty() {
                    return Ok(());
                }
                let captions = captions_of_json(&line, key).map_err(|message| CurateError::Line {
                    path: path.clone(),
                    line: number,
                    message,
                })?;
                let raw = line.into_bytes();
                act(Record { raw, captions })
            })
            .map(|()| 0),
            Self::Table {
                path,
                separator,
                column,
            } => {
                let mut table = csv::ReaderBuilder::new().delimiter(*separator).from_reader(open(path)?);
                let at = column_of(path, table.headers().map_err(|error| bad_row(path, 1, &error))?, column)?;
                let mut row = csv::StringRecord::new();
                loop {
                    let line = table.position().line();
                    if !table
                        .read_record(&mut row)
                        .map_err(|error| bad_row(path, line, &error))?
                    {
                        return Ok(0);
                    }
                    act(Record {
                        raw: written(&row, *separator),
                        captions: vec![row.get(at).unwrap_or_default().to_owned()],
                    })?;
                }
            }
            Self::Shards(config) => for_each_caption(config, |shard, key, captions| {
                let line = serde_json::json!({"file": shard, "sample": key});
                let raw = line.to_string().into_bytes();
                act(Record { raw, captions })
            }),
            Self::Parquet(config) => parquet::for_each_caption(config, |file, row, captions| {
                let line = serde_json::json!({"file": file, "row": row});
                let raw = line.to_string().into_bytes();
                act(Record { raw, captions })
            }),
        }
    }

    /// What precedes the pairs in a file of this kind: the header of a table.
    pub(crate) fn header(&self) -> Result<Vec<u8>, CurateError> {
        let Self::Table { path, separator, .. } = self else {
            return Ok(Vec::new());
        };
        let mut table = csv::ReaderBuilder::new().delimiter(*separator).from_reader(open(path)?);
        let header = table.headers().map_err(|error| bad_row(path, 1, &error))?;
        Ok(written(header, *separator))
    }
}

fn open(path: &Path) -> Result<File, CurateError> {
    File::open(path).map_err(|source| CurateError::Read {
        path: path.to_owned(),
        source,
    })
}

/// Lines from 1, without their ends.
pub(super) fn for_each_line(
    path: &Path,
    mut act: impl FnMut(u64, String) -> Result<(), CurateError>,
) -> Result<(), CurateError> {
    let reader = BufReader::with_capacity(1 << 20, open(path)?);
    for (line, number) in reader.lines().zip(1..) {
        let line = line.map_err(|source| CurateError::Read {
            path: path.to_owned(),
            source,
        })?;
        let line = match number {
            1 => line.trim_start_matches('\u{feff}').to_owned(),
            _ => line,
        };
        act(number, line)?;
    }
    Ok(())
}

fn captions_of_json(line: &str, key: &str) -> Result<Vec<String>, String> {
    let mut value: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let object = value.as_object_mut().ok_or("not an object")?;
    let Some(found) = object.remove(key) else {
        let keys: Vec<&str> = object.keys().map(String::as_str).collect();
        return Err(format!("no key {key:?}; its keys are {}", keys.join(", ")));
    };
    texts_of(found).ok_or_else(|| format!("{key:?} must be a text or a list of texts"))
}

fn column_of(path: &Path, header: &csv::StringRecord, column: &str) -> Result<usize, CurateError> {
    let at = header.iter().position(|name| name.trim() == column);
    at.ok_or_else(|| CurateError::Column {
        path: path.to_owned(),
        column: column.to_owned(),
        found: header.iter().map(str::to_owned).collect(),
    })
}

fn bad_row(path: &Path, line: u64, error: &csv::Error) -> CurateError {
    CurateError::Line {
        path: path.to_owned(),
        line,
        message: error.to_string(),
    }
}

/// A row as it stands in a table, without the end of its line.
fn written(row: &csv::StringRecord, separator: u8) -> Vec<u8> {
    let mut writer = csv::WriterBuilder::new().delimiter(separator).from_writer(Vec::new());
    // Into memory, which takes everything.
    let _ = writer.write_record(row);
    let mut bytes = writer.into_inner().unwrap_or_default();
    bytes.truncate(bytes.len().saturating_sub(1));
    bytes
}
