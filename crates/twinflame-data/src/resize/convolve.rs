//! The two passes of a resize.

use super::Interpolation;

/// A rectangle inside an image, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Region {
    pub(crate) left: u32,
    pub(crate) top: u32,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

/// Fractional bits of a weight: 8 bits go to the pixel and two to sums beyond it (Pillow's `PRECISION_BITS`).
const PRECISION: u32 = 32 - 8 - 2;

/// One half, to round.
const HALF: i32 = 1 << (PRECISION - 1);

/// The source pixels that make one output pixel, along one direction.
struct Taps {
    /// The first of them.
    start: usize,
    /// Where their weights start in [`Weights::values`].
    offset: usize,
    /// How many they are.
    len: usize,
}

/// Taps and weights of a run of output pixels.
struct Weights {
    taps: Vec<Taps>,
    values: Vec<i32>,
}

impl Weights {
    /// For output pixels `first..first + count` of `to`, from `from` source pixels (Pillow's `precompute_coeffs`).
    fn new(from: u32, to: u32, first: u32, count: u32, interpolation: Interpolation) -> Self {
        let (kernel, reach): (fn(f64) -> f64, f64) = match interpolation {
            Interpolation::Bicubic => (cubic, 2.0),
            Interpolation::Bilinear => (triangle, 1.0),
        };
        let scale = f64::from(from) / f64::from(to);
        let stretch = scale.max(1.0);
        let (reach, shrink) = (reach * stretch, 1.0 / stretch);
        let mut weights = Self {
            taps: Vec::with_capacity(count as usize),
            values: Vec::with_capacity(count as usize * (reach.ceil() as usize * 2 + 1)),
        };
        let mut exact = vec![];
        for output in first..first + count {
            let center = (f64::from(output) + 0.5) * scale;
            // casts truncate towards zero and saturate at it
            let start = (center - reach + 0.5) as u32;
            let end = ((center + reach + 0.5) as u32).min(from);
            exact.clear();
            exact.extend((start..end).map(|source| kernel((f64::from(source) - center + 0.5) * shrink)));
            let sum: f64 = exact.iter().sum();
            weights.taps.push(Taps {
                start: start as usize,
                offset: weights.values.len(),
                len: exact.len(),
            });
            weights.values.extend(exact.iter().map(|weight| fixed(weight / sum)));
        }
        weights
    }

    fn of(&self, taps: &Taps) -> &[i32] {
        &self.values[taps.offset..taps.offset + taps.len]
    }
}

/// In fixed point, rounded half away from zero.
fn fixed(weight: f64) -> i32 {
    (weight * f64::from(1 << PRECISION)).round() as i32
}

fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

fn triangle(x: f64) -> f64 {
    (1.0 - x.abs()).max(0.0)
}

/// The byte that a fixed-point sum stands for.
fn to_byte(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}

/// A part of an image resized from `from` to `size` (width, height), `N` channels.
pub(super) fn convolve<const N: usize>(
    pixels: &[u8],
    from: (u32, u32),
    size: (u32, u32),
    part: Region,
    interpolation: Interpolation,
) -> Vec<u8> {
    let rows = Weights::new(from.0, size.0, part.left, part.width, interpolation);
    let columns = Weights::new(from.1, size.1, part.top, part.height, interpolation);
    let (stride, width) = (from.0 as usize * N, part.width as usize * N);
    let along_rows = |source: &[u8]| match from.0 == size.0 {
        true => crop_rows::<N>(source, stride, part),
        false => along_rows::<N>(source, stride, &rows),
    };
    // `source` starts at row `first` of the image
    let along_columns = |source: &[u8], width: usize, first: usize| match from.1 == size.1 {
        true => source[(part.top as usize - first) * width..][..part.height as usize * width].to_vec(),
        false => along_columns(source, width, first, &columns),
    };
    if columns_come_first(from, size) {
        return along_rows(&along_columns(pixels, stride, 0));
    }
    let needed = match from.1 == size.1 {
        true => part.top as usize..(part.top + part.height) as usize,
        false => rows_needed(&columns),
    };
    let stretched = along_rows(&pixels[needed.start * stride..needed.end * stride]);
    along_columns(&stretched, width, needed.start)
}

/// Since version 13, Pillow takes the columns first where that saves most of the work
/// (<https://github.com/python-pillow/Pillow/pull/9549>). The order decides how values are rounded in between.
fn columns_come_first(from: (u32, u32), size: (u32, u32)) -> bool {
    let lost = |before: u32, after: u32| i64::from(before) - i64::from(after);
    let (columns, rows) = (lost(from.0, size.0), lost(from.1, size.1));
    rows > 0 && rows > 2 * columns
}

/// The source rows that any output row asks for.
fn rows_needed(columns: &Weights) -> std::ops::Range<usize> {
    let start = columns.taps.iter().map(|taps| taps.start).min();
    let end = columns.taps.iter().map(|taps| taps.start + taps.len).max();
    start.unwrap_or(0)..end.unwrap_or(0)
}

fn crop_rows<const N: usize>(source: &[u8], stride: usize, part: Region) -> Vec<u8> {
    let (left, width) = (part.left as usize * N, part.width as usize * N);
    let rows = source.chunks_exact(stride);
    rows.flat_map(|row| &row[left..left + width]).copied().collect()
}

fn along_rows<const N: usize>(source: &[u8], stride: usize, weights: &Weights) -> Vec<u8> {
    let height = source.len() / stride;
    let mut output = Vec::with_capacity(height * weights.taps.len() * N);
    for row in source.chunks_exact(stride) {
        let row = row.as_chunks::<N>().0;
        for taps in &weights.taps {
            let mut sum = [HALF; N];
            let pixels = &row[taps.start..taps.start + taps.len];
            for (pixel, &weight) in pixels.iter().zip(weights.of(taps)) {
                for (sum, &value) in sum.iter_mut().zip(pixel) {
                    *sum += weight * i32::from(value);
                }
            }
            output.extend(sum.map(to_byte));
        }
    }
    output
}

/// `source` starts at row `first` of the image.
fn along_columns(source: &[u8], width: usize, first: usize, weights: &Weights) -> Vec<u8> {
    let mut output = Vec::with_capacity(weights.taps.len() * width);
    let mut sums = vec![0_i32; width];
    for taps in &weights.taps {
        sums.fill(HALF);
        let rows = source[(taps.start - first) * width..].chunks_exact(width);
        for (row, &weight) in rows.zip(weights.of(taps)) {
            for (sum, &value) in sums.iter_mut().zip(row) {
                *sum += weight * i32::from(value);
            }
        }
        output.extend(sums.iter().map(|&sum| to_byte(sum)));
    }
    output
}
