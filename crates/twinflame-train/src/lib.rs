//! Recipes, training tasks, runs and evaluation.
//!
//! - [`recipe`]: a run as one TOML file
//! - [`task`]: model, loss and training step, with [`optim`], [`schedule`], [`ema`], [`precision`] and [`grad_norm`]
//! - [`run`]: from a recipe to a trained model: [`run::train`], [`run::resume`], [`run::load`]
//! - [`card`], [`export`]: what weights say about themselves, and models for other programs
//! - [`metric`], [`logger`], [`watchdog`]: what is shown, written and watched meanwhile
//! - [`eval`]: retrieval, zero-shot classification, linear probes, pictures
//! - [`verify`]: comparison with what the references computed, from a folder of tensors

#![recursion_limit = "256"]

pub mod card;
pub mod ema;
pub mod eval;
pub mod export;
pub mod grad_norm;
pub mod logger;
pub mod metric;
mod new_folder;
mod on_device;
pub mod optim;
pub mod precision;
pub mod recipe;
pub mod run;
pub mod schedule;
pub mod task;
pub mod verify;
pub mod watchdog;
