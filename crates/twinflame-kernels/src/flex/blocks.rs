//! Rows in pieces of a fixed number of elements, which the compiler keeps in vector registers.

/// Sums that a row is spread over: one vector of AVX-512, two of AVX2.
pub(super) const LANES: usize = 16;

/// Elements that a thread takes at a time: some ten microseconds of work, ten times what handing it over costs, in 64 KiB,
/// which lie in a second-level cache together with the output.
pub(crate) const CHUNK: usize = 16 * 1024;

/// `work` on every [`LANES`] elements; the last ones are filled up with `padding`.
#[inline(always)]
pub(super) fn in_blocks(row: &mut [f32], padding: f32, mut work: impl FnMut(&mut [f32; LANES])) {
    let (blocks, rest) = row.as_chunks_mut::<LANES>();
    for block in blocks {
        work(block);
    }
    if !rest.is_empty() {
        let mut padded = [padding; LANES];
        padded[..rest.len()].copy_from_slice(rest);
        work(&mut padded);
        rest.copy_from_slice(&padded[..rest.len()]);
    }
}

/// `work` on every [`LANES`] elements of rows of one length; the last ones are filled up with `padding`.
#[inline(always)]
pub(super) fn over_blocks<const ROWS: usize>(
    rows: [&[f32]; ROWS],
    padding: [f32; ROWS],
    mut work: impl FnMut([&[f32; LANES]; ROWS]),
) {
    let split = rows.map(|row| row.as_chunks::<LANES>());
    let blocks = split.iter().map(|(blocks, _)| blocks.len()).min().unwrap_or_default();
    let full = split.map(|(full, _)| &full[..blocks]);
    for block in 0..blocks {
        work(full.map(|full| &full[block]));
    }
    if !split[0].1.is_empty() {
        let mut padded = padding.map(|padding| [padding; LANES]);
        for (padded, (_, rest)) in padded.iter_mut().zip(split) {
            padded[..rest.len()].copy_from_slice(rest);
        }
        work(padded.each_ref());
    }
}

/// The sum of all places, halves onto each other.
#[inline(always)]
pub(super) fn folded_sum(lanes: [f32; LANES]) -> f32 {
    folded(lanes, |a, b| a + b)
}

/// The largest of all places.
#[inline(always)]
pub(super) fn folded_max(lanes: [f32; LANES]) -> f32 {
    folded(lanes, |a, b| if b > a { b } else { a })
}

#[inline(always)]
fn folded(mut lanes: [f32; LANES], join: impl Fn(f32, f32) -> f32) -> f32 {
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for lane in 0..width {
            lanes[lane] = join(lanes[lane], lanes[lane + width]);
        }
    }
    lanes[0]
}
