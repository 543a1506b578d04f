//! Damaged and hostile files: every reader answers with an error or a value, never with a panic, and takes no more memory
//! than it says.
//!
//! `TWINFLAME_FUZZ_CASES` sets how many variants of each file are tried (default 2000).

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that says how much it did"
)]

mod archives;
mod change;
mod configurations;
mod memory;
mod tokenizers;
mod variants;

/// One test, because it measures what the whole process allocates.
#[test]
fn no_variant_of_a_file_panics_or_takes_more_memory_than_stated() {
    archives::archives();
    configurations::configurations();
    tokenizers::tokenizers();
}
