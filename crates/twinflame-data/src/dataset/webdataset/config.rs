use std::path::PathBuf;

use serde::{Deserialize, Serialize};

#[cfg(feature = "remote")]
use super::remote::Patience;
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
    /// Paths of the shards, one or a list: with brace lists (`{000..199}`, `{a,b}`) and globs (`*`, `?`, `[…]`). Built with the
    /// feature `remote`, URLs too: `http://`, `https://` (no globs), `s3://BUCKET/NAME` and `gs://BUCKET/NAME`, the last two
    /// with credentials from the environment (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT`, `GOOGLE_APPLICATION_CREDENTIALS`, …).
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
    /// File that keeps what opening found, so that the next opening reads only shards that are new or have changed: by size
    /// and time, or a server's ETag. Made if it is not there, and anew if it is of other `image_keys`, `caption_key` or
    /// `caption_field`. For one source each. Left out: every opening reads all shards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<PathBuf>,
    /// Seconds that a server may be silent before a request counts as failed. After three times as many no request is tried
    /// again. Default 5.
    #[serde(default = "timeout_seconds", skip_serializing_if = "is_timeout_seconds")]
    pub timeout_seconds: f64,
    /// How often a request to a server is tried again, after 0.2 s, 0.4 s, 0.8 s and so on: no connection, silence, an answer
    /// that stops, and the statuses 5xx, 408 and 429. Default 5.
    #[serde(default = "retries", skip_serializing_if = "is_retries")]
    pub retries: usize,
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

fn timeout_seconds() -> f64 {
    5.0
}

fn is_timeout_seconds(&seconds: &f64) -> bool {
    seconds == timeout_seconds()
}

fn retries() -> usize {
    5
}

fn is_retries(&times: &usize) -> bool {
    times == retries()
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
            index: None,
            timeout_seconds: timeout_seconds(),
            retries: retries(),
            caption_noise: CaptionNoise::default(),
        }
    }

    /// Reads the members' headers and the captions of every shard, and no image. Of a shard on a server it reads blocks of 1
    /// to 4 MiB one after another, with the images in them, where these are shorter than about 1 MiB, and leaves out longer
    /// ones.
    ///
    /// # Errors
    /// Patterns that match no shard, no usable sample, more than `max_skipped` that are not, a server that does not answer, an
    /// index that is damaged, or a list (`keep`, `groups`) that cannot be read or names nothing of the shards.
    pub fn open(&self) -> Result<WebDatasetSource, DataError> {
        WebDatasetSource::open(self)
    }

    /// How long servers are waited for.
    #[cfg(feature = "remote")]
    pub(super) fn patience(&self) -> Patience {
        Patience {
            timeout: std::time::Duration::from_secs_f64(self.timeout_seconds),
            retries: self.retries,
        }
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
        const MAX_TIMEOUT: f64 = 3600.0;
        if !(self.timeout_seconds > 0.0 && self.timeout_seconds <= MAX_TIMEOUT) {
            return Err(DataError::Setting {
                key: "timeout_seconds".into(),
                value: self.timeout_seconds.to_string(),
                expected: format!("above 0, up to {MAX_TIMEOUT}"),
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
