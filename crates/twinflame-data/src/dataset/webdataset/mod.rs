//! Tar shards as WebDataset has them.

mod config;
mod index;
#[cfg(feature = "remote")]
mod remote;
mod scan;
mod shard;
mod shards;
mod source;
#[cfg(test)]
mod tests;

pub use config::WebDatasetConfig;
pub use shard::is_url;
pub use source::WebDatasetSource;
pub(crate) use source::for_each_caption;
