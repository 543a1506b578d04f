//! Parquet files with images and captions.

mod captions;
mod column;
mod config;
mod open;
mod source;
#[cfg(test)]
pub(crate) mod tests;
mod zstd;

pub(crate) use captions::for_each_caption;
pub use config::ParquetConfig;
pub use source::ParquetSource;
