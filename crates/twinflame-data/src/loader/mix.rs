//! A pass of a mixture: how many samples of each part, and which.

use std::ops::Range;

use rand::seq::SliceRandom;

use super::plan::{Shards, order_rng, shuffled};
use crate::dataset::Share;

/// A part of a mixture in a pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Its samples.
    pub(super) samples: Range<usize>,
    /// How many of them a pass has.
    pub(super) count: usize,
}

impl Part {
    /// `total` samples shared out to what `range` has of each share.
    pub(super) fn of(shares: &[Share], range: &Range<usize>, total: usize) -> Vec<Self> {
        let within = |share: &Share| share.samples.start.max(range.start)..share.samples.end.min(range.end);
        let samples: Vec<Range<usize>> = shares.iter().map(within).collect();
        let weight = |(share, samples): (&Share, &Range<usize>)| if samples.is_empty() { 0.0 } else { share.weight };
        let weights: Vec<f64> = shares.iter().zip(&samples).map(weight).collect();
        let counts = share_out(total, &weights).into_iter();
        samples
            .into_iter()
            .zip(counts)
            .map(|(samples, count)| Self { samples, count })
            .collect()
    }
}

/// `total` shared out in proportion to `weights`: whole numbers that sum to it, each less than one from its exact share (the
/// largest remainders are rounded up).
/// None of it, if no weight is above 0.
fn share_out(total: usize, weights: &[f64]) -> Vec<usize> {
    let sum: f64 = weights.iter().sum();
    if sum <= 0.0 {
        return vec![0; weights.len()];
    }
    let exact: Vec<f64> = weights.iter().map(|weight| total as f64 * (weight / sum)).collect();
    let mut counts: Vec<usize> = exact.iter().map(|exact| exact.floor() as usize).collect();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    let rest = |part: usize| exact[part] - exact[part].floor();
    order.sort_by(|&a, &b| rest(b).total_cmp(&rest(a)).then(a.cmp(&b)));
    let missing = total.saturating_sub(counts.iter().sum());
    for &part in order.iter().cycle().take(missing) {
        counts[part] += 1;
    }
    counts
}

/// Pass `pass` of a mixture: samples and, for each, the pass over its part.
///
/// A part has a stream of shuffled passes, of which pass `n` of the mixture takes `count` samples from `n count` on: none comes
/// again before all came. The places of the parts are shuffled and filled from their streams, so that each keeps its order and
/// the shards that are mixed at a time stay together.
pub(super) fn mix_parts(parts: &[Part], shards: Option<&Shards>, seed: u64, pass: usize) -> (Vec<usize>, Vec<u32>) {
    let mut order: Vec<u32> = Vec::new();
    for (part, Part { count, .. }) in parts.iter().enumerate() {
        order.extend(std::iter::repeat_n(part as u32, *count));
    }
    order.shuffle(&mut order_rng(seed, pass, 0));
    let stream = |(part, Part { samples, count }): (usize, &Part)| {
        let mut stream = Vec::with_capacity(*count);
        while stream.len() < *count {
            let at = pass * count + stream.len();
            let (of_part, from) = (at / samples.len(), at % samples.len());
            let order = shuffled(samples, 1, shards, &mut order_rng(seed, of_part, part + 1));
            let missing = count - stream.len();
            stream.extend(
                order[from..]
                    .iter()
                    .take(missing)
                    .map(|&sample| (sample, of_part as u32)),
            );
        }
        stream.into_iter()
    };
    let mut streams: Vec<_> = parts.iter().enumerate().map(stream).collect();
    order.iter().filter_map(|&part| streams[part as usize].next()).unzip()
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use proptest::prelude::*;

    use super::*;

    fn parts(sizes_and_counts: &[(usize, usize)]) -> Vec<Part> {
        let mut start = 5;
        let part = |&(size, count): &(usize, usize)| {
            let samples = start..start + size;
            start = samples.end;
            Part { samples, count }
        };
        sizes_and_counts.iter().map(part).collect()
    }

    proptest! {
        #[test]
        fn shares_sum_up_and_are_near_the_exact_ones(
            total in 0_usize..10_000,
            weights in prop::collection::vec(0.01_f64..100.0, 1..8),
        ) {
            let counts = share_out(total, &weights);
            prop_assert_eq!(counts.iter().sum::<usize>(), total);
            let sum: f64 = weights.iter().sum();
            for (count, weight) in counts.iter().zip(&weights) {
                prop_assert!((*count as f64 - total as f64 * weight / sum).abs() < 1.0 + 1e-6);
            }
        }

        /// Over many passes, no sample of a part is ahead of another one by more than one draw, and no draw is like another.
        #[test]
        fn nothing_comes_again_before_everything_came(
            sizes_and_counts in prop::collection::vec((1_usize..30, 1_usize..40), 1..5),
            seed: u64,
        ) {
            let parts = parts(&sizes_and_counts);
            let mut times: HashMap<usize, usize> = HashMap::new();
            let mut draws = HashSet::new();
            for pass in 0..5 {
                let (samples, passes) = mix_parts(&parts, None, seed, pass);
                for part in &parts {
                    let of_part = samples.iter().filter(|sample| part.samples.contains(sample));
                    prop_assert_eq!(of_part.count(), part.count);
                }
                for (sample, of_part) in samples.into_iter().zip(passes) {
                    *times.entry(sample).or_default() += 1;
                    prop_assert!(draws.insert((of_part, sample)), "the same draw twice");
                }
            }
            for part in &parts {
                let times = part.samples.clone().map(|sample| times.get(&sample).copied().unwrap_or(0));
                let (least, most) = (times.clone().min().unwrap(), times.max().unwrap());
                prop_assert!(most - least <= 1, "{least} to {most}");
            }
        }
    }

    #[test]
    fn parts_are_mixed_and_passes_differ() {
        let parts = parts(&[(100, 40), (10, 40)]);
        let (samples, _) = mix_parts(&parts, None, 1, 0);
        let first: Vec<bool> = samples.iter().map(|sample| *sample < 105).collect();
        assert!(
            first.windows(2).filter(|pair| pair[0] != pair[1]).count() > 20,
            "{first:?}"
        );
        assert_ne!(samples, mix_parts(&parts, None, 1, 1).0);
        assert_ne!(samples, mix_parts(&parts, None, 2, 0).0);
        assert_eq!(samples, mix_parts(&parts, None, 1, 0).0);
    }

    #[test]
    fn shards_that_are_mixed_stay_together() {
        // Ten shards of four in the first part, two at a time, and a part without.
        let starts: Vec<usize> = (0..10).map(|shard| 5 + 4 * shard).chain([45]).collect();
        let shards = Shards::new(&starts, Some(2));
        let (samples, _) = mix_parts(&parts(&[(40, 40), (40, 40)]), shards.as_ref(), 3, 0);
        let shards: Vec<usize> = samples
            .iter()
            .filter(|sample| **sample < 45)
            .map(|sample| (sample - 5) / 4)
            .collect();
        for window in shards.chunks(8) {
            assert_eq!(window.iter().collect::<HashSet<_>>().len(), 2, "{shards:?}");
        }
    }

    #[test]
    fn a_slice_has_what_it_has_of_each_part() {
        let share = |samples: Range<usize>, weight| Share {
            name: String::new(),
            samples,
            weight,
        };
        let shares = [share(0..10, 1.0), share(10..40, 3.0), share(40..50, 9.0)];
        let parts = Part::of(&shares, &(5..20), 100);
        let part = |samples, count| Part { samples, count };
        assert_eq!(parts[..2], [part(5..10, 25), part(10..20, 75)]);
        assert!(parts[2].samples.is_empty() && parts[2].count == 0);
    }
}
