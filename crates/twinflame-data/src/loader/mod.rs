//! From a [`Source`](crate::Source) to [`ImageTextBatch`](crate::ImageTextBatch)es, on worker threads.
//!
//! What a batch holds depends on the seed, its position and the data alone: workers take chunks of a batch in any order,
//! and the consumer puts them back in order. See [`ImageTextLoader`].

mod config;
mod error;
mod eval_images;
mod image_text;
mod iter;
mod mix;
mod pipeline;
mod plan;
mod pool;

pub use config::{LoaderConfig, LoaderMode};
pub use error::LoaderError;
pub use eval_images::{EvalImageBatch, EvalImages};
pub use image_text::{Cursor, ImageTextLoader};
pub use pipeline::Pipeline;

#[cfg(test)]
mod tests;
