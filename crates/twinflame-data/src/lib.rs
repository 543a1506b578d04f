//! Image-text data for Twinflame: files to batches, on the host.
//!
//! Nothing here touches a device: images stay `u8` and captions become ids; the training task uploads them.

pub mod batch;
pub mod decode;
pub mod resize;
pub mod tokenizer;
pub mod transform;

pub use batch::ImageTextBatch;
pub use decode::{DecodeError, DecodeLimits, DecodedImage, PixelLayout, decode};
pub use tokenizer::{Tokenizer, TokenizerConfig, TokenizerError, clean_caption};
pub use transform::{
    Normalization, OPENAI_MEAN, OPENAI_STD, RgbTensor, Transform, TransformConfig, TransformError,
};
