//! All pairs of pictures that are near each other, without looking at all pairs.

use rayon::prelude::*;

use super::groups::Groups;
use super::picture::Picture;

/// Most blocks that two hashes must have in common to be compared.
const MAX_COMMON: u32 = 6;
/// Runs above this length are compared on all cores.
const LONG_RUN: usize = 1024;

/// Joins the samples of all pictures that are near each other; sorts them for it.
///
/// The bits of a hash are cut into `distance + common` blocks. Of two hashes that differ in at most `distance` bits at least
/// `common` blocks are equal, so that every near pair is found among those that agree in some choice of that many blocks:
/// for each choice the pictures are sorted by these blocks and compared where they are equal (Manku, Jain and Das Sarma 2007,
/// <https://doi.org/10.1145/1242572.1242592>). 16 bytes of memory for each picture.
pub(super) fn join_near(pictures: &mut Vec<Picture>, distance: u32, groups: &Groups) {
    let common = best_common(pictures.len(), distance);
    join_near_by(pictures, distance, common, groups);
}

fn join_near_by(pictures: &mut Vec<Picture>, distance: u32, common: u32, groups: &Groups) {
    pictures.par_sort_unstable();
    // One of those that are alike will do: of "image not available" there may be a hundred thousand.
    pictures.dedup_by(|next, kept| {
        let alike = (next.hash, next.colours) == (kept.hash, kept.colours);
        if alike {
            groups.join(next.sample, kept.sample);
        }
        alike
    });
    let mut keys: Vec<(u64, u32)> = Vec::with_capacity(pictures.len());
    for mask in masks(distance + common, common) {
        keys.clear();
        keys.extend(pictures.iter().zip(0..).map(|(picture, at)| (picture.hash & mask, at)));
        keys.par_sort_unstable();
        keys.par_chunk_by(|a, b| a.0 == b.0).for_each(|run| {
            let pair_up = |(at, &(_, one)): (usize, &(u64, u32))| {
                let one = &pictures[one as usize];
                for &(_, other) in &run[at + 1..] {
                    let other = &pictures[other as usize];
                    if one.is_near(other, distance) {
                        groups.join(one.sample, other.sample);
                    }
                }
            };
            match run.len() > LONG_RUN {
                true => run.par_iter().enumerate().for_each(pair_up),
                false => run.iter().enumerate().for_each(pair_up),
            }
        });
    }
}

/// How many blocks in common make the least work: with more of them fewer pairs are compared, and pictures are sorted more
/// often.
fn best_common(num_pictures: usize, distance: u32) -> u32 {
    let work = |common: u32| {
        let blocks = distance + common;
        let n = num_pictures as f64;
        // Comparing a pair takes about a twentieth of sorting a picture in.
        let sorting = 20.0 * n;
        let comparing = n * n / 2.0 / f64::from(64 / blocks * common).exp2();
        (choices(blocks, common) * (sorting + comparing)) as u64
    };
    (1..=MAX_COMMON).min_by_key(|&common| work(common)).unwrap_or(1)
}

/// `n` over `k`.
fn choices(n: u32, k: u32) -> f64 {
    (0..k).map(|i| f64::from(n - i) / f64::from(i + 1)).product()
}

/// The bits of each choice of `common` out of `blocks` blocks of a hash.
fn masks(blocks: u32, common: u32) -> impl Iterator<Item = u64> {
    let bits_below = move |block: u32| (1_u128 << (block * 64 / blocks)) - 1;
    let block = move |number: u32| (bits_below(number + 1) ^ bits_below(number)) as u64;
    let choices = (0..1_u32 << blocks).filter(move |chosen| chosen.count_ones() == common);
    choices.map(move |chosen| {
        let chosen = (0..blocks).filter(|number| chosen >> number & 1 == 1);
        chosen.map(block).fold(0, |mask, block| mask | block)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn roots(groups: &Groups, len: usize) -> Vec<u32> {
        (0..len as u32).map(|at| groups.root(at)).collect()
    }

    /// Every pair looked at.
    fn brute_force(pictures: &[Picture], distance: u32) -> Vec<u32> {
        let groups = Groups::new(pictures.len() as u32);
        for (at, one) in pictures.iter().enumerate() {
            for other in pictures[at + 1..].iter().filter(|other| one.is_near(other, distance)) {
                groups.join(one.sample, other.sample);
            }
        }
        roots(&groups, pictures.len())
    }

    #[test]
    fn every_choice_of_blocks_is_there_once() {
        for (blocks, common) in [(1, 1), (5, 1), (7, 3), (22, 6)] {
            let masks: Vec<u64> = masks(blocks, common).collect();
            assert_eq!(masks.len() as f64, choices(blocks, common).round());
            let all = masks.iter().fold(0, |all, mask| all | mask);
            assert_eq!(all, u64::MAX, "every bit is in a block");
        }
        assert_eq!(masks(4, 1).map(u64::count_ones).collect::<Vec<_>>(), [16; 4]);
        assert_eq!(masks(1, 1).collect::<Vec<_>>(), [u64::MAX]);
    }

    #[test]
    fn more_pictures_are_worth_more_tables() {
        assert_eq!(best_common(1000, 4), 1);
        let chosen: Vec<u32> = [1_000, 100_000, 10_000_000, 1_000_000_000]
            .map(|n| best_common(n, 4))
            .into();
        assert!(chosen.is_sorted() && chosen[3] > chosen[0], "{chosen:?}");
    }

    proptest! {
        /// Hashes around a few centres, so that many are just inside and just outside of the distance.
        #[test]
        fn what_is_found_is_what_all_pairs_give(
            centres in prop::collection::vec(any::<u64>(), 1..5),
            around in prop::collection::vec((any::<prop::sample::Index>(), prop::collection::vec(0_u32..64, 0..6), 0_u8..3), 2..60),
            distance in 0_u32..9,
            common in 1_u32..5,
        ) {
            let picture = |(sample, (centre, flips, shade)): (usize, (prop::sample::Index, Vec<u32>, u8))| Picture {
                hash: flips.iter().fold(*centre.get(&centres), |hash, bit| hash ^ 1 << bit),
                colours: [10 * shade; 12],
                sample: sample as u32,
            };
            let mut pictures: Vec<Picture> = around.into_iter().enumerate().map(picture).collect();
            let (len, expected) = (pictures.len(), brute_force(&pictures, distance));
            let groups = Groups::new(len as u32);
            join_near_by(&mut pictures, distance, common, &groups);
            prop_assert_eq!(roots(&groups, len), expected);
        }
    }
}
