//! Weights under the names of the references: open_clip for [`Clip`](crate::Clip), salesforce/ALBEF for
//! [`Albef`](crate::Albef).
//!
//! A module maps on the reference's state dict by renaming and by the [`Layout`] of each tensor, one to one in both
//! directions. [`named_params`] lists that mapping; with [`NamedParam::id`] it also names gradients. [`load_open_clip`]
//! and [`save_open_clip`], [`load_albef`] and [`AlbefCheckpoint::save`] use it on safetensors files; [`hugging_face`] goes on
//! from there to `CLIPModel`.

pub mod hugging_face;

mod allow;
mod archive;
mod error;
mod file;
mod import;
mod layout;
mod metadata;
mod names;
mod open_clip;
mod open_clip_config;
mod salesforce;
mod save;
mod tensors;

pub use allow::Allow;
pub use archive::{Archive, ArchiveError, ArchiveKind};
pub use error::WeightsError;
pub use file::read_tensors;
pub use import::{CheckpointLayout, Imported, import, import_image_encoder, import_text_encoder};
pub use layout::Layout;
pub use metadata::read_metadata;
pub use names::{NamedParam, Place, ReferenceNames, named_params};
pub use open_clip::{
    load_open_clip, load_open_clip_tensors, save_open_clip, to_open_clip_state_dict, to_open_clip_tensors,
};
pub use open_clip_config::{config_from_open_clip, config_to_open_clip};
pub use salesforce::{AlbefCheckpoint, load_albef, load_albef_tensors};
pub use save::{FileDType, save_tensors};
pub use tensors::{LoadReport, to_tensors, transfer};
