//! `[data.*]` of a recipe.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{DataError, EmojiConfig, EmojiSource, FolderConfig, JsonConfig, Source};

/// A data set as recipes describe it: `kind = "emoji" | "folder" | "json"` with the keys of that kind.
///
/// Paths are relative to the working directory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum DataConfig {
    /// The embedded emoji.
    Emoji(EmojiConfig),
    /// A folder of images with a caption table.
    Folder(FolderConfig),
    /// JSON lists as ALBEF's.
    Json(JsonConfig),
}

impl DataConfig {
    /// Opens and checks the source; what was found is in [`Source::report`].
    ///
    /// # Errors
    /// Paths, columns or rows that are wrong, impossible settings, or no usable sample.
    pub fn open(&self) -> Result<Arc<dyn Source>, DataError> {
        Ok(match self {
            Self::Emoji(config) => Arc::new(EmojiSource::open(config)?),
            Self::Folder(config) => Arc::new(config.open()?),
            Self::Json(config) => Arc::new(config.open()?),
        })
    }
}

impl Default for DataConfig {
    fn default() -> Self {
        Self::Emoji(EmojiConfig::default())
    }
}
