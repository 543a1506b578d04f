//! Weights under open_clip's names.
//!
//! A [`Clip`](crate::Clip) maps on open_clip's state dict by renaming and by the [`Layout`] of each tensor, one to one
//! in both directions. [`named_params`] lists that mapping, [`load_open_clip`] and [`save_open_clip`] use it on
//! safetensors files; with [`NamedParam::id`] it also names gradients.

mod error;
mod layout;
mod names;
mod open_clip;

pub use error::WeightsError;
pub use layout::Layout;
pub use names::{NamedParam, named_params};
pub use open_clip::{LoadReport, load_open_clip, load_open_clip_tensors, save_open_clip, to_open_clip_tensors};
