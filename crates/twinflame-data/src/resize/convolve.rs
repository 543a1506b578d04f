//! The two passes of a resize.
//!
//! Both are done by [`along_columns`], whose inner loop runs over neighbouring bytes and so compiles to SIMD on any
//! processor; for the pass along rows the image is transposed before and after. All sums are exact integers.

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

/// A weight is kept as two halves, `high * 2^11 + low`: a product of 16 bits is the widest that every SIMD set has.
const HIGH_SHIFT: u32 = 11;

/// Bytes that [`along_columns`] sums at a time, in registers.
const LANES: usize = 16;

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
    /// The high and the low half of each.
    values: Vec<[i16; 2]>,
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
            weights.values.extend(exact.iter().map(|weight| halves(weight / sum)));
        }
        weights
    }

    fn of(&self, taps: &Taps) -> &[[i16; 2]] {
        &self.values[taps.offset..taps.offset + taps.len]
    }
}

/// A weight in fixed point, rounded half away from zero.
fn halves(weight: f64) -> [i16; 2] {
    let scaled = weight * f64::from(1 << PRECISION);
    // a cast truncates; `round` would be a function call per weight
    let fixed = (scaled + 0.5_f64.copysign(scaled)) as i32;
    // weights stay below 2 in magnitude, so that the high half fits
    [(fixed >> HIGH_SHIFT) as i16, (fixed & ((1 << HIGH_SHIFT) - 1)) as i16]
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

/// The byte that the sums of both halves stand for.
fn to_byte(high: i32, low: i32) -> u8 {
    (((high << HIGH_SHIFT) + low) >> PRECISION).clamp(0, 255) as u8
}

/// A part of an image resized from `from` to `size` (width, height), `N` channels.
pub(super) fn convolve<const N: usize>(
    pixels: &[u8],
    from: (u32, u32),
    size: (u32, u32),
    part: Region,
    interpolation: Interpolation,
) -> Vec<u8> {
    let weights = |from: u32, to: u32, first: u32, count: u32| {
        (from != to).then(|| Weights::new(from, to, first, count, interpolation))
    };
    let rows = weights(from.0, size.0, part.left, part.width);
    let columns = weights(from.1, size.1, part.top, part.height);
    let (stride, width) = (from.0 as usize * N, part.width as usize * N);
    let along_rows = |source: &[u8]| match &rows {
        None => crop_rows::<N>(source, stride, part),
        Some(rows) => {
            let turned = transpose::<N>(source, from.0 as usize);
            let height = source.len() / stride;
            transpose::<N>(&along_columns(&turned, height * N, 0, rows), height)
        }
    };
    // `source` starts at row `first` of the image
    let along_columns = |source: &[u8], width: usize, first: usize| match &columns {
        None => source[(part.top as usize - first) * width..][..part.height as usize * width].to_vec(),
        Some(columns) => along_columns(source, width, first, columns),
    };
    if columns_come_first(from, size) {
        return along_rows(&along_columns(pixels, stride, 0));
    }
    let needed = match &columns {
        None => part.top as usize..(part.top + part.height) as usize,
        Some(columns) => rows_needed(columns),
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

/// Rows become columns.
fn transpose<const N: usize>(source: &[u8], width: usize) -> Vec<u8> {
    /// Pixels that are read and written together, to stay in the cache.
    const BLOCK: usize = 32;
    let source = source.as_chunks::<N>().0;
    let height = source.len() / width;
    let mut output = vec![[0; N]; source.len()];
    for top in (0..height).step_by(BLOCK) {
        let bottom = (top + BLOCK).min(height);
        for (x, column) in output.chunks_exact_mut(height).enumerate() {
            for (y, pixel) in (top..bottom).zip(&mut column[top..bottom]) {
                *pixel = source[y * width + x];
            }
        }
    }
    output.into_flattened()
}

/// Sums rows of `width` bytes; `source` starts at row `first` of the image.
fn along_columns(source: &[u8], width: usize, first: usize, weights: &Weights) -> Vec<u8> {
    let mut output = vec![0; weights.taps.len() * width];
    for (taps, output) in weights.taps.iter().zip(output.chunks_exact_mut(width)) {
        let rows = &source[(taps.start - first) * width..];
        let values = weights.of(taps);
        let (blocks, rest) = output.as_chunks_mut::<LANES>();
        let done = blocks.len() * LANES;
        for (block, x) in blocks.iter_mut().zip((0..).step_by(LANES)) {
            *block = weighted_sum(&rows[x..], width, values);
        }
        for (byte, x) in rest.iter_mut().zip(done..) {
            *byte = weighted_sum::<1>(&rows[x..], width, values)[0];
        }
    }
    output
}

/// Sums the first `L` bytes of rows that are `stride` bytes apart.
fn weighted_sum<const L: usize>(rows: &[u8], stride: usize, weights: &[[i16; 2]]) -> [u8; L] {
    let (mut high, mut low) = ([0_i32; L], [HALF; L]);
    for (row, &[weight_high, weight_low]) in rows.chunks(stride).zip(weights) {
        let Some(values) = row.first_chunk::<L>() else {
            break;
        };
        for ((high, low), &value) in high.iter_mut().zip(&mut low).zip(values) {
            *high += i32::from(value) * i32::from(weight_high);
            *low += i32::from(value) * i32::from(weight_low);
        }
    }
    std::array::from_fn(|lane| to_byte(high[lane], low[lane]))
}
