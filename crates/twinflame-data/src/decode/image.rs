//! A decoded image in the colour mode of its file.

use crate::buffers::give;
use crate::resize::{composite, mul_div_255};
use std::mem::take;

/// How the bytes of a [`DecodedImage`] are to be read; named after Pillow's modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PixelLayout {
    /// One byte of grey (Pillow's `L`).
    Grey,
    /// Grey and alpha, not premultiplied (`LA`).
    GreyAlpha,
    /// Red, green, blue (`RGB`).
    Rgb,
    /// Red, green, blue and alpha, not premultiplied (`RGBA`).
    Rgba,
    /// Red, green, blue, looked up in a palette (`P`, and `1`): mixing neighbours makes no sense there, so Pillow
    /// resizes with the nearest pixel.
    Indexed,
    /// Cyan, magenta, yellow, black, 255 = full ink (`CMYK`).
    Cmyk,
}

impl PixelLayout {
    /// Bytes per pixel.
    #[must_use]
    pub const fn channels(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::GreyAlpha => 2,
            Self::Rgb | Self::Indexed => 3,
            Self::Rgba | Self::Cmyk => 4,
        }
    }

    /// Whether the last channel is alpha.
    #[must_use]
    pub const fn has_alpha(self) -> bool {
        matches!(self, Self::GreyAlpha | Self::Rgba)
    }
}

/// An image as its file has it, 8 bits per channel, rows from top to bottom without padding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodedImage {
    width: u32,
    height: u32,
    layout: PixelLayout,
    pixels: Vec<u8>,
    background: Option<[u8; 3]>,
}

/// Its buffer is used again by the thread that drops it.
impl Drop for DecodedImage {
    fn drop(&mut self) {
        give(take(&mut self.pixels));
    }
}

impl DecodedImage {
    /// An image from its bytes, `height * width * layout.channels()` of them.
    ///
    /// # Panics
    /// If a side is 0 or the number of bytes does not match.
    #[must_use]
    pub fn new(width: u32, height: u32, layout: PixelLayout, pixels: Vec<u8>) -> Self {
        assert!(width > 0 && height > 0, "an image of {width}x{height} has no pixels");
        assert_eq!(
            pixels.len(),
            width as usize * height as usize * layout.channels(),
            "bytes of a {width}x{height} {layout:?} image"
        );
        Self {
            width,
            height,
            layout,
            pixels,
            background: None,
        }
    }

    /// Width, in pixels.
    #[must_use]
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height, in pixels.
    #[must_use]
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Meaning of the bytes.
    #[must_use]
    pub fn layout(&self) -> PixelLayout {
        self.layout
    }

    /// The bytes, `[height, width, channels]`.
    #[must_use]
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The bytes, `[height, width, channels]`.
    #[must_use]
    pub fn into_pixels(mut self) -> Vec<u8> {
        take(&mut self.pixels)
    }

    /// The colour behind this image, if one was set.
    #[must_use]
    pub fn background(&self) -> Option<[u8; 3]> {
        self.background
    }

    /// Puts a colour behind the image.
    ///
    /// Transparent parts show it, and so does what a random affine transform uncovers. Without a background the alpha
    /// channel is dropped after resizing, as open_clip does.
    #[must_use]
    pub fn with_background(mut self, color: [u8; 3]) -> Self {
        self.background = Some(color);
        self
    }

    /// The part of the image that starts at `left`, `top`.
    ///
    /// # Panics
    /// If the part is empty or not inside the image.
    #[must_use]
    pub fn crop(&self, left: u32, top: u32, width: u32, height: u32) -> Self {
        assert!(
            left + width <= self.width && top + height <= self.height,
            "{width}x{height} at {left},{top} is not inside {}x{}",
            self.width,
            self.height
        );
        let channels = self.layout.channels();
        let stride = self.width as usize * channels;
        let row = width as usize * channels;
        let mut pixels = Vec::with_capacity(row * height as usize);
        for y in top as usize..(top + height) as usize {
            let start = y * stride + left as usize * channels;
            pixels.extend_from_slice(&self.pixels[start..start + row]);
        }
        let mut part = Self::new(width, height, self.layout, pixels);
        part.background = self.background;
        part
    }

    /// The image as RGB, `[height, width, 3]`: what Pillow's `convert("RGB")` gives, or the image over its background
    /// where there is one.
    #[must_use]
    pub fn to_rgb(&self) -> Vec<u8> {
        let pixels = &self.pixels;
        match (self.layout, self.background) {
            (PixelLayout::Rgb | PixelLayout::Indexed, _) => pixels.clone(),
            (PixelLayout::Grey, _) => map_pixels(pixels, |&[grey]| [grey; 3]),
            (PixelLayout::GreyAlpha, None) => map_pixels(pixels, |&[grey, _]| [grey; 3]),
            (PixelLayout::GreyAlpha, Some(back)) => {
                map_pixels(pixels, |&[grey, alpha]| composite([grey; 3], alpha, back))
            }
            (PixelLayout::Rgba, None) => map_pixels(pixels, |&[r, g, b, _]| [r, g, b]),
            (PixelLayout::Rgba, Some(back)) => {
                map_pixels(pixels, |&[r, g, b, alpha]| composite([r, g, b], alpha, back))
            }
            (PixelLayout::Cmyk, _) => map_pixels(pixels, cmyk_to_rgb),
        }
    }

    /// [`Self::to_rgb`], without a copy where the bytes are those of the image.
    #[must_use]
    pub fn into_rgb(self) -> Vec<u8> {
        match self.layout {
            PixelLayout::Rgb | PixelLayout::Indexed => self.into_pixels(),
            _ => self.to_rgb(),
        }
    }

    /// [`Self::to_rgb`] as an image.
    #[must_use]
    pub fn to_rgb_image(&self) -> Self {
        let mut rgb = Self::new(self.width, self.height, PixelLayout::Rgb, self.to_rgb());
        rgb.background = self.background;
        rgb
    }
}

/// RGB bytes of pixels of `N` channels.
fn map_pixels<const N: usize>(pixels: &[u8], rgb: impl Fn(&[u8; N]) -> [u8; 3]) -> Vec<u8> {
    let pixels = pixels.as_chunks::<N>().0;
    pixels.iter().map(rgb).collect::<Vec<[u8; 3]>>().into_flattened()
}

/// Pillow's `cmyk2rgb`.
fn cmyk_to_rgb(pixel: &[u8; 4]) -> [u8; 3] {
    let white = 255 - pixel[3];
    [0, 1, 2].map(|i| white.saturating_sub(mul_div_255(pixel[i], white)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cmyk_inks_subtract() {
        let pixels = vec![0, 0, 0, 0, 255, 0, 0, 0, 0, 0, 0, 255, 0, 128, 0, 128];
        let image = DecodedImage::new(2, 2, PixelLayout::Cmyk, pixels);
        // white, cyan, black, half magenta with half black (Pillow 13: 127, 63, 127)
        assert_eq!(image.to_rgb(), [255, 255, 255, 0, 255, 255, 0, 0, 0, 127, 63, 127]);
    }

    #[test]
    fn background_shows_through_alpha() {
        let image = DecodedImage::new(2, 1, PixelLayout::Rgba, vec![200, 100, 0, 0, 200, 100, 0, 255]);
        assert_eq!(image.to_rgb(), [200, 100, 0, 200, 100, 0]);
        assert_eq!(image.with_background([1, 2, 3]).to_rgb(), [1, 2, 3, 200, 100, 0]);
    }

    #[test]
    fn crop_takes_the_named_part() {
        let image = DecodedImage::new(3, 2, PixelLayout::Grey, vec![0, 1, 2, 3, 4, 5]);
        assert_eq!(image.crop(1, 0, 2, 2).pixels(), [1, 2, 4, 5]);
    }

    #[test]
    #[should_panic(expected = "is not inside")]
    fn crop_outside_panics() {
        let _ = DecodedImage::new(1, 1, PixelLayout::Grey, vec![0]).crop(1, 0, 1, 1);
    }
}
