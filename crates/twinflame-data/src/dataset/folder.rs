//! A folder of images with a caption table: CSV, TSV or JSON lines.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::listed::{ListedBuilder, Rows};
use super::table::{Columns, Table};
use super::{CaptionNoise, DataError, ListedSource};

/// Names looked for when the configuration names no caption file.
const CAPTION_FILES: [&str; 3] = ["captions.csv", "captions.tsv", "captions.jsonl"];

/// Images in a folder, captions in a table.
///
/// The table is read once on opening, and its rows again when they are needed: whatever its size, some 30 bytes of memory are
/// kept of a row.
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
        let table = Table::open(self.caption_file()?, self.columns(), |usual| self.separator(usual))?;
        let mut builder = ListedBuilder::new(&self.path);
        table.for_each(|place, row| builder.add(place, row))?;
        let file = table.file().to_owned();
        builder.finish(Rows::Table(table), &file)
    }

    fn columns(&self) -> Columns {
        Columns {
            image: self.image_column.clone(),
            caption: self.caption_column.clone(),
            id: self.id_column.clone(),
            class: self.class_column.clone(),
        }
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

    /// Byte between the columns of a table whose ending means `usual`.
    ///
    /// # Errors
    /// A separator that is not one byte.
    pub(crate) fn separator(&self, usual: char) -> Result<u8, DataError> {
        let separator = self.separator.unwrap_or(usual);
        let byte = u8::try_from(separator).ok().filter(u8::is_ascii);
        byte.ok_or(DataError::Separator { separator })
    }
}

#[cfg(test)]
mod tests;
