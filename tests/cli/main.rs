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
mod run;
mod tables;
mod train;
mod verify;
