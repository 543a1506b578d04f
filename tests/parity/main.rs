//! Does Twinflame compute what open_clip and salesforce/ALBEF compute? Fixtures: `tests/fixtures/README.md`.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a panic is the report of a test"
)]

mod albef;
mod fixture;
mod initial;
mod kernels;
mod model;
mod preprocess;
mod step;
mod tokens;
mod verify;
