//! Colour changes, as torchvision makes them on a Pillow image.
//!
//! All of them work in place on RGB pixels, `[height, width, 3]`, and round like Pillow's `ImageEnhance`: blend in
//! `f32`, cut to 0..=255, truncate.

use super::config::ColorJitterConfig;
use super::draw::{below, chance, uniform};
use crate::resize::clamp_u8;
use rand::Rng;

/// torchvision's `ColorJitter`: brightness, contrast, saturation and hue in random order.
pub(super) fn jitter<R: Rng + ?Sized>(rng: &mut R, pixels: &mut [u8], config: &ColorJitterConfig) {
    if !chance(rng, config.probability) {
        return;
    }
    let mut order = [0, 1, 2, 3];
    for last in (1..order.len()).rev() {
        order.swap(last, below(rng, last as u32 + 1) as usize);
    }
    let factors = [config.brightness, config.contrast, config.saturation]
        .map(|x| uniform(rng, [(1.0 - x).max(0.0), 1.0 + x]) as f32);
    let turn = uniform(rng, [-config.hue, config.hue]);
    for operation in order {
        match operation {
            0 if config.brightness > 0.0 => brightness(pixels, factors[0]),
            1 if config.contrast > 0.0 => contrast(pixels, factors[1]),
            2 if config.saturation > 0.0 => saturation(pixels, factors[2]),
            3 if config.hue > 0.0 => hue(pixels, turn),
            _ => {}
        }
    }
}

/// Pillow's `convert("L")`: the ITU-R 601-2 luma in 16-bit fixed point.
fn luma(pixel: &[u8; 3]) -> u8 {
    let [r, g, b] = pixel.map(u32::from);
    ((r * 19_595 + g * 38_470 + b * 7_471 + 0x8000) >> 16) as u8
}

/// Pillow's `Image.blend`, one value: `factor` 0 gives `from`, 1 gives `to`.
fn blend(from: u8, to: u8, factor: f32) -> u8 {
    let (from, to) = (f32::from(from), f32::from(to));
    clamp_u8(from + factor * (to - from))
}

/// Blends every value with one other.
fn blend_all(pixels: &mut [u8], from: u8, factor: f32) {
    let mut table = [0_u8; 256];
    for (to, value) in (0..=255).zip(&mut table) {
        *value = blend(from, to, factor);
    }
    for value in pixels {
        *value = table[usize::from(*value)];
    }
}

/// Factor 0 is black, 1 leaves the image alone.
pub(super) fn brightness(pixels: &mut [u8], factor: f32) {
    blend_all(pixels, 0, factor);
}

/// Factor 0 is the mean grey, 1 leaves the image alone.
pub(super) fn contrast(pixels: &mut [u8], factor: f32) {
    let pairs = pixels.as_chunks::<3>().0;
    let sum: u64 = pairs.iter().map(|pixel| u64::from(luma(pixel))).sum();
    let mean = sum as f64 / pairs.len() as f64;
    blend_all(pixels, (mean + 0.5) as u8, factor);
}

/// Factor 0 is grey, 1 leaves the image alone.
pub(super) fn saturation(pixels: &mut [u8], factor: f32) {
    for pixel in pixels.as_chunks_mut::<3>().0 {
        let grey = luma(pixel);
        *pixel = pixel.map(|value| blend(grey, value, factor));
    }
}

/// Removes the colours.
pub(super) fn greyscale(pixels: &mut [u8]) {
    for pixel in pixels.as_chunks_mut::<3>().0 {
        *pixel = [luma(pixel); 3];
    }
}

/// Turns the hue, in turns (-0.5..=0.5), through Pillow's 8-bit HSV.
pub(super) fn hue(pixels: &mut [u8], turn: f64) {
    // torchvision adds the truncated step to 8 bits, which wrap around as a hue does
    let step = (turn * 255.0) as i32 as u8;
    for pixel in pixels.as_chunks_mut::<3>().0 {
        let [h, s, v] = rgb_to_hsv(*pixel);
        *pixel = hsv_to_rgb([h.wrapping_add(step), s, v]);
    }
}

/// Pillow's `rgb2hsv_row`.
fn rgb_to_hsv(pixel: [u8; 3]) -> [u8; 3] {
    let [r, g, b] = pixel;
    let (high, low) = (r.max(g).max(b), r.min(g).min(b));
    if high == low {
        return [0, 0, high];
    }
    let range = f32::from(high - low);
    let saturation = range / f32::from(high);
    let [red, green, blue] = pixel.map(|value| f32::from(high - value) / range);
    let hue = if r == high {
        blue - green
    } else if g == high {
        2.0 + red - blue
    } else {
        4.0 + green - red
    };
    let hue = (f64::from(hue) / 6.0 + 1.0) % 1.0;
    [(hue as f32 * 255.0) as u8, (saturation * 255.0) as u8, high]
}

/// Pillow's `hsv2rgb`.
fn hsv_to_rgb([h, s, v]: [u8; 3]) -> [u8; 3] {
    if s == 0 {
        return [v; 3];
    }
    let sector = f32::from(h) * 6.0 / 255.0;
    let whole = sector.floor();
    let rest = sector - whole;
    let (s, value) = (f32::from(s) / 255.0, f32::from(v));
    let p = clamp_u8((value * (1.0 - s)).round());
    let q = clamp_u8((value * (1.0 - s * rest)).round());
    let t = clamp_u8((value * (1.0 - s * (1.0 - rest))).round());
    match whole as u8 % 6 {
        0 => [v, t, p],
        1 => [q, v, p],
        2 => [p, v, t],
        3 => [p, q, v],
        4 => [t, p, v],
        _ => [v, p, q],
    }
}

#[cfg(test)]
mod tests;
