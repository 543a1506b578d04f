//! Train image-text models, CLIP first, on any GPU and without Python.
//!
//! This crate is what applications add and what installs the `twinflame` command. It re-exports
//! the three libraries that do the work, and owns the two things that they leave to the
//! application: the choice of a [`device`], and the command line (`cli`, behind the feature of
//! that name).
//!
//! | Module | Crate | Holds |
//! | --- | --- | --- |
//! | [`data`] | `twinflame-data` | datasets, transforms, tokenizers, the loader |
//! | [`model`] | `twinflame-model` | CLIP and its towers, losses, weights |
//! | [`train`] | `twinflame-train` | recipes, training tasks, runs, evaluation |
//!
//! # Backends
//!
//! Each Cargo feature `cpu`, `ndarray`, `wgpu`, `vulkan`, `metal`, `cuda`, `rocm` compiles in one
//! of burn's backends; several live in one binary. Models, losses and tasks name none of them.
#![recursion_limit = "256"]

pub use twinflame_data as data;
pub use twinflame_model as model;
pub use twinflame_train as train;

#[cfg(feature = "cli")]
pub mod cli;
pub mod device;
