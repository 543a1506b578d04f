//! Where samples come from, and what evaluation compares.
//!
//! A [`Source`] is opened from a [`DataConfig`]; opening checks it ([`OpenReport`](crate::report::OpenReport)).
//! Training takes random draws ([`Source::draw`]), evaluation fixed pictures and captions ([`EvalSet`]).

pub mod emoji;
pub mod parquet;
pub mod scenes;
pub mod webdataset;

mod caption_noise;
mod config;
mod error;
mod eval_set;
mod fault;
mod folder;
mod image_files;
mod image_list;
mod json;
mod listed;
mod mixture;
mod source;
mod table;

pub use caption_noise::{CaptionNoise, NoisyCaptions};
pub use config::DataConfig;
pub use emoji::{Background, EmojiConfig, EmojiSource, EmojiSplit, Vendor};
pub use error::{DataError, SampleError};
pub use eval_set::{EvalClasses, EvalSet};
pub use folder::FolderConfig;
pub use image_files::{IMAGE_ENDINGS, ImageFiles};
pub use image_list::ImageList;
pub use json::JsonConfig;
pub use listed::ListedSource;
pub use mixture::{MixtureConfig, MixturePart, MixtureSource};
pub use parquet::{ParquetConfig, ParquetSource};
pub use scenes::{ScenesConfig, ScenesSource, ScenesSplit};
pub use source::{Classes, Counterpart, Draw, Place, Share, Source};
pub(crate) use table::texts_of;
pub use webdataset::{WebDatasetConfig, WebDatasetSource, is_url};
