//! Which samples make which batch.

use std::collections::HashMap;
use std::ops::Range;

use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom;

use super::mix::{Part, mix_parts};
use super::{LoaderConfig, LoaderMode};
use crate::dataset::Source;
use crate::seed::{Purpose, derive};

/// Plans the passes over the samples of a range. A pass is a pure function of the seed and its number.
#[derive(Debug)]
pub(super) struct Planner {
    range: Range<usize>,
    batch_size: usize,
    num_batches: usize,
    order: Order,
}

#[derive(Debug)]
enum Order {
    /// As the source has them, a short batch at the end.
    Sequential,
    /// Shuffled anew in each pass, `together` neighbours as one; what does not fill a batch is left out of the pass.
    Shuffled {
        seed: u64,
        together: usize,
        shards: Option<Shards>,
    },
    /// Of each part of the range so many samples, taken from a stream of its shuffled passes that goes on across the passes of
    /// the mixture.
    Mixed {
        seed: u64,
        num_wanted: usize,
        parts: Vec<Part>,
        shards: Option<Shards>,
    },
    /// Shuffled so that no two samples of a batch share a group; `group_of[i]` is the group of sample `range.start + i`.
    Distinct {
        seed: u64,
        group_of: Vec<usize>,
        num_groups: usize,
    },
}

/// Shuffles by shards: they are put in another order, and the samples of so many at a time are mixed.
#[derive(Debug)]
pub(super) struct Shards {
    /// Sample at which each shard begins.
    starts: Vec<usize>,
    /// Shards that are mixed.
    at_once: usize,
}

/// A sample in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Slot {
    /// The pass over the samples that it is drawn in: with it, another draw of a sample is another one.
    pub(super) pass: usize,
    pub(super) sample: usize,
}

/// The batches of a pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pass: usize,
    samples: Vec<usize>,
    /// The pass of each sample over its part of a mixture; empty where all are of `pass`.
    passes: Vec<u32>,
    batch_size: usize,
}

impl Plan {
    /// Batch `batch`.
    pub(super) fn batch(&self, batch: usize) -> Vec<Slot> {
        let start = batch * self.batch_size;
        let end = (start + self.batch_size).min(self.samples.len());
        let slot = |at: usize| Slot {
            pass: self.passes.get(at).map_or(self.pass, |&pass| pass as usize),
            sample: self.samples[at],
        };
        (start.min(end)..end).map(slot).collect()
    }
}

impl Planner {
    pub(super) fn sequential(range: Range<usize>, batch_size: usize) -> Self {
        let num_batches = range.len().div_ceil(batch_size);
        Self {
            range,
            batch_size,
            num_batches,
            order: Order::Sequential,
        }
    }

    pub(super) fn shuffled(
        range: Range<usize>,
        batch_size: usize,
        together: usize,
        shards: Option<Shards>,
        seed: u64,
    ) -> Self {
        let num_batches = range.len() / batch_size;
        Self {
            range,
            batch_size,
            num_batches,
            order: Order::Shuffled { seed, together, shards },
        }
    }

    /// A mixture of the parts of `source` that lie in `range`, `samples_per_epoch` of them rounded down to full batches.
    pub(super) fn mixed(
        source: &dyn Source,
        range: Range<usize>,
        batch_size: usize,
        shards: Option<Shards>,
        seed: u64,
    ) -> Self {
        // Of a slice of the samples, as many as are for it.
        let per_epoch = source.samples_per_epoch() as u128 * range.len() as u128 / source.num_samples().max(1) as u128;
        let num_wanted = per_epoch as usize;
        let num_batches = num_wanted / batch_size;
        let parts = Part::of(source.shares(), &range, num_batches * batch_size);
        Self {
            range,
            batch_size,
            num_batches,
            order: Order::Mixed {
                seed,
                num_wanted,
                parts,
                shards,
            },
        }
    }

    pub(super) fn distinct(source: &dyn Source, range: Range<usize>, batch_size: usize, seed: u64) -> Self {
        let mut groups: HashMap<i64, usize> = HashMap::new();
        let mut sizes: Vec<usize> = Vec::new();
        let mut group_of = Vec::with_capacity(range.len());
        for index in range.clone() {
            let group = *groups.entry(source.image_id(index)).or_insert_with(|| {
                sizes.push(0);
                sizes.len() - 1
            });
            sizes[group] += 1;
            group_of.push(group);
        }
        let num_batches = most_distinct_batches(&sizes, batch_size);
        Self {
            range,
            batch_size,
            num_batches,
            order: Order::Distinct {
                seed,
                group_of,
                num_groups: sizes.len(),
            },
        }
    }

    /// Batches of every pass.
    pub(super) fn num_batches(&self) -> usize {
        self.num_batches
    }

    /// Different image ids, where they matter.
    pub(super) fn num_groups(&self) -> Option<usize> {
        match &self.order {
            Order::Distinct { num_groups, .. } => Some(*num_groups),
            _ => None,
        }
    }

    /// Samples of a pass before those are left out that fill no batch.
    pub(super) fn num_wanted(&self) -> usize {
        match self.order {
            Order::Mixed { num_wanted, .. } => num_wanted,
            _ => self.range.len(),
        }
    }

    /// Samples of every pass.
    pub(super) fn num_samples(&self) -> usize {
        match self.order {
            Order::Sequential => self.range.len(),
            _ => self.num_batches * self.batch_size,
        }
    }

    /// Samples of each pass by part of a mixture, in its order; empty where there is none.
    pub(super) fn counts(&self) -> Vec<usize> {
        match &self.order {
            Order::Mixed { parts, .. } => parts.iter().map(|part| part.count).collect(),
            _ => Vec::new(),
        }
    }

    /// Samples among which another may stand in for `sample`: those of its part.
    pub(super) fn alike(&self, sample: usize) -> Range<usize> {
        let part = match &self.order {
            Order::Mixed { parts, .. } => parts.iter().find(|part| part.samples.contains(&sample)),
            _ => None,
        };
        part.map_or_else(|| self.range.clone(), |part| part.samples.clone())
    }

    /// The plan of pass `pass`.
    pub(super) fn plan(&self, pass: usize) -> Plan {
        let (mut samples, mut passes) = (Vec::new(), Vec::new());
        match &self.order {
            Order::Sequential => samples.extend(self.range.clone()),
            Order::Shuffled { seed, together, shards } => {
                let mut rng = order_rng(*seed, pass, 0);
                samples = shuffled(&self.range, *together, shards.as_ref(), &mut rng);
                samples.truncate(self.num_samples());
            }
            Order::Mixed {
                seed, parts, shards, ..
            } => {
                (samples, passes) = mix_parts(parts, shards.as_ref(), *seed, pass);
            }
            Order::Distinct {
                seed,
                group_of,
                num_groups,
            } => {
                let mut rng = order_rng(*seed, pass, 0);
                samples.extend(self.range.clone());
                samples.shuffle(&mut rng);
                samples = self.deal(&samples, group_of, *num_groups, &mut rng);
            }
        }
        Plan {
            pass,
            samples,
            passes,
            batch_size: self.batch_size,
        }
    }

    /// Deals shuffled samples to batches like cards, one group after another: a group has at most as many samples as there
    /// are batches, so that no batch gets two of them, and all batches are filled alike.
    fn deal(&self, shuffled: &[usize], group_of: &[usize], num_groups: usize, rng: &mut ChaCha8Rng) -> Vec<usize> {
        let mut groups = vec![Vec::new(); num_groups];
        let mut kept = 0;
        for &sample in shuffled {
            let group = &mut groups[group_of[sample - self.range.start]];
            if kept < self.num_samples() && group.len() < self.num_batches {
                group.push(sample);
                kept += 1;
            }
        }
        groups.shuffle(rng);
        // Neighbouring batches share groups; in random order they are not neighbours in time.
        let mut place: Vec<usize> = (0..self.num_batches).collect();
        place.shuffle(rng);
        let mut samples = vec![0; self.num_samples()];
        for (turn, sample) in groups.into_iter().flatten().enumerate() {
            let batch = place[turn % self.num_batches];
            samples[batch * self.batch_size + turn / self.num_batches] = sample;
        }
        samples
    }
}

impl Shards {
    /// `None` where all shards are mixed, or there are none.
    pub(super) fn new(starts: &[usize], at_once: Option<usize>) -> Option<Self> {
        let at_once = at_once.filter(|at_once| *at_once < starts.len())?;
        Some(Self {
            starts: starts.to_vec(),
            at_once,
        })
    }

    /// The samples of each shard within `range`.
    fn ranges(&self, range: &Range<usize>) -> Vec<Range<usize>> {
        let ends = self.starts.iter().skip(1).copied().chain([usize::MAX]);
        let shards = self.starts.iter().zip(ends);
        shards
            .map(|(&start, end)| start.max(range.start)..end.min(range.end))
            .filter(|shard| !shard.is_empty())
            .collect()
    }
}

/// The samples of a range in random order, `together` neighbours as one, by shards if there are any.
pub(super) fn shuffled(
    range: &Range<usize>,
    together: usize,
    shards: Option<&Shards>,
    rng: &mut ChaCha8Rng,
) -> Vec<usize> {
    let mix = |samples: Vec<usize>, rng: &mut ChaCha8Rng| {
        let mut blocks: Vec<&[usize]> = samples.chunks(together).collect();
        blocks.shuffle(rng);
        blocks.concat()
    };
    let Some(shards) = shards else {
        return mix(range.clone().collect(), rng);
    };
    let mut order = shards.ranges(range);
    order.shuffle(rng);
    let windows = order.chunks(shards.at_once);
    windows
        .flat_map(|window| mix(window.iter().cloned().flatten().collect(), rng))
        .collect()
}

/// `part` numbers the parts of a mixture from 1.
pub(super) fn order_rng(seed: u64, pass: usize, part: usize) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(derive(seed, Purpose::Order, pass, part))
}

/// The largest number `n` of full batches without a repeated group.
///
/// A group of `c` samples can be in `min(c, n)` batches. If these sum to `n * batch_size` or more, dealing fills `n` batches; if
/// not, nothing can.
fn most_distinct_batches(group_sizes: &[usize], batch_size: usize) -> usize {
    let total: usize = group_sizes.iter().sum();
    let fills = |n: usize| group_sizes.iter().map(|&size| size.min(n)).sum::<usize>() >= n * batch_size;
    // Concave in n and 0 at 0, so that it holds up to some n and not beyond.
    let mut low = 0;
    let mut high = total / batch_size;
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if fills(middle) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    low
}

impl LoaderMode {
    /// `batch_size` is that of all processes together.
    pub(super) fn planner(
        self,
        source: &dyn Source,
        range: Range<usize>,
        config: &LoaderConfig,
        batch_size: usize,
        seed: u64,
    ) -> Planner {
        match self {
            Self::Eval => Planner::sequential(range, batch_size),
            Self::Train if config.distinct_ids => Planner::distinct(source, range, batch_size, seed),
            Self::Train => {
                let shards = Shards::new(source.shard_starts(), config.shuffle_shards);
                match source.shares() {
                    [] => Planner::shuffled(range, batch_size, source.num_together(), shards, seed),
                    _ => Planner::mixed(source, range, batch_size, shards, seed),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    /// Planner over groups as given, without a source.
    fn distinct(group_of: Vec<usize>, batch_size: usize, seed: u64) -> Planner {
        let num_groups = group_of.iter().max().map_or(0, |last| last + 1);
        let mut sizes = vec![0; num_groups];
        group_of.iter().for_each(|&group| sizes[group] += 1);
        let num_batches = most_distinct_batches(&sizes, batch_size);
        let order = Order::Distinct {
            seed,
            group_of,
            num_groups,
        };
        Planner {
            range: 100..100 + sizes.iter().sum::<usize>(),
            batch_size,
            num_batches,
            order,
        }
    }

    fn batches(planner: &Planner, pass: usize) -> Vec<Vec<usize>> {
        let plan = planner.plan(pass);
        let samples = |batch| plan.batch(batch).iter().map(|slot| slot.sample).collect();
        (0..planner.num_batches()).map(samples).collect()
    }

    #[test]
    fn a_sequential_pass_has_everything_in_order() {
        let planner = Planner::sequential(3..10, 3);
        assert_eq!(batches(&planner, 0), [vec![3, 4, 5], vec![6, 7, 8], vec![9]]);
        assert_eq!(planner.num_samples(), 7);
    }

    #[test]
    fn a_shuffled_pass_leaves_another_rest_out_each_time() {
        let planner = Planner::shuffled(0..10, 4, 1, None, 7);
        let passes: Vec<HashSet<usize>> = (0..20)
            .map(|pass| batches(&planner, pass).concat().into_iter().collect())
            .collect();
        assert!(passes.iter().all(|pass| pass.len() == 8));
        assert_eq!(passes.iter().flatten().collect::<HashSet<_>>().len(), 10);
        assert_ne!(batches(&planner, 0), batches(&planner, 1));
        assert_ne!(
            batches(&planner, 0),
            batches(&Planner::shuffled(0..10, 4, 1, None, 8), 0)
        );
    }

    #[test]
    fn what_belongs_together_stays_side_by_side() {
        let planner = Planner::shuffled(0..42, 8, 2, None, 7);
        let batches = batches(&planner, 0);
        assert_eq!(batches.len(), 5);
        let pairs = batches.iter().flat_map(|batch| batch.chunks(2));
        assert!(pairs.clone().all(|pair| pair[0] % 2 == 0 && pair[1] == pair[0] + 1));
        assert_eq!(pairs.collect::<HashSet<_>>().len(), 20);
        assert_ne!(
            batches,
            (0..5)
                .map(|batch| (8 * batch..8 * batch + 8).collect())
                .collect::<Vec<Vec<usize>>>()
        );
    }

    #[test]
    fn shards_are_mixed_a_few_at_a_time() {
        // Five shards of 1, 9, 0, 6 and 4 samples, two at a time.
        let starts = [0, 1, 10, 10, 16];
        let sizes = [1, 9, 0, 6, 4];
        let shard_of = |sample: usize| starts.partition_point(|&start| start <= sample) - 1;
        let planner = Planner::shuffled(0..20, 1, 1, Shards::new(&starts, Some(2)), 7);
        let mut first = HashSet::new();
        let mut mixed = false;
        for pass in 0..20 {
            let order = batches(&planner, pass).concat();
            assert_eq!(order.iter().collect::<HashSet<_>>().len(), 20, "every sample once");
            let shards: Vec<usize> = order.into_iter().map(shard_of).collect();
            let a = shards[0];
            let b = shards.iter().copied().find(|&shard| shard != a).unwrap();
            let window = &shards[..sizes[a] + sizes[b]];
            assert!(window.iter().all(|shard| [a, b].contains(shard)), "{shards:?}");
            mixed |= window.windows(2).filter(|pair| pair[0] != pair[1]).count() > 2;
            first.extend([a, b]);
        }
        assert!(mixed, "within a window in random order");
        assert_eq!(
            first,
            HashSet::from([0, 1, 3, 4]),
            "every shard comes first now and then"
        );
        assert!(Shards::new(&starts, Some(5)).is_none() && Shards::new(&starts, None).is_none());
    }

    #[test]
    fn the_number_of_distinct_batches_is_the_largest() {
        // Three ids with 2, 2 and 1 samples: two batches of two; five samples alone would say two of two as well.
        assert_eq!(most_distinct_batches(&[2, 2, 1], 2), 2);
        // One id dominates: only as many batches as others can complete.
        assert_eq!(most_distinct_batches(&[100, 1, 1, 1], 2), 3);
        assert_eq!(most_distinct_batches(&[100], 2), 0);
        assert_eq!(most_distinct_batches(&[], 2), 0);
    }

    proptest! {
        #[test]
        fn distinct_batches_are_full_and_have_no_id_twice(
            group_of in prop::collection::vec(0_usize..12, 0..120),
            batch_size in 1_usize..9,
            seed: u64,
        ) {
            let planner = distinct(group_of.clone(), batch_size, seed);
            let mut sizes = [0; 12];
            group_of.iter().for_each(|&group| sizes[group] += 1);
            let fills = |n: &usize| sizes.iter().map(|size| size.min(n)).sum::<usize>() >= n * batch_size;
            let largest = (1..=group_of.len() / batch_size).filter(fills).max().unwrap_or(0);
            prop_assert_eq!(planner.num_batches(), largest);

            let batches = batches(&planner, 3);
            let all: HashSet<usize> = batches.iter().flatten().copied().collect();
            prop_assert_eq!(all.len(), largest * batch_size);
            for batch in batches {
                let groups: HashSet<usize> = batch.iter().map(|sample| group_of[sample - 100]).collect();
                prop_assert_eq!(groups.len(), batch_size);
            }
        }
    }

    #[test]
    fn distinct_batches_meet_all_sorts_of_groups() {
        // 60 groups of 6 samples in 22 batches of 16: dealing must not keep groups together over the passes.
        let planner = distinct((0..360).map(|sample| sample / 6).collect(), 16, 5);
        assert_eq!(planner.num_batches(), 22);
        let met: HashSet<usize> = (0..40)
            .flat_map(|pass| batches(&planner, pass))
            .map(|batch| {
                batch
                    .into_iter()
                    .map(|sample| (sample - 100) / 6)
                    .collect::<HashSet<_>>()
            })
            .filter(|groups| groups.contains(&0))
            .flatten()
            .collect();
        assert_eq!(met.len(), 60);
    }
}
