//! Tar shards as WebDataset has them.

mod config;
mod index;
mod lists;
mod opening;
#[cfg(feature = "remote")]
mod remote;
mod sample_list;
mod scan;
mod shard;
mod shards;
mod source;
#[cfg(test)]
mod tests;
mod url;

pub use config::WebDatasetConfig;
pub(crate) use config::one_or_many;
pub(super) use lists::{Lists, Seen};
pub(crate) use opening::for_each_caption;
pub(super) use sample_list::{Naming, SampleName};
pub(crate) use shards::expand;
pub use source::WebDatasetSource;
pub use url::is_url;
