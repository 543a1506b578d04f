//! Decoded images to the square RGB images that a model sees.
//!
//! [`TransformConfig`] says what happens, [`Transform`] does it. Pixels stay `u8`; [`Normalization`] is applied on
//! the device, after the upload of a quarter of the bytes.

mod affine;
mod color;
mod config;
mod draw;
mod geometry;
mod normalization;
mod pipeline;
mod rand_augment;

pub use config::{
    AffineConfig, ColorConversion, ColorJitterConfig, RandAugmentConfig, RandomResizedCropConfig, ResizeMode,
    TransformConfig, TransformError,
};
pub use normalization::{Normalization, OPENAI_MEAN, OPENAI_STD};
pub use pipeline::{RgbTensor, Transform};
