//! RandAugment (Cubuk et al. 2019, <https://arxiv.org/abs/1909.13719>) with ALBEF's ten operations.
//!
//! ALBEF draws N operations with replacement, applies each with probability one half, and takes all strengths from
//! one level M of 10. Its geometric operations fill with grey 128 and sample bilinearly about OpenCV's pixel centres.
//! One thing differs on purpose: where ALBEF's sharpening leaves 0..=255 the value is cut; there it wraps around.

use super::color;
use super::config::RandAugmentConfig;
use super::draw::{below, chance};
use crate::resize::clamp_u8;
use rand::Rng;

/// Strengths are shares of this level.
const MAX_LEVEL: f64 = 10.0;

/// Grey that fills what a geometric operation uncovers.
const FILL: u8 = 128;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Identity,
    AutoContrast,
    Equalize,
    Brightness,
    Sharpness,
    ShearX,
    ShearY,
    TranslateX,
    TranslateY,
    Rotate,
}

/// The list of ALBEF's `dataset/__init__.py`.
const OPERATIONS: [Operation; 10] = [
    Operation::Identity,
    Operation::AutoContrast,
    Operation::Equalize,
    Operation::Brightness,
    Operation::Sharpness,
    Operation::ShearX,
    Operation::ShearY,
    Operation::TranslateX,
    Operation::TranslateY,
    Operation::Rotate,
];

/// Applies random operations to RGB pixels, `[size, size, 3]`.
pub(super) fn rand_augment<R: Rng + ?Sized>(rng: &mut R, pixels: &mut [u8], size: usize, config: &RandAugmentConfig) {
    for _ in 0..config.num_ops {
        let operation = OPERATIONS[below(rng, OPERATIONS.len() as u32) as usize];
        let applied = chance(rng, 0.5);
        let sign = if chance(rng, 0.5) { 1.0 } else { -1.0 };
        if applied {
            apply(operation, config.magnitude / MAX_LEVEL, sign, pixels, size);
        }
    }
}

/// `level` within 0..=1; `sign` for the operations that go both ways.
fn apply(operation: Operation, level: f64, sign: f64, pixels: &mut [u8], size: usize) {
    let enhance = (level * 1.8 + 0.1) as f32;
    let shear = sign * level * 0.3;
    let shift = sign * level * 10.0;
    match operation {
        Operation::Identity => {}
        Operation::AutoContrast => auto_contrast(pixels),
        Operation::Equalize => equalize(pixels),
        Operation::Brightness => color::brightness(pixels, enhance),
        Operation::Sharpness => sharpen(pixels, size, enhance),
        // The inverses of OpenCV's forward matrices.
        Operation::ShearX => warp(pixels, size, [[1.0, -shear, 0.0], [0.0, 1.0, 0.0]]),
        Operation::ShearY => warp(pixels, size, [[1.0, 0.0, 0.0], [-shear, 1.0, 0.0]]),
        Operation::TranslateX => warp(pixels, size, [[1.0, 0.0, shift], [0.0, 1.0, 0.0]]),
        Operation::TranslateY => warp(pixels, size, [[1.0, 0.0, 0.0], [0.0, 1.0, shift]]),
        Operation::Rotate => warp(pixels, size, rotation(sign * level * 30.0, size)),
    }
}

/// Turns about (size / 2, size / 2), counter-clockwise for positive degrees, like `cv2.getRotationMatrix2D`.
fn rotation(degrees: f64, size: usize) -> [[f64; 3]; 2] {
    let radians = degrees.to_radians();
    let (sin, cos) = (libm::sin(radians), libm::cos(radians));
    let middle = size as f64 / 2.0;
    [
        [cos, -sin, middle - cos * middle + sin * middle],
        [sin, cos, middle - sin * middle - cos * middle],
    ]
}

/// `output(x, y) = input(inverse * (x, y, 1))`, bilinear, grey outside.
fn warp(pixels: &mut [u8], size: usize, inverse: [[f64; 3]; 2]) {
    let source = pixels.to_vec();
    let edge = size as i64;
    let at = |x: i64, y: i64| -> [f32; 3] {
        if (0..edge).contains(&x) && (0..edge).contains(&y) {
            let start = (y * edge + x) as usize * 3;
            [0, 1, 2].map(|i| f32::from(source[start + i]))
        } else {
            [f32::from(FILL); 3]
        }
    };
    for (index, pixel) in pixels.as_chunks_mut::<3>().0.iter_mut().enumerate() {
        let (x, y) = ((index % size) as f64, (index / size) as f64);
        let [from_x, from_y] = inverse.map(|[a, b, c]| a * x + b * y + c);
        let (left, top) = (from_x.floor(), from_y.floor());
        let (part_x, part_y) = ((from_x - left) as f32, (from_y - top) as f32);
        let (left, top) = (left as i64, top as i64);
        let corners = [
            at(left, top),
            at(left + 1, top),
            at(left, top + 1),
            at(left + 1, top + 1),
        ];
        *pixel = [0, 1, 2].map(|i| {
            let [a, b, c, d] = corners.map(|corner| corner[i]);
            let (upper, lower) = (a + part_x * (b - a), c + part_x * (d - c));
            clamp_u8(upper + part_y * (lower - upper) + 0.5)
        });
    }
}

/// Stretches each channel to 0..=255.
fn auto_contrast(pixels: &mut [u8]) {
    for channel in 0..3 {
        let values = || pixels.iter().skip(channel).step_by(3).copied();
        let (Some(low), Some(high)) = (values().min(), values().max()) else {
            return;
        };
        if high > low {
            let scale = 255.0 / f64::from(high - low);
            let offset = -f64::from(low) * scale;
            remap(pixels, channel, |value| (value as f64 * scale + offset) as u8);
        }
    }
}

/// Flattens the histogram of each channel, as Pillow's `ImageOps.equalize` does.
fn equalize(pixels: &mut [u8]) {
    for channel in 0..3 {
        let mut histogram = [0_usize; 256];
        for &value in pixels.iter().skip(channel).step_by(3) {
            histogram[usize::from(value)] += 1;
        }
        let last = histogram.iter().rev().find(|&&count| count > 0).copied().unwrap_or(0);
        let step = (histogram.iter().sum::<usize>() - last) / 255;
        if step == 0 {
            continue;
        }
        let mut table = [0_u8; 256];
        let mut below = step / 2;
        for (target, count) in table.iter_mut().zip(histogram) {
            *target = (below / step).min(255) as u8;
            below += count;
        }
        remap(pixels, channel, |value| table[value]);
    }
}

/// Replaces every value of one channel.
fn remap(pixels: &mut [u8], channel: usize, map: impl Fn(usize) -> u8) {
    for value in pixels.iter_mut().skip(channel).step_by(3) {
        *value = map(usize::from(*value));
    }
}

/// Moves every inner pixel away from (factor > 1) or towards (factor < 1) the mean of its neighbourhood, in which it
/// counts five of thirteen. The border stays.
fn sharpen(pixels: &mut [u8], size: usize, factor: f32) {
    let source = pixels.to_vec();
    let stride = size * 3;
    for y in 1..size.saturating_sub(1) {
        for i in y * stride + 3..(y + 1) * stride - 3 {
            let mut sum = 4 * u32::from(source[i]);
            for row in [i - stride, i, i + stride] {
                sum += u32::from(source[row - 3]) + u32::from(source[row]) + u32::from(source[row + 3]);
            }
            let smooth = (sum as f32 / 13.0).round();
            pixels[i] = clamp_u8(smooth + factor * (f32::from(source[i]) - smooth));
        }
    }
}

#[cfg(test)]
mod tests;
