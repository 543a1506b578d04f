//! What is kept, in the form in which the source can be trained on again.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{Dedup, DedupError};
use crate::curate::{CaptionFile, CurateError};
use crate::dataset::{DataConfig, DataError, FolderConfig, Source};

/// Writes the samples to keep: of tar shards an object with shard and key on each line, for the key `keep` of
/// `kind = "webdataset"`; of a table its rows, with the header, and of JSON lists one list of their entries, as they stand there.
#[derive(Debug)]
pub struct KeepList {
    rows: Rows,
}

/// What holds the samples.
#[derive(Debug)]
enum Rows {
    Shards(CaptionFile),
    Table(CaptionFile),
    Lists(Vec<PathBuf>),
}

impl KeepList {
    /// For the samples of `config`, to be written to `output`.
    ///
    /// # Errors
    /// Data that is drawn and not read, a caption file that is not there, or an `output` whose ending is not that of the table.
    pub fn new(config: &DataConfig, output: &Path) -> Result<Self, DedupError> {
        let drawn = |kind| Err(DedupError::Drawn { kind });
        let (rows, table) = match config {
            DataConfig::Emoji(_) => return drawn("emoji"),
            DataConfig::Scenes(_) => return drawn("emoji-scenes"),
            DataConfig::Parquet(_) => return Err(DedupError::NoList { kind: "parquet" }),
            DataConfig::Mixture(_) => return Err(DedupError::NoList { kind: "mixture" }),
            DataConfig::WebDataset(config) => (Rows::Shards(CaptionFile::Shards(config.clone())), None),
            DataConfig::Folder(config) => {
                let file = config.caption_file()?;
                (Rows::Table(table(config, &file)?), Some(file))
            }
            DataConfig::Json(config) => (Rows::Lists(config.paths.clone()), config.paths.first().cloned()),
        };
        if let Some(table) = table
            && let Some(ending) = table.extension()
            && output.extension() != Some(ending)
        {
            return Err(DedupError::Ending {
                output: output.display().to_string(),
                table: table.display().to_string(),
                ending: ending.display().to_string(),
            });
        }
        Ok(Self { rows })
    }

    /// Writes what is kept of `source` to `kept`, and to `groups` the samples that are in a group with others: shard and key, or
    /// the image of a table, with a `group` that those of one group share, an object on each line.
    ///
    /// # Errors
    /// A table or shard that has changed, or a disk that refuses.
    pub fn write<'a>(
        &self,
        source: &'a dyn Source,
        found: &'a Dedup,
        kept: &mut dyn Write,
        groups: Option<&'a mut dyn Write>,
    ) -> Result<(), DedupError> {
        let mut output = Output {
            source,
            found,
            groups,
            row: 0,
            sample: 0,
        };
        match &self.rows {
            Rows::Shards(file) | Rows::Table(file) => {
                let header = file.header()?;
                if !header.is_empty() {
                    line(kept, &header)?;
                }
                let is_object = matches!(self.rows, Rows::Shards(_));
                file.for_each(|record| {
                    let object = || serde_json::from_slice(&record.raw).ok().filter(|_| is_object);
                    match output.next(object)? {
                        true => line(kept, &record.raw),
                        false => Ok(()),
                    }
                })?;
            }
            Rows::Lists(paths) => {
                let mut separator = "[\n";
                for path in paths {
                    for entry in entries(path)? {
                        if output.next(|| None)? {
                            let entry = format!("{separator}{entry}");
                            kept.write_all(entry.as_bytes()).map_err(CurateError::Write)?;
                            separator = ",\n";
                        }
                    }
                }
                let end = if separator == ",\n" { "\n]" } else { "[]" };
                line(kept, end.as_bytes())?;
            }
        }
        let (found, opened) = (output.sample, source.num_samples());
        match found == opened {
            true => Ok(()),
            false => Err(DedupError::Changed { found, opened }),
        }
    }
}

/// Goes through rows and samples side by side.
struct Output<'a> {
    source: &'a dyn Source,
    found: &'a Dedup,
    groups: Option<&'a mut dyn Write>,
    row: usize,
    sample: usize,
}

impl Output<'_> {
    /// Whether the next row is kept. Writes its group; `object` has shard and key.
    fn next(&mut self, object: impl FnOnce() -> Option<Value>) -> Result<bool, CurateError> {
        let (row, sample) = (self.row, self.sample);
        self.row += 1;
        if sample == self.source.num_samples() || self.source.row(sample) != row {
            return Ok(false);
        }
        self.sample += 1;
        if let (Some(groups), Some(group)) = (&mut self.groups, self.found.group(sample)) {
            let mut object = object().unwrap_or_else(|| json!({"image": self.source.name(sample)}));
            object["group"] = group.into();
            line(groups, object.to_string().as_bytes())?;
        }
        Ok(self.found.is_kept(sample))
    }
}

fn line(out: &mut dyn Write, bytes: &[u8]) -> Result<(), CurateError> {
    let write = out.write_all(bytes).and_then(|()| out.write_all(b"\n"));
    write.map_err(CurateError::Write)
}

/// The table of a folder, row by row.
fn table(config: &FolderConfig, file: &Path) -> Result<CaptionFile, DedupError> {
    let (path, column) = (file.to_owned(), config.caption_column.clone());
    let usual = match file.extension().and_then(|ending| ending.to_str()) {
        Some("jsonl") => return Ok(CaptionFile::JsonLines { path, key: column }),
        Some("tsv") => '\t',
        _ => ',',
    };
    Ok(CaptionFile::Table {
        path,
        separator: config.separator(usual)?,
        column,
    })
}

/// The entries of a JSON list.
fn entries(path: &Path) -> Result<Vec<Value>, DedupError> {
    let text = fs::read_to_string(path).map_err(|source| DataError::Read {
        path: path.to_owned(),
        source,
    })?;
    let entries = serde_json::from_str(text.trim_start_matches('\u{feff}'));
    // It was a list when the source was opened.
    Ok(entries.unwrap_or_default())
}
