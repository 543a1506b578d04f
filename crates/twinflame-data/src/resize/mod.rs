//! Resizing with Pillow's results, bit for bit.
//!
//! Pillow widens the kernel when it makes an image smaller (antialiasing), works along rows and then along columns
//! (or the reverse), rounds to 8 bits after each, and takes weights of 22 fractional bits. Faster libraries use 16-bit weights and are up
//! to two levels off, which division by alpha enlarges; CLIP models notice the resize they were trained with.

mod convolve;

pub(crate) use convolve::Region;

use crate::decode::{DecodedImage, PixelLayout};
use convolve::{Rows, convolve};
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
    resize_window(
        image,
        Region::all(image.width(), image.height()),
        (width, height),
        interpolation,
    )
}

/// What [`resize`] to `size` (width, height) gives for `image.crop` of the window, which is not copied for it.
///
/// # Panics
/// If a side of `size` is 0, or the window is empty or not inside of the image.
pub(crate) fn resize_window(
    image: &DecodedImage,
    window: Region,
    size: (u32, u32),
    interpolation: Interpolation,
) -> DecodedImage {
    let all = Region::all(size.0, size.1);
    let is_mixed = !image.layout().has_alpha() && image.layout() != PixelLayout::Indexed;
    if is_mixed && (window.width, window.height) != size {
        return mixed(image, window, size, all, interpolation);
    }
    let image = image.crop(window.left, window.top, window.width, window.height);
    resize_part(&image, size, all, interpolation)
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
    let whole = Region::all(from.0, from.1);
    let layout = image.layout();
    let pixels = match layout {
        PixelLayout::Indexed => nearest(image.pixels(), from, size, part),
        PixelLayout::Grey | PixelLayout::Rgb | PixelLayout::Cmyk => {
            return mixed(image, whole, size, part, interpolation);
        }
        PixelLayout::GreyAlpha => premultiplied::<2>(image, size, part, interpolation),
        PixelLayout::Rgba => premultiplied::<4>(image, size, part, interpolation),
    };
    like(image, part, pixels)
}

/// An image with the layout and the background of another.
fn like(image: &DecodedImage, part: Region, pixels: Vec<u8>) -> DecodedImage {
    let resized = DecodedImage::new(part.width, part.height, image.layout(), pixels);
    match image.background() {
        Some(color) => resized.with_background(color),
        None => resized,
    }
}

/// Where every channel is mixed as it is.
fn mixed(
    image: &DecodedImage,
    window: Region,
    size: (u32, u32),
    part: Region,
    interpolation: Interpolation,
) -> DecodedImage {
    let channels = image.layout().channels();
    let stride = image.width() as usize * channels;
    let start = window.top as usize * stride + window.left as usize * channels;
    let rows = Rows::new(&image.pixels()[start..], stride);
    let from = (window.width, window.height);
    let pixels = match channels {
        1 => convolve::<1>(rows, from, size, part, interpolation),
        3 => convolve::<3>(rows, from, size, part, interpolation),
        _ => convolve::<4>(rows, from, size, part, interpolation),
    };
    like(image, part, pixels)
}

/// With alpha as the last of `N` channels.
fn premultiplied<const N: usize>(
    image: &DecodedImage,
    size: (u32, u32),
    part: Region,
    interpolation: Interpolation,
) -> Vec<u8> {
    let source = premultiply::<N>(image.pixels());
    let rows = Rows::new(&source, image.width() as usize * N);
    let mut pixels = convolve::<N>(rows, (image.width(), image.height()), size, part, interpolation);
    unpremultiply::<N>(&mut pixels);
    pixels
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
    fn a_window_is_resized_like_the_crop_of_it() {
        for layout in [
            PixelLayout::Grey,
            PixelLayout::Rgb,
            PixelLayout::Rgba,
            PixelLayout::Indexed,
        ] {
            let pixels = (0..50 * 40 * layout.channels()).map(|i| (i * i % 251) as u8);
            let image = DecodedImage::new(50, 40, layout, pixels.collect()).with_background([1, 2, 3]);
            for (left, top, width, height) in [(0, 0, 50, 40), (7, 5, 30, 20), (20, 10, 16, 30), (49, 0, 1, 40)] {
                let window = Region {
                    left,
                    top,
                    width,
                    height,
                };
                let cropped = image.crop(left, top, width, height);
                let found = resize_window(&image, window, (16, 12), Interpolation::Bicubic);
                assert_eq!(
                    found,
                    resize(&cropped, 16, 12, Interpolation::Bicubic),
                    "{layout:?} {window:?}"
                );
            }
        }
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
