//! CLIP and ALBEF as pure [burn] modules.
//!
//! A [`ClipConfig`] describes a CLIP, by [name](ClipConfig::named) or as open_clip's JSON; [`ClipConfig::init`] makes
//! a [`Clip`] on a device. Image encoders are [`image::Vit`] and [`image::ModifiedResNet`], text encoders
//! [`text::TextTransformer`] and [`text::Cbow`]; all four combine. An [`AlbefConfig`] does the same for an [`Albef`]: the
//! same [`image::Vit`], and a [`text::Bert`] that reads texts and fuses them with images.
//!
//! The modules compute and nothing else: no file is read (except by [`weights`]), no backend named, and whatever is
//! random is drawn on the host from a seed that the caller gives.
//!
//! ```no_run
//! use burn::tensor::{Device, Int, Tensor};
//! use twinflame_model::{ClipConfig, Pass};
//!
//! fn similarity(device: &Device) -> Result<Tensor<2>, twinflame_model::ConfigError> {
//!     let clip = ClipConfig::named("vit-b-32")?.init(0, device);
//!     let images = Tensor::<4>::zeros([2, 3, 224, 224], device);
//!     let tokens = Tensor::<2, Int>::zeros([3, 77], device);
//!     let out = clip.forward(images, tokens, Pass::Eval);
//!     Ok(out.image_embeds.matmul(out.text_embeds.transpose())) // [2, 3]
//! }
//! ```

#![recursion_limit = "256"]

pub mod albef;
pub mod attention;
pub mod block;
pub mod image;
pub mod loss;
pub mod pos_embed;
pub mod text;
pub mod weights;

mod activation;
mod batch_norm;
mod clip;
mod config;
mod count;
mod dropout;
mod error;
mod flops;
mod init;
mod layer_norm;
mod linear;
mod model;
mod one_hot;
mod presets;
mod recompute;
mod running_stat;

pub use activation::Activation;
pub use albef::{Albef, AlbefConfig, AlbefEncoders, FeatureQueue, albef_presets};
pub use batch_norm::{BatchNorm, Pass};
pub use clip::{BlockOutput, Clip, ClipOutput, normalize};
pub use config::{ClipConfig, DEFAULT_LOGIT_SCALE, Layers, TextConfig, TextKind, TextPool, VisionConfig};
pub use count::ParamCount;
pub use dropout::{Dropout, DropoutTable};
pub use error::ConfigError;
pub use flops::Flops;
pub use image::{ImageEncoder, ImageInput};
pub use layer_norm::LayerNorm;
pub use linear::Linear;
pub use model::{Model, ModelConfig};
pub use presets::{Preset, presets};
pub use recompute::Recompute;
pub use running_stat::RunningStat;
pub use text::TextEncoder;
