//! Heads side by side again.

use rayon::prelude::*;

use super::blocks::CHUNK;

/// Sizes of a head and their number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    pub(crate) n_heads: usize,
    pub(crate) tokens: usize,
    pub(crate) d_head: usize,
}

/// `[samples, heads, PARTS, tokens, d_head]` as `[samples, tokens, PARTS, heads, d_head]`.
pub(crate) fn merge<const PARTS: usize>(heads: &[f32], layout: Layout) -> Vec<f32> {
    let Layout {
        n_heads,
        tokens,
        d_head,
    } = layout;
    let row = PARTS * n_heads * d_head;
    let rows = (CHUNK / row).max(1);
    let mut output = vec![0.0; heads.len()];
    output
        .par_chunks_mut(rows * row)
        .enumerate()
        .for_each(|(chunk, output)| {
            for (index, output) in (chunk * rows..).zip(output.chunks_exact_mut(row)) {
                let [sample, token] = [index / tokens, index % tokens];
                for (place, output) in output.chunks_exact_mut(d_head).enumerate() {
                    let [part, head] = [place / n_heads, place % n_heads];
                    let start = (((sample * n_heads + head) * PARTS + part) * tokens + token) * d_head;
                    output.copy_from_slice(&heads[start..start + d_head]);
                }
            }
        });
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_finds_its_place() {
        let layout = Layout {
            n_heads: 3,
            tokens: 5,
            d_head: 4,
        };
        let heads: Vec<f32> = (0..2 * 3 * 2 * 5 * 4).map(|index| index as f32).collect();
        let merged = merge::<2>(&heads, layout);
        for (index, value) in merged.into_iter().enumerate() {
            let [d, head, part] = [index % 4, index / 4 % 3, index / 12 % 2];
            let [token, sample] = [index / 24 % 5, index / 120];
            assert_eq!(value as usize, (((sample * 3 + head) * 2 + part) * 5 + token) * 4 + d);
        }
    }
}
