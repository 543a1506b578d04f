//! A folder of images with a caption table: CSV, TSV or JSON lines.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::listed::{ListedBuilder, Row};
use super::{CaptionNoise, DataError, ListedSource};

/// Names looked for when the configuration names no caption file.
const CAPTION_FILES: [&str; 3] = ["captions.csv", "captions.tsv", "captions.jsonl"];

/// Images in a folder, captions in a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FolderConfig {
    /// Folder that the image paths in the table are relative to.
    pub path: PathBuf,
    /// Caption file, relative to `path`. Left out: the one of `captions.csv`, `captions.tsv`, `captions.jsonl` that is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub captions: Option<PathBuf>,
    /// Column (for JSON lines: key) of the image path. Default "image".
    #[serde(default = "image_column")]
    pub image_column: String,
    /// Column of the caption. Default "caption". In JSON lines the value may be a list of texts.
    #[serde(default = "caption_column")]
    pub caption_column: String,
    /// Column of an id that images of one thing share. Left out: the image path is the id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id_column: Option<String>,
    /// Column of a class name, for zero-shot classification and linear probes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class_column: Option<String>,
    /// Column separator, where the ending (`.csv` comma, `.tsv` tab) says the wrong thing. One ASCII character.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub separator: Option<char>,
    /// Share of training captions that are replaced by others, see [`CaptionNoise`]. Default 0.
    #[serde(default, skip_serializing_if = "CaptionNoise::is_none")]
    pub caption_noise: CaptionNoise,
}

fn image_column() -> String {
    "image".to_owned()
}

fn caption_column() -> String {
    "caption".to_owned()
}

impl FolderConfig {
    /// The folder with default names of file and columns.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            captions: None,
            image_column: image_column(),
            caption_column: caption_column(),
            id_column: None,
            class_column: None,
            separator: None,
            caption_noise: CaptionNoise::default(),
        }
    }

    /// Reads and checks the table, without noise on its captions.
    ///
    /// # Errors
    /// A folder, file or column that is not there; a row that cannot be read; no usable row.
    pub fn open(&self) -> Result<ListedSource, DataError> {
        if !self.path.is_dir() {
            return Err(DataError::NotAFolder {
                path: self.path.clone(),
            });
        }
        let file = self.caption_file()?;
        let mut builder = ListedBuilder::new(&self.path);
        match file.extension().and_then(|ending| ending.to_str()) {
            Some("csv") => self.read_table(&file, ',', &mut builder)?,
            Some("tsv") => self.read_table(&file, '\t', &mut builder)?,
            Some("jsonl") => self.read_json_lines(&file, &mut builder)?,
            _ => return Err(DataError::Ending { file }),
        }
        builder.finish(&file)
    }

    /// The caption file.
    pub(crate) fn caption_file(&self) -> Result<PathBuf, DataError> {
        if let Some(name) = &self.captions {
            return Ok(self.path.join(name));
        }
        let found: Vec<&str> = CAPTION_FILES
            .into_iter()
            .filter(|name| self.path.join(name).is_file())
            .collect();
        match found[..] {
            [] => Err(DataError::NoCaptionFile {
                folder: self.path.clone(),
            }),
            [name] => Ok(self.path.join(name)),
            _ => Err(DataError::ManyCaptionFiles {
                folder: self.path.clone(),
                found: found.into_iter().map(str::to_owned).collect(),
            }),
        }
    }

    /// Columns with the keys that configure them; the first two are needed.
    fn columns(&self) -> [(&'static str, Option<&str>); 4] {
        [
            ("image_column", Some(&self.image_column)),
            ("caption_column", Some(&self.caption_column)),
            ("id_column", self.id_column.as_deref()),
            ("class_column", self.class_column.as_deref()),
        ]
    }

    /// Byte between the columns of a table whose ending means `usual`.
    pub(crate) fn separator(&self, usual: char) -> Result<u8, DataError> {
        let separator = self.separator.unwrap_or(usual);
        let byte = u8::try_from(separator).ok().filter(u8::is_ascii);
        byte.ok_or(DataError::Separator { separator })
    }

    fn read_table(&self, file: &Path, separator: char, builder: &mut ListedBuilder) -> Result<(), DataError> {
        let separator = self.separator(separator)?;
        let reader = File::open(file).map_err(|source| DataError::Read {
            path: file.to_owned(),
            source,
        })?;
        let mut table = csv::ReaderBuilder::new().delimiter(separator).from_reader(reader);
        let header = table
            .headers()
            .map_err(|error| bad_row(file, "line 1".to_owned(), &error))?
            .clone();
        let mut at = [None; 4];
        for (at, (key, column)) in at.iter_mut().zip(self.columns()) {
            let Some(column) = column else { continue };
            let position = header.iter().position(|name| name.trim() == column);
            *at = Some(position.ok_or_else(|| DataError::MissingColumn {
                file: file.to_owned(),
                column: column.to_owned(),
                key,
                found: header.iter().map(str::to_owned).collect(),
            })?);
        }
        let mut record = csv::StringRecord::new();
        loop {
            let line = table.position().line();
            let more = table
                .read_record(&mut record)
                .map_err(|error| bad_row(file, format!("line {line}"), &error))?;
            if !more {
                return Ok(());
            }
            let line = record.position().map_or(line, csv::Position::line);
            let [image, caption, id, class] =
                at.map(|at| at.and_then(|at| record.get(at)).map(|text| text.trim().to_owned()));
            builder.add(Row {
                image: image.unwrap_or_default(),
                captions: caption.into_iter().collect(),
                id: id.filter(|id| !id.is_empty()),
                class: class.filter(|class| !class.is_empty()),
                place: format!("line {line}"),
            });
        }
    }

    fn read_json_lines(&self, file: &Path, builder: &mut ListedBuilder) -> Result<(), DataError> {
        let read = |source| DataError::Read {
            path: file.to_owned(),
            source,
        };
        let reader = BufReader::new(File::open(file).map_err(read)?);
        for (at, line) in reader.lines().enumerate() {
            let line = line.map_err(read)?;
            if line.trim().is_empty() {
                continue;
            }
            let place = format!("line {}", at + 1);
            let object: BTreeMap<String, Value> = serde_json::from_str(line.trim_start_matches('\u{feff}'))
                .map_err(|error| bad_row(file, place.clone(), &error))?;
            builder.add(self.row_of_object(file, place, object)?);
        }
        Ok(())
    }

    fn row_of_object(&self, file: &Path, place: String, mut object: BTreeMap<String, Value>) -> Result<Row, DataError> {
        let mut row = Row::default();
        for (key, column) in self.columns() {
            let Some(column) = column else { continue };
            let optional = matches!(key, "id_column" | "class_column");
            let Some(value) = object.remove(column).filter(|value| !(optional && value.is_null())) else {
                if optional {
                    continue;
                }
                return Err(DataError::MissingColumn {
                    file: file.to_owned(),
                    column: column.to_owned(),
                    key,
                    found: object.into_keys().collect(),
                });
            };
            let wrong = |wanted| DataError::Row {
                file: file.to_owned(),
                place: place.clone(),
                message: format!("{column:?} must be {wanted}"),
            };
            match key {
                "image_column" => row.image = text_of(value).ok_or_else(|| wrong("a path"))?,
                "caption_column" => row.captions = texts_of(value).ok_or_else(|| wrong("a text or a list of texts"))?,
                "id_column" => row.id = Some(text_of(value).ok_or_else(|| wrong("a text or a number"))?),
                _ => row.class = Some(text_of(value).ok_or_else(|| wrong("a text or a number"))?),
            }
        }
        row.place = place;
        Ok(row)
    }
}

fn bad_row(file: &Path, place: String, error: &dyn std::error::Error) -> DataError {
    DataError::Row {
        file: file.to_owned(),
        place,
        message: error.to_string(),
    }
}

/// A text, or a number as text.
pub(super) fn text_of(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// One text or a list of texts. `null` is no text at all.
pub(crate) fn texts_of(value: Value) -> Option<Vec<String>> {
    match value {
        Value::Null => Some(Vec::new()),
        Value::String(text) => Some(vec![text]),
        Value::Array(values) => values
            .into_iter()
            .map(|value| value.as_str().map(str::to_owned))
            .collect(),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
