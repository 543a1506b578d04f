//! Image-text data for Twinflame: files to batches, on the host.
//!
//! - [`dataset`]: where samples come from: the embedded emoji set, a folder with a caption table, ALBEF's JSON lists,
//!   tar shards
//! - [`mod@decode`], [`resize`], [`transform`]: files to pixels as open_clip and Pillow have them
//! - [`tokenizer`], [`caption`]: texts to ids, and which text of a picture a training step shows
//! - [`loader`]: worker threads that turn samples into [`ImageTextBatch`]es, in an order and with an augmentation that
//!   depend on the seed, the pass over the data and the sample index alone
//! - [`report`]: what was found wrong with the data; [`mod@inspect`]: a look at it before training; [`mod@curate`], [`mod@dedup`]: which pairs to take;
//!   [`shard`]: any source as tar shards
//!
//! Nothing here touches a device: images stay `u8` and captions become ids; the training task uploads them.

pub mod batch;
pub mod caption;
pub mod curate;
pub mod dataset;
pub mod decode;
pub mod dedup;
pub mod inspect;
pub mod loader;
pub mod report;
pub mod resize;
pub mod shard;
pub mod tokenizer;
pub mod transform;

mod buffers;
mod inflate;
mod panics;
mod seed;
mod whole_file;

pub use batch::ImageTextBatch;
pub use dataset::{DataConfig, DataError, EvalSet, SampleError, Source};
pub use decode::{DecodeError, DecodeLimits, DecodedImage, PixelLayout, decode};
pub use loader::{EvalImageBatch, EvalImages, ImageTextLoader, LoaderConfig, LoaderError, LoaderMode, Pipeline};
pub use panics::panic_is_contained;
pub use tokenizer::{
    BERT_VOCAB_SIZE, BertVocab, CLIP_VOCAB_SIZE, SpecialIds, Tokenizer, TokenizerConfig, TokenizerError,
    TokenizerReader, clean_caption, pre_caption, pre_question,
};
pub use transform::{Normalization, OPENAI_MEAN, OPENAI_STD, RgbTensor, Transform, TransformConfig, TransformError};
