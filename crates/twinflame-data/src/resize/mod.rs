//! Resizing with Pillow's results, bit for bit.
//!
//! Pillow widens the kernel when it makes an image smaller (antialiasing), works along rows and then along columns
//! (or the reverse), rounds to 8 bits after each, and takes weights of 22 fractional bits. Faster libraries use 16-bit weights and are up
//! to two levels off, which division by alpha enlarges; CLIP models notice the resize they were trained with.

mod convolve;

pub(crate) use convolve::Region;

use crate::decode::{DecodedImage, PixelLayout};
use convolve::convolve;
use serde::{Deserialize, Serialize};

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

/// Resizes to exactly `width` x `height`, in the layout of the image.
///
/// Images with alpha are resized premultiplied, palette images with the nearest pixel, like Pillow's `Image.resize`.
///
/// # Panics
/// If `width` or `height` is 0.
#[must_use]
pub fn resize(image: &DecodedImage, width: u32, height: u32, interpolation: Interpolation) -> DecodedImage {
    let all = Region {
        left: 0,
        top: 0,
        width,
        height,
    };
    resize_part(image, (width, height), all, interpolation)
}

/// Part of what [`resize`] to `size` (width, height) gives, at the cost of that part.
///
/// # Panics
/// If the part is empty or not inside of `size`.
pub(crate) fn resize_part(
    image: &DecodedImage,
    size: (u32, u32),
    part: Region,
    interpolation: Interpolation,
) -> DecodedImage {
    assert!(
        part.left + part.width <= size.0 && part.top + part.height <= size.1,
        "{part:?} is not inside of {size:?}"
    );
    let from = (image.width(), image.height());
    if from == size {
        return image.crop(part.left, part.top, part.width, part.height);
    }
    let layout = image.layout();
    let pixels = match layout {
        PixelLayout::Indexed => nearest(image.pixels(), from, size, part),
        PixelLayout::Grey => convolve::<1>(image.pixels(), from, size, part, interpolation),
        PixelLayout::Rgb => convolve::<3>(image.pixels(), from, size, part, interpolation),
        PixelLayout::Cmyk => convolve::<4>(image.pixels(), from, size, part, interpolation),
        PixelLayout::GreyAlpha => {
            let source = premultiply::<2>(image.pixels());
            let mut pixels = convolve::<2>(&source, from, size, part, interpolation);
            unpremultiply::<2>(&mut pixels);
            pixels
        }
        PixelLayout::Rgba => {
            let source = premultiply::<4>(image.pixels());
            let mut pixels = convolve::<4>(&source, from, size, part, interpolation);
            unpremultiply::<4>(&mut pixels);
            pixels
        }
    };
    let resized = DecodedImage::new(part.width, part.height, layout, pixels);
    match image.background() {
        Some(color) => resized.with_background(color),
        None => resized,
    }
}

/// Pillow's `ImagingScaleAffine` with `NEAREST`, its running sums included: they decide between two pixels.
fn nearest(pixels: &[u8], from: (u32, u32), size: (u32, u32), part: Region) -> Vec<u8> {
    let columns = nearest_indices(from.0, size.0, part.left, part.width);
    let rows = nearest_indices(from.1, size.1, part.top, part.height);
    let mut output = Vec::with_capacity(columns.len() * rows.len() * 3);
    for row in rows {
        let row = &pixels[row * from.0 as usize * 3..];
        for &column in &columns {
            output.extend_from_slice(&row[column * 3..column * 3 + 3]);
        }
    }
    output
}

fn nearest_indices(from: u32, to: u32, first: u32, count: u32) -> Vec<usize> {
    let step = f64::from(from) / f64::from(to);
    let positions = std::iter::successors(Some(step * 0.5), |position| Some(position + step));
    positions
        .skip(first as usize)
        .take(count as usize)
        .map(|position| (position as usize).min(from as usize - 1))
        .collect()
}

/// `a * b / 255`, rounded: Pillow's `MULDIV255`.
pub(crate) fn mul_div_255(a: u8, b: u8) -> u8 {
    let product = u32::from(a) * u32::from(b) + 128;
    (((product >> 8) + product) >> 8) as u8
}

/// `color` with opacity `alpha` over `background`, rounded as Pillow's `BLEND` does.
pub(crate) fn composite(color: [u8; 3], alpha: u8, background: [u8; 3]) -> [u8; 3] {
    // most pixels of a cut-out are one or the other
    match alpha {
        0 => return background,
        255 => return color,
        _ => {}
    }
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
                assert!(resized.pixels().iter().all(|&p| p == 77), "{layout:?} {width}x{height}");
            }
        }
    }

    /// Pillow 13: `Image.fromarray(uint8 [[0, 255, 0, 255, 0, 255]]).resize((3, 1), BICUBIC)` and bilinear.
    #[test]
    fn shrinking_averages() {
        let image = DecodedImage::new(6, 1, PixelLayout::Grey, vec![0, 255, 0, 255, 0, 255]);
        assert_eq!(resize(&image, 3, 1, Interpolation::Bicubic).pixels(), [109, 128, 146]);
        assert_eq!(resize(&image, 3, 1, Interpolation::Bilinear).pixels(), [109, 128, 146]);
    }

    /// Pillow 13: `Image.fromarray(a).resize(…, BICUBIC)` on both sides of the rule for the order of the passes; the other order
    /// is up to 6 levels off.
    #[test]
    fn the_order_of_the_passes_is_pillows() {
        let checked = |width: u32, height: u32, step: usize| {
            let pixels = (0..(width * height) as usize).map(|i| if i * i % step < 2 { 255 } else { 0 });
            DecodedImage::new(width, height, PixelLayout::Grey, pixels.collect())
        };
        let tall = resize(&checked(5, 12, 7), 3, 4, Interpolation::Bicubic);
        assert_eq!(
            tall.pixels(),
            [128, 122, 100, 113, 112, 104, 102, 108, 117, 138, 99, 77]
        );
        let wide = resize(&checked(12, 5, 7), 4, 3, Interpolation::Bicubic);
        assert_eq!(wide.pixels(), [178, 44, 158, 101, 62, 166, 59, 136, 159, 43, 178, 54]);
    }

    #[test]
    fn transparent_colors_do_not_bleed() {
        // Opaque red beside fully transparent green: without premultiplication the middle would turn yellowish.
        let pixels = [[255, 0, 0, 255], [255, 0, 0, 255], [0, 255, 0, 0], [0, 255, 0, 0]].concat();
        let image = DecodedImage::new(4, 1, PixelLayout::Rgba, pixels);
        let resized = resize(&image, 3, 1, Interpolation::Bilinear);
        assert!(resized.pixels().chunks(4).all(|p| p[1] == 0), "{resized:?}");
    }

    #[test]
    fn palettes_are_never_mixed() {
        let image = DecodedImage::new(2, 1, PixelLayout::Indexed, vec![9, 8, 7, 200, 100, 50]);
        let resized = resize(&image, 4, 1, Interpolation::Bicubic);
        assert_eq!(resized.pixels(), [9, 8, 7, 9, 8, 7, 200, 100, 50, 200, 100, 50]);
    }

    #[test]
    fn rounding_is_pillows() {
        assert_eq!(mul_div_255(255, 255), 255);
        assert_eq!(mul_div_255(128, 128), 64);
        assert_eq!(composite([255, 0, 10], 128, [0, 255, 10]), [128, 127, 10]);
    }
}
