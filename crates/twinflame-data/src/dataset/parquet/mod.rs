//! Parquet files with images and captions.

mod column;
mod config;
mod open;
mod source;
#[cfg(test)]
mod tests;

pub use config::ParquetConfig;
pub use source::ParquetSource;
