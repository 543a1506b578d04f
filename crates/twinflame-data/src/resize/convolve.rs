//! The two passes of a resize.
//!
//! Both are done by [`sum_columns`], whose inner loop runs over neighbouring bytes and so compiles to SIMD on any
//! processor; for the pass along rows a few rows at a time are transposed before and after. All sums are exact integers.

use super::Interpolation;
use crate::buffers::{give, take};
use macerator::{AutoArch, Simd, WithSimd};
use std::ops::Range;

/// A rectangle inside an image, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Region {
    pub(crate) left: u32,
    pub(crate) top: u32,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

impl Region {
    /// A whole image.
    pub(crate) fn all(width: u32, height: u32) -> Self {
        Self {
            left: 0,
            top: 0,
            width,
            height,
        }
    }
}

/// Fractional bits of a weight: 8 bits go to the pixel and two to sums beyond it (Pillow's `PRECISION_BITS`).
const PRECISION: u32 = 32 - 8 - 2;

/// One half, to round.
const HALF: i32 = 1 << (PRECISION - 1);

/// A weight is kept as two halves, `high * 2^11 + low`: a product of 16 bits is the widest that every SIMD set has.
const HIGH_SHIFT: u32 = 11;

/// Neighbouring bytes that are summed at a time, in registers.
const LANES: usize = 16;

/// The same where there are registers enough, and the bytes of rows that [`along_rows`] turns at a time: a multiple of every
/// number of channels.
const BLOCK: usize = 3 * LANES;

/// From one turned row to the next, in bytes: more than a block, because [`turn`] writes beyond the pixels of its last row.
const STRIDE: usize = 64;

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

    /// The source pixels that any output pixel asks for.
    fn needed(&self) -> Range<usize> {
        let start = self.taps.iter().map(|taps| taps.start).min();
        let end = self.taps.iter().map(|taps| taps.start + taps.len).max();
        start.unwrap_or(0)..end.unwrap_or(0)
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

/// The bytes of an image, or of a window of it that starts at the first byte: row `y` at `y * stride`.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    bytes: &'a [u8],
    stride: usize,
}

impl<'a> Rows<'a> {
    pub(super) fn new(bytes: &'a [u8], stride: usize) -> Self {
        Self { bytes, stride }
    }

    /// From row `y` on.
    fn from(self, y: usize) -> Self {
        Self::new(&self.bytes[y * self.stride..], self.stride)
    }

    /// The first `length` bytes of row `y`.
    fn row(self, y: usize, length: usize) -> &'a [u8] {
        &self.bytes[y * self.stride..][..length]
    }
}

/// A part of an image resized from `from` to `size` (width, height), `N` channels.
pub(super) fn convolve<const N: usize>(
    source: Rows<'_>,
    from: (u32, u32),
    size: (u32, u32),
    part: Region,
    interpolation: Interpolation,
) -> Vec<u8> {
    let weights = |from: u32, to: u32, first: u32, count: u32| {
        (from != to).then(|| Weights::new(from, to, first, count, interpolation))
    };
    let horizontal = weights(from.0, size.0, part.left, part.width);
    let vertical = weights(from.1, size.1, part.top, part.height);
    let rows = part.top as usize..(part.top + part.height) as usize;
    let width = part.width as usize * N;
    let left = part.left as usize * N;
    let squeeze = |source: Rows<'_>, width: usize, first: usize| match &vertical {
        None => copy_rows(source.from(rows.start - first), rows.len(), 0, width),
        Some(vertical) => along_columns(source, width, first, vertical),
    };
    let stretch = |source: Rows<'_>, height: usize| match &horizontal {
        None => copy_rows(source, height, left, width),
        Some(horizontal) => along_rows::<N>(source, height, horizontal),
    };
    if columns_come_first(from, size) {
        let full_width = from.0 as usize * N;
        let squeezed = squeeze(source, full_width, 0);
        let stretched = stretch(Rows::new(&squeezed, full_width), rows.len());
        give(squeezed);
        return stretched;
    }
    let needed = vertical.as_ref().map_or(rows.clone(), Weights::needed);
    let stretched = stretch(source.from(needed.start), needed.len());
    let squeezed = squeeze(Rows::new(&stretched, width), width, needed.start);
    give(stretched);
    squeezed
}

/// Since version 13, Pillow takes the columns first where that saves most of the work
/// (<https://github.com/python-pillow/Pillow/pull/9549>). The order decides how values are rounded in between.
fn columns_come_first(from: (u32, u32), size: (u32, u32)) -> bool {
    let lost = |before: u32, after: u32| i64::from(before) - i64::from(after);
    let (columns, rows) = (lost(from.0, size.0), lost(from.1, size.1));
    rows > 0 && rows > 2 * columns
}

fn copy_rows(source: Rows<'_>, height: usize, left: usize, width: usize) -> Vec<u8> {
    let mut output = Vec::with_capacity(height * width);
    for y in 0..height {
        output.extend_from_slice(&source.row(y, left + width)[left..]);
    }
    output
}

/// Sums along the rows of `source`: a few of them at a time are turned into columns, summed while they are in the cache, and
/// turned back.
fn along_rows<const N: usize>(source: Rows<'_>, height: usize, weights: &Weights) -> Vec<u8> {
    let needed = weights.needed();
    let width = weights.taps.len();
    let (mut turned, mut summed) = (take(needed.len() * STRIDE), take(width * BLOCK));
    let mut output = take(height * width * N);
    for (first, output) in (0..).step_by(BLOCK / N).zip(output.chunks_mut(BLOCK / N * width * N)) {
        let rows = output.len() / (width * N);
        for y in 0..rows {
            let row = &source.row(first + y, needed.end * N)[needed.start * N..];
            match N {
                3 => turn::<3, 4>(row, &mut turned[y * N..]),
                _ => turn::<N, N>(row, &mut turned[y * N..]),
            }
        }
        let block = rows * N;
        sum_columns(
            Rows::new(&turned, STRIDE),
            needed.start,
            weights,
            &mut summed[..width * block],
        );
        for (y, row) in output.chunks_exact_mut(width * N).enumerate() {
            let turned_back = summed[y * N..].chunks(block).map(|row| &row[..N]);
            for (pixel, turned_back) in row.as_chunks_mut::<N>().0.iter_mut().zip(turned_back) {
                pixel.copy_from_slice(turned_back);
            }
        }
    }
    give(turned);
    give(summed);
    output
}

/// The pixels of a row, one to a row of `turned`. `W` bytes are copied of each pixel of `N`: one copy of four is faster than of
/// two and one, and the byte too many is overwritten by the next row.
fn turn<const N: usize, const W: usize>(row: &[u8], turned: &mut [u8]) {
    // a window would reach beyond the last pixel
    for (pixel, turned) in row.windows(W).step_by(N).zip(turned.chunks_exact_mut(STRIDE)) {
        turned[..W].copy_from_slice(pixel);
    }
    let last = row.len() - N;
    turned[last / N * STRIDE..][..N].copy_from_slice(&row[last..]);
}

/// Sums down the columns of rows of `width` bytes; `source` starts at row `first` of the image.
fn along_columns(source: Rows<'_>, width: usize, first: usize, weights: &Weights) -> Vec<u8> {
    let mut output = take(weights.taps.len() * width);
    sum_columns(source, first, weights, &mut output);
    output
}

/// [`sum_columns_in`] compiled for the widest vectors that the processor has. Sums of integers do not depend on it.
fn sum_columns(source: Rows<'_>, first: usize, weights: &Weights, output: &mut [u8]) {
    AutoArch::new().dispatch(SumColumns {
        source,
        first,
        weights,
        output,
    });
}

/// A call of [`sum_columns_in`].
struct SumColumns<'a> {
    source: Rows<'a>,
    first: usize,
    weights: &'a Weights,
    output: &'a mut [u8],
}

impl WithSimd for SumColumns<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self) {
        let Self {
            source,
            first,
            weights,
            output,
        } = self;
        // 256 bits and more: 48 sums fit into the registers
        if S::lanes8() >= 32 {
            sum_columns_in::<true>(source, first, weights, output);
        } else {
            sum_columns_in::<false>(source, first, weights, output);
        }
    }
}

/// Sums blocks of neighbouring bytes: of [`BLOCK`] if there are registers for them (`WIDE`), then of [`LANES`].
#[inline(always)]
fn sum_columns_in<const WIDE: bool>(source: Rows<'_>, first: usize, weights: &Weights, output: &mut [u8]) {
    let width = output.len() / weights.taps.len();
    for (taps, output) in weights.taps.iter().zip(output.chunks_exact_mut(width)) {
        let rows = source.from(taps.start - first);
        let values = weights.of(taps);
        let (blocks, rest) = output.as_chunks_mut::<BLOCK>();
        let blocks = if WIDE { blocks } else { &mut [] };
        let mut x = 0;
        for block in blocks {
            *block = three_sums(&rows.bytes[x..], rows.stride, values);
            x += BLOCK;
        }
        let (blocks, rest) = if WIDE { rest } else { &mut *output }.as_chunks_mut::<LANES>();
        for block in blocks {
            *block = one_sum(&rows.bytes[x..], rows.stride, values);
            x += LANES;
        }
        for byte in rest {
            [*byte] = one_sum(&rows.bytes[x..], rows.stride, values);
            x += 1;
        }
    }
}

/// Sums of `L` neighbouring bytes, those of the two halves of the weights apart.
struct Sums<const L: usize> {
    high: [i32; L],
    low: [i32; L],
}

impl<const L: usize> Sums<L> {
    #[inline(always)]
    fn new() -> Self {
        Self {
            high: [0; L],
            low: [HALF; L],
        }
    }

    #[inline(always)]
    fn add(&mut self, values: &[u8; L], [weight_high, weight_low]: [i16; 2]) {
        for ((high, low), &value) in self.high.iter_mut().zip(&mut self.low).zip(values) {
            *high += i32::from(value) * i32::from(weight_high);
            *low += i32::from(value) * i32::from(weight_low);
        }
    }

    #[inline(always)]
    fn bytes(&self) -> [u8; L] {
        std::array::from_fn(|lane| {
            (((self.high[lane] << HIGH_SHIFT) + self.low[lane]) >> PRECISION).clamp(0, 255) as u8
        })
    }
}

/// Sums the first `L` bytes of rows that are `stride` bytes apart.
#[inline(always)]
fn one_sum<const L: usize>(rows: &[u8], stride: usize, weights: &[[i16; 2]]) -> [u8; L] {
    let mut sums = Sums::new();
    for (row, &weight) in rows.chunks(stride).zip(weights) {
        let Some(values) = row.first_chunk::<L>() else {
            break;
        };
        sums.add(values, weight);
    }
    sums.bytes()
}

/// [`one_sum`] of three blocks; an array of them would not be kept in registers.
#[inline(always)]
fn three_sums(rows: &[u8], stride: usize, weights: &[[i16; 2]]) -> [u8; BLOCK] {
    let (mut first, mut second, mut third) = (Sums::<LANES>::new(), Sums::<LANES>::new(), Sums::<LANES>::new());
    for (row, &weight) in rows.chunks(stride).zip(weights) {
        let [one, two, three, ..] = row.as_chunks::<LANES>().0 else {
            break;
        };
        first.add(one, weight);
        second.add(two, weight);
        third.add(three, weight);
    }
    let mut bytes = [0; BLOCK];
    for (block, sums) in bytes.as_chunks_mut::<LANES>().0.iter_mut().zip([first, second, third]) {
        *block = sums.bytes();
    }
    bytes
}

#[cfg(test)]
mod tests;
