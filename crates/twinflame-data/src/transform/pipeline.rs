//! The transform itself.

use super::affine::{Affine, Target};
use super::color;
use super::config::{ColorConversion, TransformConfig, TransformError};
use super::draw::chance;
use super::geometry::{fitted_size, random_region, square_offset};
use super::normalization::Normalization;
use super::rand_augment::rand_augment;
use crate::buffers::give;
use crate::decode::{DecodedImage, PixelLayout};
use crate::resize::{Region, resize_part, resize_window};
use rand::Rng;
use std::borrow::Cow;

/// A square RGB image, ready to be uploaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RgbTensor {
    /// Edge, in pixels.
    pub size: usize,
    /// Red, green and blue bytes, `[size, size, 3]`.
    pub pixels: Vec<u8>,
}

/// Turns decoded images into model inputs; one for training, one for evaluation.
///
/// In training the steps are: random part or fit, zoom and rotation, mirror, RandAugment, colour jitter, greyscale.
/// In evaluation there is only the fit, and the random generator is not touched.
///
/// ```
/// use rand::{SeedableRng, rngs::ChaCha8Rng};
/// use twinflame_data::{DecodedImage, PixelLayout, Transform, TransformConfig};
///
/// let config = TransformConfig { image_size: 4, ..TransformConfig::default() };
/// let grey = DecodedImage::new(8, 6, PixelLayout::Grey, vec![7; 48]);
/// let tensor = Transform::eval(&config)?.apply(&grey, &mut ChaCha8Rng::seed_from_u64(0));
/// assert_eq!(tensor.pixels, [7; 4 * 4 * 3]);
/// # Ok::<(), twinflame_data::TransformError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Transform {
    config: TransformConfig,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Train,
    Eval,
}

impl Transform {
    /// The transform with everything random that `config` names.
    ///
    /// # Errors
    /// If [`TransformConfig::validate`] finds a mistake.
    pub fn train(config: &TransformConfig) -> Result<Self, TransformError> {
        Self::new(config, Stage::Train)
    }

    /// The transform without anything random.
    ///
    /// # Errors
    /// If [`TransformConfig::validate`] finds a mistake.
    pub fn eval(config: &TransformConfig) -> Result<Self, TransformError> {
        Self::new(config, Stage::Eval)
    }

    fn new(config: &TransformConfig, stage: Stage) -> Result<Self, TransformError> {
        config.validate()?;
        Ok(Self {
            config: config.clone(),
            stage,
        })
    }

    /// Edge of the output, in pixels.
    #[must_use]
    pub fn image_size(&self) -> usize {
        self.config.image_size
    }

    /// What to normalise the output with on the device.
    #[must_use]
    pub fn normalization(&self) -> Normalization {
        self.config.normalization()
    }

    /// Transforms one image.
    ///
    /// The result depends on the image, the configuration and the state of `rng` alone, on every machine.
    #[must_use]
    pub fn apply<R: Rng + ?Sized>(&self, image: &DecodedImage, rng: &mut R) -> RgbTensor {
        let size = self.config.image_size;
        let mut pixels = vec![0; size * size * 3];
        self.apply_into(image, rng, &mut pixels);
        RgbTensor { size, pixels }
    }

    /// [`Self::apply`] into a slice of a batch.
    ///
    /// # Shapes
    /// - output: `[image_size, image_size, 3]`
    ///
    /// # Panics
    /// If `output` has another length.
    pub fn apply_into<R: Rng + ?Sized>(&self, image: &DecodedImage, rng: &mut R, output: &mut [u8]) {
        let size = self.config.image_size;
        assert_eq!(output.len(), size * size * 3, "bytes of an RGB image of edge {size}");
        let image = self.with_colors(image);
        match self.stage {
            Stage::Eval => self.fit_into(&image, output),
            Stage::Train => {
                self.place_randomly(&image, rng, output);
                self.change_randomly(rng, output);
            }
        }
    }

    /// Converts to RGB where that has to come first. An image with a background is composited at full resolution.
    fn with_colors<'a>(&self, image: &'a DecodedImage) -> Cow<'a, DecodedImage> {
        let over_background = image.background().is_some() && image.layout().has_alpha();
        let before = self.config.color_conversion == ColorConversion::BeforeResize;
        if over_background || (before && image.layout() != PixelLayout::Rgb) {
            Cow::Owned(image.to_rgb_image())
        } else {
            Cow::Borrowed(image)
        }
    }

    /// Fits the whole image into the square.
    fn fit_into(&self, image: &DecodedImage, output: &mut [u8]) {
        let size = self.config.image_size;
        let (width, height) = self.fitted_size(image);
        let [left, top] = square_offset((width, height), size as u32);
        let part = Region {
            left: left.max(0) as u32,
            top: top.max(0) as u32,
            width: width.min(size as u32),
            height: height.min(size as u32),
        };
        let rgb = resize_part(image, (width, height), part, self.config.interpolation).into_rgb();
        if rgb.len() == output.len() {
            output.copy_from_slice(&rgb);
            give(rgb);
            return;
        }
        let fill = image.background().unwrap_or(self.config.fill);
        output.as_chunks_mut::<3>().0.fill(fill);
        let (left, top) = (-left.min(0) as usize, -top.min(0) as usize);
        for (y, row) in rgb.chunks_exact(part.width as usize * 3).enumerate() {
            let start = ((top + y) * size + left) * 3;
            output[start..start + row.len()].copy_from_slice(row);
        }
    }

    fn fitted_size(&self, image: &DecodedImage) -> (u32, u32) {
        let size = (image.width(), image.height());
        fitted_size(size, self.config.image_size as u32, self.config.mode)
    }

    /// Draws where the image goes: a random part of it, or the fit, then zoom and rotation.
    fn place_randomly<R: Rng + ?Sized>(&self, image: &DecodedImage, rng: &mut R, output: &mut [u8]) {
        let config = &self.config;
        let edge = config.image_size as u32;
        let part = config.random_resized_crop.as_ref().map(|crop| {
            let region = random_region(rng, (image.width(), image.height()), crop);
            resize_window(image, region, (edge, edge), config.interpolation)
        });
        let Some(affine) = &config.affine else {
            match part {
                Some(part) => {
                    let rgb = part.into_rgb();
                    output.copy_from_slice(&rgb);
                    give(rgb);
                }
                None => self.fit_into(image, output),
            }
            return;
        };
        let target = Target {
            size: config.image_size,
            fill: config.fill,
            interpolation: config.interpolation,
        };
        let affine = Affine::draw(rng, affine);
        match &part {
            Some(part) => affine.apply_into(part, (edge, edge), &target, output),
            None => affine.apply_into(image, self.fitted_size(image), &target, output),
        }
    }

    /// Everything that keeps the size.
    fn change_randomly<R: Rng + ?Sized>(&self, rng: &mut R, output: &mut [u8]) {
        let config = &self.config;
        if chance(rng, config.flip_probability) {
            mirror(output, config.image_size);
        }
        if let Some(augment) = &config.rand_augment {
            rand_augment(rng, output, config.image_size, augment);
        }
        if let Some(jitter) = &config.color_jitter {
            color::jitter(rng, output, jitter);
        }
        if chance(rng, config.greyscale_probability) {
            color::greyscale(output);
        }
    }
}

/// Swaps left and right.
fn mirror(pixels: &mut [u8], size: usize) {
    for row in pixels.as_chunks_mut::<3>().0.chunks_exact_mut(size) {
        row.reverse();
    }
}

#[cfg(test)]
mod tests;
