//! Is a run that was killed, terminated or left without disk, and resumed as often as it took, the run that was not?
//!
//! The binary trains a tiny CLIP from tar shards, with augmentation, patch dropout and an average of the weights, on the
//! processor. Weights, moments, position in the schedule, log and test figures are compared to the last bit.
//! `TWINFLAME_KILLS=100` and `TWINFLAME_FULL_DISKS=20` do more than the few of every day; `-- --nocapture` tells what was hit.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a panic is the report of a test"
)]
#![cfg(unix)]

mod data;
mod full_disk;
mod kills;
mod moment;
#[path = "../learning/saved.rs"]
mod saved;
mod small_disk;
mod terminated;
mod training;

use std::env;

/// How often to do it: the variable, or a few times.
fn times(variable: &str, few: usize) -> usize {
    match env::var(variable) {
        Ok(number) => number.parse().unwrap(),
        Err(_) => few,
    }
}
