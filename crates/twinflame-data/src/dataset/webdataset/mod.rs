//! Tar shards as WebDataset has them.

mod config;
mod lists;
mod sample_list;
mod scan;
mod shards;
mod source;
#[cfg(test)]
mod tests;

pub use config::WebDatasetConfig;
pub(crate) use config::one_or_many;
pub(super) use lists::{Lists, Seen};
pub(super) use sample_list::{Naming, SampleName};
pub(crate) use shards::expand;
pub use source::WebDatasetSource;
pub(crate) use source::for_each_caption;
