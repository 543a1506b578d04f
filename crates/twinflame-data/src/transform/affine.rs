//! Random zoom, rotation about the centre, and shift.

use super::config::AffineConfig;
use super::draw::uniform;
use super::geometry::square_offset;
use crate::decode::DecodedImage;
use crate::resize::{Interpolation, clamp_u8, resize};
use rand::Rng;

/// One draw of an [`AffineConfig`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Affine {
    /// Zoom; 1 keeps the size.
    scale: f64,
    /// Rotation, counter-clockwise, in radians.
    angle: f64,
    /// Shift to the right and down, as a share of the square.
    shift: [f64; 2],
}

impl Affine {
    pub(super) fn draw<R: Rng + ?Sized>(rng: &mut R, config: &AffineConfig) -> Self {
        let scale = uniform(rng, config.scale);
        let degrees = uniform(rng, [-config.rotation_degrees, config.rotation_degrees]);
        let angle = degrees.to_radians();
        // Drawn last and only on demand: recipes older than this option keep their pictures.
        let shift = match config.translate {
            0.0 => [0.0; 2],
            most => std::array::from_fn(|_| uniform(rng, [-most, most])),
        };
        Self { scale, angle, shift }
    }

    /// Draws the image, which takes `fitted` (width, height) pixels without zoom, about the centre of a square.
    ///
    /// The zoom is part of the antialiased resize that the image needs anyway, so the source is read once, at full
    /// resolution, with the kernel of evaluation; rotation and shift then sample the result bicubically. Without any
    /// of the three the outcome is the evaluation transform's, pixel for pixel.
    ///
    /// # Shapes
    /// - output: `[size, size, 3]`
    pub(super) fn apply_into(self, image: &DecodedImage, fitted: (u32, u32), target: &Target, output: &mut [u8]) {
        let wanted = [fitted.0, fitted.1].map(|edge| f64::from(edge) * self.scale);
        let [width, height] = wanted.map(|edge| (edge.round() as u32).max(1));
        let zoomed = resize(image, width, height, target.interpolation);
        let fill = image.background().unwrap_or(target.fill);
        let canvas = Canvas::new(&zoomed.to_rgb(), width as usize, height as usize, fill);

        let (sin, cos) = (libm::sin(self.angle), libm::cos(self.angle));
        // what rounding to whole pixels left of the zoom
        let [stretch_x, stretch_y] = [f64::from(width) / wanted[0], f64::from(height) / wanted[1]];
        let middle = target.size as f64 / 2.0;
        // where the centre of the image comes to lie
        let center = self.shift.map(|share| middle + share * target.size as f64);
        // the centre of the square, on the zoomed image
        let [left, top] = square_offset(fitted, target.size as u32).map(|offset| offset as f64 + middle);
        let origin = [
            left / f64::from(fitted.0) * f64::from(width) - 0.5,
            top / f64::from(fitted.1) * f64::from(height) - 0.5,
        ];
        let mut colors = vec![[0.0; 4]; target.size];
        let rows = output.as_chunks_mut::<3>().0.chunks_exact_mut(target.size);
        for (y, row) in rows.enumerate() {
            let down = y as f64 + 0.5 - center[1];
            for (x, color) in colors.iter_mut().enumerate() {
                let right = x as f64 + 0.5 - center[0];
                let source_x = origin[0] + (cos * right - sin * down) * stretch_x;
                let source_y = origin[1] + (sin * right + cos * down) * stretch_y;
                *color = canvas.sample(source_x as f32, source_y as f32);
            }
            for (pixel, &[r, g, b, _]) in row.iter_mut().zip(&colors) {
                *pixel = [r, g, b].map(|value| clamp_u8(value + 0.5));
            }
        }
    }
}

/// The square to draw on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    /// Edge, in pixels.
    pub(super) size: usize,
    /// Colour of what the image does not cover.
    pub(super) fill: [u8; 3],
    /// Kernel of the zoom.
    pub(super) interpolation: Interpolation,
}

/// Red, green, blue and an unused value: one SIMD register.
type Color = [f32; 4];

fn color([r, g, b]: [u8; 3]) -> Color {
    [r, g, b, 0].map(f32::from)
}

/// An RGB image inside a margin, so that a kernel of 4x4 pixels never needs a bounds rule of its own.
struct Canvas {
    pixels: Vec<Color>,
    width: usize,
    height: usize,
    fill: Color,
}

/// With three pixels of margin the kernel touches the image or lies in the margin entirely.
const MARGIN: usize = 3;

impl Canvas {
    fn new(rgb: &[u8], width: usize, height: usize, fill: [u8; 3]) -> Self {
        let fill = color(fill);
        let stride = width + 2 * MARGIN;
        let mut pixels = vec![fill; stride * (height + 2 * MARGIN)];
        let rows = rgb.as_chunks::<3>().0.chunks_exact(width);
        for (y, row) in rows.enumerate() {
            let start = (y + MARGIN) * stride + MARGIN;
            for (target, &source) in pixels[start..start + width].iter_mut().zip(row) {
                *target = color(source);
            }
        }
        Self {
            pixels,
            width,
            height,
            fill,
        }
    }

    /// The colour at a point; whole numbers are pixel centres.
    #[inline]
    fn sample(&self, x: f32, y: f32) -> Color {
        // The kernel starts one pixel before the point, which is the margin less one pixel into the canvas. Positive
        // coordinates round down by a cast, where `floor` is a function call.
        const SHIFT: f32 = (MARGIN - 1) as f32;
        let (x, y) = (x + SHIFT, y + SHIFT);
        let inside = x >= 0.0 && y >= 0.0 && x < (self.width + MARGIN) as f32 && y < (self.height + MARGIN) as f32;
        if !inside {
            return self.fill;
        }
        let (first_x, first_y) = (x as i32, y as i32);
        let weights_x = cubic_weights(x - first_x as f32);
        let weights_y = cubic_weights(y - first_y as f32);
        let stride = self.width + 2 * MARGIN;
        let start = first_y as usize * stride + first_x as usize;
        let mut sum = [0.0; 4];
        for (row, weight_y) in self.pixels[start..].chunks(stride).zip(weights_y) {
            let Some(pixels) = row.first_chunk::<4>() else {
                break;
            };
            let mut across = [0.0; 4];
            for (pixel, weight_x) in pixels.iter().zip(weights_x) {
                for (lane, value) in across.iter_mut().zip(pixel) {
                    *lane += weight_x * value;
                }
            }
            for (lane, value) in sum.iter_mut().zip(across) {
                *lane += weight_y * value;
            }
        }
        sum
    }
}

/// Weights of the pixels at -1, 0, 1 and 2 for a point at `t` in 0..1: cubic convolution with a = -0.5 (Keys 1981),
/// the kernel of the resize.
#[inline]
fn cubic_weights(t: f32) -> [f32; 4] {
    /// Coefficients of 1, t, t^2 and t^3.
    const POLYNOMIALS: [[f32; 4]; 4] = [
        [0.0, 1.0, 0.0, 0.0],
        [-0.5, 0.0, 0.5, 0.0],
        [1.0, -2.5, 2.0, -0.5],
        [-0.5, 1.5, -1.5, 0.5],
    ];
    let [constant, linear, square, cube] = POLYNOMIALS;
    std::array::from_fn(|tap| ((cube[tap] * t + square[tap]) * t + linear[tap]) * t + constant[tap])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::PixelLayout;

    const WHITE: [u8; 3] = [255; 3];

    const STILL: Affine = Affine {
        scale: 1.0,
        angle: 0.0,
        shift: [0.0; 2],
    };

    fn target(size: usize) -> Target {
        Target {
            size,
            fill: WHITE,
            interpolation: Interpolation::Bicubic,
        }
    }

    /// Black, but for one red corner.
    fn corner(size: u32) -> DecodedImage {
        let mut pixels = vec![0; (size * size * 3) as usize];
        pixels[0] = 255;
        DecodedImage::new(size, size, PixelLayout::Rgb, pixels)
    }

    fn drawn(affine: Affine, image: &DecodedImage, size: usize) -> Vec<u8> {
        let mut output = vec![1; size * size * 3];
        affine.apply_into(image, (size as u32, size as u32), &target(size), &mut output);
        output
    }

    #[test]
    fn weights_sum_to_one() {
        for t in [0.0, 0.25, 0.5, 0.9] {
            assert!((cubic_weights(t).iter().sum::<f32>() - 1.0).abs() < 1e-6);
        }
        assert_eq!(cubic_weights(0.0), [0.0, 1.0, 0.0, 0.0]);
    }

    #[test]
    fn no_zoom_and_no_rotation_is_the_image() {
        let image = corner(6);
        assert_eq!(drawn(STILL, &image, 6), image.pixels());
    }

    #[test]
    fn a_quarter_turn_moves_the_corner_down_the_left_edge() {
        let quarter = Affine {
            angle: std::f64::consts::FRAC_PI_2,
            ..STILL
        };
        let output = drawn(quarter, &corner(5), 5);
        let red: Vec<usize> = (0..25).filter(|i| output[i * 3] > 200).collect();
        // counter-clockwise: top left goes to bottom left
        assert_eq!(red, [20]);
    }

    #[test]
    fn zooming_out_uncovers_the_background() {
        let half = Affine { scale: 0.5, ..STILL };
        let black = DecodedImage::new(8, 8, PixelLayout::Rgb, vec![0; 192]);
        let red: Vec<u8> = drawn(half, &black, 8).chunks(3).map(|p| p[0]).collect();
        let row = |y: usize| &red[y * 8..y * 8 + 8];
        assert_eq!(row(0), [255; 8]);
        assert_eq!(row(4), [255, 255, 0, 0, 0, 0, 255, 255]);

        let on_blue = black.with_background([0, 0, 9]);
        assert_eq!(drawn(half, &on_blue, 8)[..3], [0, 0, 9]);
    }
    #[test]
    fn a_shift_moves_right_and_down_and_uncovers_the_fill() {
        let shifted = Affine {
            shift: [0.5, 0.25],
            ..STILL
        };
        let output = drawn(shifted, &corner(4), 4);
        let black: Vec<usize> = (0..16).filter(|i| output[i * 3 + 1] == 0).collect();
        assert_eq!(black, [6, 7, 10, 11, 14, 15]);
        assert_eq!(output[6 * 3..7 * 3], [255, 0, 0]);
    }
}
