use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::ParquetSource;
use crate::dataset::webdataset::one_or_many;
use crate::dataset::{CaptionNoise, DataError};

/// Parquet files as Hugging Face datasets and img2dataset write them: images in a column, or paths of images.
///
/// ```toml
/// [data.train]
/// kind = "parquet"
/// shards = "data/train-*.parquet"
/// ```
///
/// Files compressed with snappy or gzip, or not at all, are read. On opening, the captions are read once, so that the number of
/// samples is exact; in training, captions and images are read from the row groups again. Row groups count as shards for
/// `loader.shuffle_shards`: set it for large data, so that a row group is read by and by and not all over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParquetConfig {
    /// Paths of the files, one or a list: with brace lists (`{000..199}`, `{a,b}`) and globs (`*`, `?`, `[…]`).
    #[serde(with = "one_or_many")]
    pub shards: Vec<String>,
    /// Column of the image: binary, a struct with the field `bytes`, or a text that is the path of an image file. Left out: the
    /// first of image, jpg, jpeg, png, webp that is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_column: Option<String>,
    /// Column of the caption: a text or a list of texts, one of which training draws. Left out: caption or text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caption_column: Option<String>,
    /// Folder that image paths are relative to. Left out: the folder of the file. No effect on images in the column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<PathBuf>,
    /// Rows that may be left out because they lack image or caption; one more is an error. Default 1000.
    #[serde(default = "max_skipped")]
    pub max_skipped: usize,
    /// Share of training captions that are replaced by others, see [`CaptionNoise`]. Default 0.
    #[serde(default, skip_serializing_if = "CaptionNoise::is_none")]
    pub caption_noise: CaptionNoise,
}

fn max_skipped() -> usize {
    1000
}

impl ParquetConfig {
    /// These files with the usual columns.
    pub fn new(shards: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            shards: shards.into_iter().map(Into::into).collect(),
            image_column: None,
            caption_column: None,
            root: None,
            max_skipped: max_skipped(),
            caption_noise: CaptionNoise::default(),
        }
    }

    /// Reads what the files say of themselves, and the captions.
    ///
    /// # Errors
    /// Patterns that match no file, a file that is damaged or cut short, a column that is not there or of a kind that cannot be
    /// read, no usable row, or more than `max_skipped` that are not.
    pub fn open(&self) -> Result<ParquetSource, DataError> {
        ParquetSource::open(self)
    }
}
