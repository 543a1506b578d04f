//! Errors of opening a source and of reading one sample.

use std::borrow::Cow;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::emoji::Vendor;
use crate::caption::CaptionMixError;
use crate::decode::DecodeError;
use crate::report::OpenReport;

/// Why a source cannot be opened.
#[derive(Debug, Error)]
pub enum DataError {
    /// A file or folder that cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Path as configured.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// `path` is not a folder.
    #[error("data path {} is not a folder: give the folder that the image paths are relative to", path.display())]
    NotAFolder {
        /// Path as configured.
        path: PathBuf,
    },
    /// A folder without any image.
    #[error("no images in {} or the folders below it: files ending in {endings} were looked for", path.display())]
    NoImages {
        /// Folder searched.
        path: PathBuf,
        /// Endings of image files.
        endings: String,
    },
    /// No caption file in a folder.
    #[error("no captions.csv, captions.tsv or captions.jsonl in {}; set captions to the caption file's name", folder.display())]
    NoCaptionFile {
        /// Folder searched.
        folder: PathBuf,
    },
    /// More than one caption file in a folder.
    #[error("{} has {}; set captions to the one to use", folder.display(), found.join(" and "))]
    ManyCaptionFiles {
        /// Folder searched.
        folder: PathBuf,
        /// Names found.
        found: Vec<String>,
    },
    /// A caption file of unknown kind.
    #[error("caption file {}: unknown ending; it must be .csv, .tsv or .jsonl", file.display())]
    Ending {
        /// Caption file.
        file: PathBuf,
    },
    /// A column that the table does not have.
    #[error("{} has no column {column:?}; its columns are {}. Set {key} to the right one", file.display(), found.join(", "))]
    MissingColumn {
        /// Caption file.
        file: PathBuf,
        /// Column looked for.
        column: String,
        /// Key of the configuration that names the column.
        key: &'static str,
        /// Columns of the file.
        found: Vec<String>,
    },
    /// A separator that is not one byte.
    #[error("separator {separator:?} is not an ASCII character")]
    Separator {
        /// Value found.
        separator: char,
    },
    /// A row that cannot be read.
    #[error("{}, {place}: {message}", file.display())]
    Row {
        /// Caption file.
        file: PathBuf,
        /// Where: "line 7" or "entry 7".
        place: String,
        /// What is wrong.
        message: String,
    },
    /// `shards` of tar shards is empty.
    #[error("shards is empty: give at least one path, such as \"data/{{00000..00331}}.tar\"")]
    NoShards,
    /// A pattern of `shards` that names nothing.
    #[error("shards, {pattern}: {message}")]
    ShardPattern {
        /// Pattern as configured.
        pattern: String,
        /// What is wrong.
        message: String,
    },
    /// A shard that is named twice.
    #[error("shards names {} twice: its samples would count twice", shard.display())]
    ShardTwice {
        /// The shard.
        shard: PathBuf,
    },
    /// More is damaged than may be.
    #[error(
        "more than max_skipped = {max_skipped} shards and samples cannot be used: {report}. Mend them or raise max_skipped"
    )]
    TooManySkipped {
        /// The budget.
        max_skipped: usize,
        /// What was found, up to where the budget was spent.
        report: Box<OpenReport>,
    },
    /// An index of shards that cannot be used or written.
    #[error("index = {path:?}: {message}")]
    Index {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A list of samples that fits none of the shards.
    #[error("{key} = {list:?}: {message}")]
    SampleList {
        /// Key of the configuration.
        key: &'static str,
        /// The list.
        list: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// `paths` of a JSON source is empty.
    #[error("paths is empty: list at least one JSON file")]
    NoPaths,
    /// Nothing usable was found.
    #[error("no usable sample in {}: {report}", path.display())]
    NoSamples {
        /// Folder or first file.
        path: PathBuf,
        /// What was found instead.
        report: Box<OpenReport>,
    },
    /// An emoji vendor outside its split.
    #[error("vendor {} is not part of split {split:?}, which has {}", vendor.name(), allowed.join(", "))]
    Vendor {
        /// Vendor asked for.
        vendor: Vendor,
        /// Split asked for.
        split: &'static str,
        /// Vendors of the split.
        allowed: Vec<&'static str>,
    },
    /// An empty list of vendors.
    #[error("vendors is empty: leave it out for all vendors of the split")]
    NoVendors,
    /// A probability outside 0 to 1.
    #[error("{key} = {value}: it is a probability, from 0 to 1")]
    Probability {
        /// Key of the configuration.
        key: &'static str,
        /// Value found.
        value: f64,
    },
    /// A value out of its range.
    #[error("{key} = {value}: {expected}")]
    Setting {
        /// Key of the configuration.
        key: Cow<'static, str>,
        /// Value found.
        value: String,
        /// What would be right.
        expected: String,
    },
    /// Too few scenes with captions that are true of no other one.
    #[error(
        "num_scenes = {num_scenes}: with these emoji and objects no more than {found} scenes were found with captions that are \
         true of no other one; lower num_scenes, or raise num_emoji or objects"
    )]
    FewScenes {
        /// Scenes asked for.
        num_scenes: usize,
        /// Scenes found.
        found: usize,
    },
    /// Caption noise where no sample has a wrong caption to give.
    #[error(
        "caption_noise takes captions of images with another id, but there is one id only (samples: {num_samples})"
    )]
    NoOtherCaption {
        /// Samples of the source.
        num_samples: usize,
    },
    /// A caption mix that cannot be drawn from.
    #[error(transparent)]
    Captions(#[from] CaptionMixError),
    /// A Parquet file that cannot be read.
    #[error("{}: {message}", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A source of a mixture that cannot be opened.
    #[error("sources.{name}: {source}")]
    Part {
        /// Its name.
        name: String,
        /// Why.
        source: Box<DataError>,
    },
    /// A source whose samples come in groups.
    #[error(
        "sources.{name}: {num_together} of its samples belong together in a batch (counterparts = true), which a mixture cannot \
         promise; set it to false"
    )]
    PartTogether {
        /// Its name.
        name: String,
        /// Samples that belong together.
        num_together: usize,
    },
    /// A damaged embedded file: a broken build, not a user's mistake.
    #[error("the embedded {file} is damaged: {message}")]
    Embedded {
        /// File in the repository.
        file: &'static str,
        /// What is wrong.
        message: String,
    },
}

/// Why one sample gives no pixels.
#[derive(Debug, Error)]
pub enum SampleError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// Image file.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// The bytes are no image, or one beyond the limits.
    #[error("{name}: {source}")]
    Decode {
        /// The sample.
        name: String,
        /// Cause.
        source: DecodeError,
    },
    /// A row of a table that cannot be read again.
    #[error(transparent)]
    Row(DataError),
    /// A caption that is not as it was when the source was opened.
    #[error("{name}: {message}")]
    Caption {
        /// The sample.
        name: String,
        /// What is wrong.
        message: String,
    },
    /// An embedded sheet is damaged.
    #[error(transparent)]
    Embedded(DataError),
    /// Decoder or transform panicked: a defect of theirs, met by this image.
    #[error("{name}: the decoder panicked: {message}")]
    Panicked {
        /// The sample.
        name: String,
        /// Panic message.
        message: String,
    },
}

impl SampleError {
    /// The message without the name of the sample, and without a path that is one of `known`.
    pub(crate) fn without_name(&self, known: &[&str]) -> String {
        match self {
            Self::Decode { source, .. } => source.to_string(),
            Self::Caption { message, .. } => message.clone(),
            Self::Panicked { message, .. } => format!("the decoder panicked: {message}"),
            Self::Read { path, source } if known.contains(&&*path.to_string_lossy()) => source.to_string(),
            Self::Read { .. } | Self::Row(_) | Self::Embedded(_) => self.to_string(),
        }
    }

    /// The kind of failure, under which reports count it.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Read { .. } => "cannot read file",
            Self::Decode { source, .. } => source.reason(),
            Self::Row(_) | Self::Caption { .. } => "unreadable caption",
            Self::Embedded(_) => "damaged embedded image",
            Self::Panicked { .. } => "decoder panicked",
        }
    }
}
