//! Training tasks and what they need: optimiser, schedule, precision, averaged weights.

#![recursion_limit = "256"]

pub mod ema;
pub mod grad_norm;
pub mod optim;
pub mod precision;
pub mod schedule;
pub mod task;
