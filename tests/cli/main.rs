//! What does a user see on the command line?
//!
//! Each test runs the binary in an empty folder and compares what it prints, with paths and
//! machine-dependent words replaced.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a panic is the report of a test"
)]

mod data;
mod dedup;
mod errors;
mod eval;
mod export;
mod help;
mod import;
mod profile;
mod remote;
mod run;
mod tables;
#[cfg(feature = "remote")]
#[path = "../../crates/twinflame-data/src/dataset/webdataset/remote/test_server.rs"]
#[allow(dead_code, reason = "not every suite needs every fault")]
mod test_server;
mod train;
mod verify;
