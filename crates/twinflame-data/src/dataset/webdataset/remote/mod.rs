//! Shards on servers: HTTP, and the object stores S3 and Google Cloud Storage.

mod blocks;
mod object;
mod stores;
#[cfg(test)]
pub(crate) mod test_server;
#[cfg(test)]
mod tests;
mod tries;

pub(super) use object::Object;
pub(super) use stores::Stores;
pub(super) use tries::{Failed, Patience};
