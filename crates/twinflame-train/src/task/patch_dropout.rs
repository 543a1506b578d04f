//! Which patches of an image a training step keeps, drawn on the host.

use rand::{SeedableRng, rngs::ChaCha8Rng, seq::index};

/// Keeps this draw apart from what the loader draws from the same seed.
const STREAM: u64 = 0x7061_7463_6864_726f; // "patchdro"

/// How many of `num_patches` remain when each is dropped with probability `dropout`.
///
/// Li et al. 2023 (FLIP), <https://arxiv.org/abs/2212.00794>; `max(1, int(n * (1 - p)))` as in open_clip.
#[must_use]
pub fn num_kept_patches(num_patches: usize, dropout: f64) -> usize {
    let kept = (num_patches as f64 * (1.0 - dropout)) as usize;
    kept.max(1)
}

/// Indices of the patches that each sample keeps, ascending, class token not counted.
///
/// Every sample's patches depend on its seed alone, so that both passes of micro-batching and a resumed run draw
/// the same ones.
///
/// # Shapes
/// - output: `[seeds.len(), kept]`, row-major
///
/// # Panics
/// If `kept` exceeds `num_patches`.
#[must_use]
pub fn kept_patches(seeds: &[u64], num_patches: usize, kept: usize) -> Vec<i32> {
    let mut patches = Vec::with_capacity(seeds.len() * kept);
    for &seed in seeds {
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ STREAM);
        let mut chosen: Vec<usize> = index::sample(&mut rng, num_patches, kept).into_vec();
        chosen.sort_unstable();
        patches.extend(chosen.into_iter().map(|patch| patch as i32));
    }
    patches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_open_clips() {
        assert_eq!(num_kept_patches(196, 0.5), 98);
        assert_eq!(num_kept_patches(49, 0.5), 24);
        assert_eq!(num_kept_patches(16, 0.99), 1);
        assert_eq!(num_kept_patches(16, 0.0), 16);
    }

    #[test]
    fn a_sample_keeps_the_same_patches_in_any_batch() {
        let whole = kept_patches(&[7, 8, 9], 16, 5);
        assert_eq!(whole[5..], kept_patches(&[8, 9], 16, 5));
        assert_ne!(whole[..5], whole[5..10]);
    }

    #[test]
    fn patches_are_distinct_and_in_range() {
        for row in kept_patches(&[1, 2, 3, 4], 9, 4).chunks(4) {
            assert!(row.windows(2).all(|pair| pair[0] < pair[1]), "{row:?}");
            assert!(row.iter().all(|&patch| (0..9).contains(&patch)), "{row:?}");
        }
    }
}
