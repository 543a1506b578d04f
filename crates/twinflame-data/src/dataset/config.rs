//! `[data.*]` of a recipe.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    CaptionNoise, DataError, EmojiConfig, EmojiSource, FolderConfig, JsonConfig, MixtureConfig, NoisyCaptions,
    ParquetConfig, ScenesConfig, ScenesSource, Source, WebDatasetConfig,
};

/// A data set as recipes describe it: `kind = "emoji" | "emoji-scenes" | "folder" | "json" | "webdataset" | "parquet" | "mixture"` with the keys of that kind.
///
/// Paths are relative to the working directory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum DataConfig {
    /// The embedded emoji.
    Emoji(EmojiConfig),
    /// Scenes made of the embedded emoji.
    #[serde(rename = "emoji-scenes")]
    Scenes(ScenesConfig),
    /// A folder of images with a caption table.
    Folder(FolderConfig),
    /// JSON lists as ALBEF's.
    Json(JsonConfig),
    /// Tar shards.
    WebDataset(WebDatasetConfig),
    /// Parquet files.
    Parquet(ParquetConfig),
    /// Several of these.
    Mixture(MixtureConfig),
}

impl DataConfig {
    /// Opens and checks the source; what was found is in [`Source::report`].
    ///
    /// # Errors
    /// Paths, columns or rows that are wrong, impossible settings, or no usable sample.
    pub fn open(&self) -> Result<Arc<dyn Source>, DataError> {
        let noise = self.caption_noise();
        noise.validate()?;
        let source: Arc<dyn Source> = match self {
            Self::Emoji(config) => Arc::new(EmojiSource::open(config)?),
            Self::Scenes(config) => Arc::new(ScenesSource::open(config)?),
            Self::Folder(config) => Arc::new(config.open()?),
            Self::Json(config) => Arc::new(config.open()?),
            Self::WebDataset(config) => Arc::new(config.open()?),
            Self::Parquet(config) => Arc::new(config.open()?),
            Self::Mixture(config) => Arc::new(config.open()?),
        };
        if noise.is_none() {
            return Ok(source);
        }
        Ok(Arc::new(NoisyCaptions::new(source, noise)?))
    }

    /// Noise on the training captions.
    pub fn caption_noise(&self) -> CaptionNoise {
        match self {
            Self::Emoji(config) => config.caption_noise,
            Self::Scenes(config) => config.caption_noise,
            Self::Folder(config) => config.caption_noise,
            Self::Json(config) => config.caption_noise,
            Self::WebDataset(config) => config.caption_noise,
            Self::Parquet(config) => config.caption_noise,
            // Each of its sources has its own.
            Self::Mixture(_) => CaptionNoise::default(),
        }
    }
}

impl Default for DataConfig {
    fn default() -> Self {
        Self::Emoji(EmojiConfig::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_has_its_keys_and_no_others() {
        let parse = |text: &str| serde_json::from_str::<DataConfig>(text).map_err(|error| error.to_string());
        assert_eq!(parse(r#"{"kind": "emoji"}"#), Ok(DataConfig::default()));
        assert_eq!(
            parse(r#"{"kind": "emoji-scenes"}"#),
            Ok(DataConfig::Scenes(ScenesConfig::default()))
        );
        assert_eq!(
            parse(r#"{"kind": "folder", "path": "d"}"#),
            Ok(DataConfig::Folder(FolderConfig::new("d")))
        );
        assert_eq!(
            parse(r#"{"kind": "json", "paths": []}"#),
            Ok(DataConfig::Json(JsonConfig::new([""; 0])))
        );
        for shards in [r#""{0..9}.tar""#, r#"["{0..9}.tar"]"#] {
            assert_eq!(
                parse(&format!(r#"{{"kind": "webdataset", "shards": {shards}}}"#)),
                Ok(DataConfig::WebDataset(WebDatasetConfig::new(["{0..9}.tar"])))
            );
        }
        let wrong = [
            (
                r#"{"kind": "emoji", "splt": "a"}"#,
                "unknown field `splt`, expected one of `split`, `vendors`",
            ),
            (
                r#"{"kind": "emoji", "split": "d"}"#,
                "unknown variant `d`, expected one of `train`, `a`, `b`, `c`",
            ),
            (
                r#"{"kind": "emoji", "background": "blue"}"#,
                "background \"blue\" is none of",
            ),
            (
                r#"{"kind": "emoji-scenes", "split": "test"}"#,
                "unknown variant `test`, expected one of `train`, `known`, `pairs`, `emoji`, `vendor`",
            ),
            (
                r#"{"kind": "emoji-scenes", "scene_prob": 1}"#,
                "unknown field `scene_prob`, expected one of `split`, `num_emoji`",
            ),
            (
                r#"{"kind": "csv"}"#,
                "unknown variant `csv`, expected one of `emoji`, `emoji-scenes`, `folder`, `json`, `webdataset`, `parquet`, `mixture`",
            ),
            (r#"{"kind": "folder"}"#, "missing field `path`"),
            (
                r#"{"kind": "webdataset", "shards": 3}"#,
                "expected a path or a list of paths",
            ),
        ];
        for (text, message) in wrong {
            let error = parse(text).unwrap_err();
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn a_written_configuration_reads_back() {
        let config = DataConfig::default();
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<DataConfig>(&text).unwrap(), config);
    }
}
