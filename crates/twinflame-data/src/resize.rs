//! Resizing with Pillow's results.
//!
//! Pillow widens the kernel when it makes an image smaller (antialiasing), works along rows first and columns second,
//! and rounds to 8 bits after each. `fast_image_resize` has the same kernels in SIMD but would take the columns
//! first, so it is called once per direction here. The result is within one level of Pillow's
//! (`tests/parity/preprocess.rs`).

use crate::decode::{DecodedImage, PixelLayout};
use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;

/// The kernel that mixes source pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interpolation {
    /// Cubic convolution with a = -0.5 (Keys 1981), as in Pillow and in CLIP.
    #[default]
    Bicubic,
    /// Triangle.
    Bilinear,
}

impl Interpolation {
    fn filter(self) -> FilterType {
        match self {
            Self::Bicubic => FilterType::CatmullRom,
            Self::Bilinear => FilterType::Bilinear,
        }
    }
}

/// Resizes to exactly `width` x `height`, in the layout of the image.
///
/// Images with alpha are resized premultiplied, palette images with the nearest pixel, like Pillow's `Image.resize`.
///
/// # Panics
/// If `width` or `height` is 0.
#[must_use]
pub fn resize(
    image: &DecodedImage,
    width: u32,
    height: u32,
    interpolation: Interpolation,
) -> DecodedImage {
    let layout = image.layout();
    if (image.width(), image.height()) == (width, height) {
        return image.clone();
    }
    let size = Size {
        from: (image.width(), image.height()),
        to: (width, height),
    };
    let pixels = match layout {
        PixelLayout::Indexed => nearest(image.pixels(), size),
        PixelLayout::Grey => convolve(image.pixels(), size, PixelType::U8, interpolation),
        PixelLayout::Rgb => convolve(image.pixels(), size, PixelType::U8x3, interpolation),
        PixelLayout::Cmyk => convolve(image.pixels(), size, PixelType::U8x4, interpolation),
        PixelLayout::GreyAlpha => {
            let source = premultiply::<2>(image.pixels());
            let mut pixels = convolve(&source, size, PixelType::U8x2, interpolation);
            unpremultiply::<2>(&mut pixels);
            pixels
        }
        PixelLayout::Rgba => {
            let source = premultiply::<4>(image.pixels());
            let mut pixels = convolve(&source, size, PixelType::U8x4, interpolation);
            unpremultiply::<4>(&mut pixels);
            pixels
        }
    };
    let resized = DecodedImage::new(width, height, layout, pixels);
    match image.background() {
        Some(color) => resized.with_background(color),
        None => resized,
    }
}

/// (width, height) before and after, in pixels.
#[derive(Clone, Copy)]
struct Size {
    from: (u32, u32),
    to: (u32, u32),
}

thread_local! {
    /// Keeps the SIMD detection and the scratch buffers of one thread.
    static RESIZER: RefCell<Resizer> = RefCell::new(Resizer::new());
}

/// Rows, then columns.
fn convolve(pixels: &[u8], size: Size, kind: PixelType, interpolation: Interpolation) -> Vec<u8> {
    let Size { from, to } = size;
    let rows = convolve_once(pixels, from, (to.0, from.1), kind, interpolation);
    let source = rows.as_deref().unwrap_or(pixels);
    let columns = convolve_once(source, (to.0, from.1), to, kind, interpolation);
    columns.or(rows).unwrap_or_else(|| pixels.to_vec())
}

/// `None` if there is nothing to do.
fn convolve_once(
    pixels: &[u8],
    from: (u32, u32),
    to: (u32, u32),
    kind: PixelType,
    interpolation: Interpolation,
) -> Option<Vec<u8>> {
    if from == to {
        return None;
    }
    let options = ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(interpolation.filter()))
        .use_alpha(false);
    let mut output = Image::new(to.0, to.1, kind);
    let result = ImageRef::new(from.0, from.1, pixels, kind)
        .map_err(|error| error.to_string())
        .and_then(|source| {
            RESIZER
                .with_borrow_mut(|resizer| resizer.resize(&source, &mut output, &options))
                .map_err(|error| error.to_string())
        });
    if let Err(error) = result {
        // Sizes and pixel types agree by construction, so this is a mistake here and not in the user's data.
        unreachable!("resizing {from:?} to {to:?}: {error}");
    }
    Some(output.into_vec())
}

/// Pillow's `ImagingScaleAffine` with `NEAREST`, its running sums included: they decide between two pixels.
fn nearest(pixels: &[u8], size: Size) -> Vec<u8> {
    let (from_w, from_h) = size.from;
    let columns = nearest_indices(from_w, size.to.0);
    let rows = nearest_indices(from_h, size.to.1);
    let mut output = Vec::with_capacity(columns.len() * rows.len() * 3);
    for row in rows {
        let row = &pixels[row * from_w as usize * 3..];
        for &column in &columns {
            output.extend_from_slice(&row[column * 3..column * 3 + 3]);
        }
    }
    output
}

fn nearest_indices(from: u32, to: u32) -> Vec<usize> {
    let step = f64::from(from) / f64::from(to);
    let mut position = step * 0.5;
    (0..to)
        .map(|_| {
            let index = position as usize;
            position += step;
            index.min(from as usize - 1)
        })
        .collect()
}

/// `a * b / 255`, rounded: Pillow's `MULDIV255`.
pub(crate) fn mul_div_255(a: u8, b: u8) -> u8 {
    let product = u32::from(a) * u32::from(b) + 128;
    (((product >> 8) + product) >> 8) as u8
}

/// `color` with opacity `alpha` over `background`, rounded as Pillow's `BLEND` does.
pub(crate) fn composite(color: [u8; 3], alpha: u8, background: [u8; 3]) -> [u8; 3] {
    let (front, back) = (u32::from(alpha), 255 - u32::from(alpha));
    [0, 1, 2].map(|i| {
        let sum = u32::from(color[i]) * front + u32::from(background[i]) * back + 128;
        (((sum >> 8) + sum) >> 8) as u8
    })
}

/// The value as a byte: cut to 0..=255, then truncated.
pub(crate) fn clamp_u8(value: f32) -> u8 {
    // A cast from float to integer saturates.
    value as u8
}

fn premultiply<const N: usize>(pixels: &[u8]) -> Vec<u8> {
    let mut output = pixels.to_vec();
    for pixel in output.as_chunks_mut::<N>().0 {
        let alpha = pixel[N - 1];
        for value in &mut pixel[..N - 1] {
            *value = mul_div_255(*value, alpha);
        }
    }
    output
}

/// Pillow's `RGBa` to `RGBA`: integer division, and colours kept where alpha is 0 or 255.
fn unpremultiply<const N: usize>(pixels: &mut [u8]) {
    for pixel in pixels.as_chunks_mut::<N>().0 {
        let alpha = u32::from(pixel[N - 1]);
        if alpha != 0 && alpha != 255 {
            for value in &mut pixel[..N - 1] {
                *value = (255 * u32::from(*value) / alpha).min(255) as u8;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_size_is_the_same_image() {
        let image = DecodedImage::new(2, 2, PixelLayout::Grey, vec![1, 2, 3, 4]);
        assert_eq!(resize(&image, 2, 2, Interpolation::Bicubic), image);
    }

    #[test]
    fn a_flat_image_stays_flat() {
        for layout in [PixelLayout::Grey, PixelLayout::Rgb, PixelLayout::Cmyk] {
            let image = DecodedImage::new(7, 5, layout, vec![77; 35 * layout.channels()]);
            for (width, height) in [(3, 2), (13, 9), (7, 3), (4, 5)] {
                let resized = resize(&image, width, height, Interpolation::Bicubic);
                assert!(
                    resized.pixels().iter().all(|&p| p == 77),
                    "{layout:?} {width}x{height}"
                );
            }
        }
    }

    /// Pillow 13: `Image.fromarray(uint8 [[0, 255, 0, 255, 0, 255]]).resize((3, 1), BICUBIC)` and bilinear.
    #[test]
    fn shrinking_averages() {
        let image = DecodedImage::new(6, 1, PixelLayout::Grey, vec![0, 255, 0, 255, 0, 255]);
        assert_eq!(
            resize(&image, 3, 1, Interpolation::Bicubic).pixels(),
            [109, 128, 146]
        );
        assert_eq!(
            resize(&image, 3, 1, Interpolation::Bilinear).pixels(),
            [109, 128, 146]
        );
    }

    #[test]
    fn transparent_colors_do_not_bleed() {
        // Opaque red beside fully transparent green: without premultiplication the middle would turn yellowish.
        let pixels = [
            [255, 0, 0, 255],
            [255, 0, 0, 255],
            [0, 255, 0, 0],
            [0, 255, 0, 0],
        ]
        .concat();
        let image = DecodedImage::new(4, 1, PixelLayout::Rgba, pixels);
        let resized = resize(&image, 3, 1, Interpolation::Bilinear);
        assert!(resized.pixels().chunks(4).all(|p| p[1] == 0), "{resized:?}");
    }

    #[test]
    fn palettes_are_never_mixed() {
        let image = DecodedImage::new(2, 1, PixelLayout::Indexed, vec![9, 8, 7, 200, 100, 50]);
        let resized = resize(&image, 4, 1, Interpolation::Bicubic);
        assert_eq!(
            resized.pixels(),
            [9, 8, 7, 9, 8, 7, 200, 100, 50, 200, 100, 50]
        );
    }

    #[test]
    fn rounding_is_pillows() {
        assert_eq!(mul_div_255(255, 255), 255);
        assert_eq!(mul_div_255(128, 128), 64);
        assert_eq!(composite([255, 0, 10], 128, [0, 255, 10]), [128, 127, 10]);
    }
}
