//! Can it learn, resume and stop?

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a panic is the report of a test"
)]

mod backends;
mod overfit;
mod resume;
mod runs;
mod saved;
mod start;
mod stop;
