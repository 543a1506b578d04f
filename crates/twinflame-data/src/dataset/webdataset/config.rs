use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::dataset::{CaptionNoise, DataError, IMAGE_ENDINGS, WebDatasetSource};

/// Tar shards as the WebDataset library and img2dataset write them: members of one name up to its first dot, side by side,
/// are a sample: `000123.jpg`, `000123.txt`, `000123.json`.
///
/// ```toml
/// [data.train]
/// kind = "webdataset"
/// shards = "cc3m/{00000..00331}.tar"
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebDatasetConfig {
    /// Paths of the shards, one or a list: with brace lists (`{000..199}`, `{a,b}`) and globs (`*`, `?`, `[…]`).
    #[serde(with = "one_or_many")]
    pub shards: Vec<String>,
    /// Endings of the member that is the image; the first one that a sample has counts. Default jpg, jpeg, png,
    /// webp, gif, bmp.
    #[serde(default = "image_keys")]
    pub image_keys: Vec<String>,
    /// Ending of the member with the caption. Default "txt": the whole of it is the caption. In a member whose ending is or
    /// ends in "json" the caption is the field `caption_field`.
    #[serde(default = "caption_key")]
    pub caption_key: String,
    /// Field of the JSON member: a text or a list of texts, one of which training draws. Left out: "caption". An error where
    /// `caption_key` is no JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caption_field: Option<String>,
    /// Samples and shards that may be left out because they are damaged or lack a part; one more is an error. Default 1000.
    #[serde(default = "max_skipped")]
    pub max_skipped: usize,
    /// File of the samples to use, an object `{"file": shard, "sample": key}` on each line, as `twinflame data curate` and
    /// `twinflame data dedup` write it. Shards without any are not opened. Left out: all samples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<PathBuf>,
    /// File of samples that show one thing, an object `{"file": shard, "sample": key, "group": number}` on each line, as
    /// `twinflame data dedup --groups` writes it: those of a group have one image id, so that `task.targets = "by-id"` and
    /// `loader.distinct_ids` take them for the same. Left out: every sample is another image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<PathBuf>,
    /// Share of training captions that are replaced by others, see [`CaptionNoise`]. Default 0.
    #[serde(default, skip_serializing_if = "CaptionNoise::is_none")]
    pub caption_noise: CaptionNoise,
}

fn image_keys() -> Vec<String> {
    IMAGE_ENDINGS.map(str::to_owned).to_vec()
}

fn caption_key() -> String {
    "txt".to_owned()
}

fn max_skipped() -> usize {
    1000
}

impl WebDatasetConfig {
    /// These shards with the default endings.
    pub fn new(shards: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            shards: shards.into_iter().map(Into::into).collect(),
            image_keys: image_keys(),
            caption_key: caption_key(),
            caption_field: None,
            max_skipped: max_skipped(),
            keep: None,
            groups: None,
            caption_noise: CaptionNoise::default(),
        }
    }

    /// Reads the members' headers and the captions of every shard, and no image.
    ///
    /// # Errors
    /// Patterns that match no shard, no usable sample, more than `max_skipped` that are not, or a list (`keep`, `groups`) that
    /// cannot be read or names nothing of the shards.
    pub fn open(&self) -> Result<WebDatasetSource, DataError> {
        WebDatasetSource::open(self)
    }

    /// The field of the captions, if they are in JSON.
    pub(super) fn json_field(&self) -> Option<&str> {
        let field = self.caption_field.as_deref().unwrap_or("caption");
        self.caption_key.ends_with("json").then_some(field)
    }

    /// Checks what needs no shard.
    pub(super) fn validate(&self) -> Result<(), DataError> {
        if self.image_keys.is_empty() {
            return Err(DataError::Setting {
                key: "image_keys".into(),
                value: "[]".to_owned(),
                expected: "list the endings of image members, or leave it out for all that can be read".to_owned(),
            });
        }
        match &self.caption_field {
            Some(field) if self.json_field().is_none() => Err(DataError::Setting {
                key: "caption_field".into(),
                value: format!("{field:?}"),
                expected: format!(
                    "captions of .{} members have no fields; set caption_key to \"json\", or leave caption_field out",
                    self.caption_key
                ),
            }),
            _ => Ok(()),
        }
    }
}

/// A text or a list of texts; one is written as a text.
pub(crate) mod one_or_many {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a path or a list of paths")]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }

    pub(crate) fn serialize<S: Serializer>(list: &[String], serializer: S) -> Result<S::Ok, S::Error> {
        match list {
            [one] => one.serialize(serializer),
            many => many.serialize(serializer),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
        Ok(match OneOrMany::deserialize(deserializer)? {
            OneOrMany::One(one) => vec![one],
            OneOrMany::Many(many) => many,
        })
    }
}
