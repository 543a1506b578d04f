//! Which samples of a collection show the same picture.
//!
//! [`dedup`] finds exact duplicates by a hash of the image files and near ones by a perceptual hash; a [`KeepList`] writes which
//! samples to train on, the first of each group, and which ones belong together.

mod groups;
mod keep_list;
mod near;
mod picture;
mod reading;

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use thiserror::Error;

use self::groups::Groups;
use self::near::join_near;
use self::reading::{Reading, caption_hash};
use crate::curate::CurateError;
use crate::dataset::{DataError, Source};
use crate::inspect::Unreadable;
use crate::report::BadSamples;

pub use self::keep_list::KeepList;

/// Groups named in [`Dedup::biggest`], and captions in [`Dedup::repeated_captions`].
const NUM_NAMED: usize = 5;

/// Why duplicates cannot be found or told.
#[derive(Debug, Error)]
pub enum DedupError {
    /// More samples than are numbered.
    #[error(
        "{num_samples} samples are more than {}: take a part of the shards at a time",
        u32::MAX
    )]
    TooMany {
        /// Samples of the source.
        num_samples: usize,
    },
    /// Data that no list is written for.
    #[error(
        "kind = {kind:?}: nothing reads a list of its samples; twinflame data shard makes tar shards of it, which are read by a list"
    )]
    NoList {
        /// The kind.
        kind: &'static str,
    },
    /// A source without a file whose lines could be kept.
    #[error(
        "kind = {kind:?} is drawn and has no list of samples to keep; write it with `twinflame data shard` and take the shards"
    )]
    Drawn {
        /// Kind of the source.
        kind: &'static str,
    },
    /// A file of another kind than the table whose rows it is for.
    #[error(
        "{output}: the rows that are kept are written as they stand in {table}, so give a name that ends in .{ending}"
    )]
    Ending {
        /// The file asked for.
        output: String,
        /// The table.
        table: String,
        /// Its ending.
        ending: String,
    },
    /// A table or shard with other samples than when it was opened.
    #[error("the samples have changed while they were read: {found} are there, and {opened} were opened")]
    Changed {
        /// Samples now.
        found: usize,
        /// Samples then.
        opened: usize,
    },
    /// A table that cannot be read, or a disk that refuses.
    #[error(transparent)]
    Rows(#[from] CurateError),
    /// A source that cannot be opened.
    #[error(transparent)]
    Data(#[from] DataError),
}

/// Groups of samples, and the samples beyond the first of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copies {
    /// Groups of two or more.
    pub groups: usize,
    /// Samples that are not the first of their group.
    pub samples: usize,
}

/// Samples that show the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Name of the first one, which is kept.
    pub first: String,
    /// Samples.
    pub samples: usize,
    /// Different image files among them.
    pub files: usize,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Dedup {
    /// Samples of the source.
    pub num_samples: usize,
    /// Samples whose image or captions cannot be read, by reason. They are in no group and not kept.
    pub bad: BadSamples,
    /// The same, each with its name.
    pub unreadable: Vec<Unreadable>,
    /// Samples whose image file is that of an earlier one, byte for byte.
    pub exact: Copies,
    /// Groups of different image files that are near each other, and the files beyond the first of each.
    pub near: Copies,
    /// Rows that name the image file of an earlier row, and are not kept: their captions are the same, or that row is not kept.
    pub dropped_rows: usize,
    /// Samples kept.
    pub num_kept: usize,
    /// The biggest groups.
    pub biggest: Vec<Group>,
    /// Captions that an earlier sample has, once they are cleaned as for CLIP.
    pub duplicate_captions: u64,
    /// The captions that come most often, if they come more than once.
    pub repeated_captions: Vec<(String, u64)>,
    kept: Vec<bool>,
    /// First sample of the group that a sample is in, for groups of two images or more; else the sample.
    roots: Vec<u32>,
    /// Of every sample that is the first of a group: whether the group has two images or more.
    is_group: Vec<bool>,
}

impl Dedup {
    /// Whether to train on the sample.
    ///
    /// # Panics
    /// If there is no such sample.
    #[must_use]
    pub fn is_kept(&self, sample: usize) -> bool {
        self.kept[sample]
    }

    /// The group of a sample that is not alone in it: the number of the group's first sample.
    ///
    /// # Panics
    /// If there is no such sample.
    #[must_use]
    pub fn group(&self, sample: usize) -> Option<usize> {
        let root = self.roots[sample] as usize;
        self.is_group[root].then_some(root)
    }
}

/// Finds duplicates among the images of a source. `progress` is told of samples read.
///
/// Exact ones have the same bytes. With a `distance`, two images are also near each other if the 64 bits of their perceptual
/// hashes (pHash: low frequencies of the grey picture) differ in at most that many and the mean colours of their quarters by
/// little; groups are chains of such pairs. Without, no image is decoded, so that only files that begin like no image are found
/// unreadable. Of each group the first sample is kept. Rows of a table that name one image file are its captions and no
/// duplicates: they are kept with it, each text once.
///
/// Runs on all cores; what it finds does not depend on their number. Memory: some 120 bytes for each sample.
///
/// # Errors
/// More samples than fit into 32 bits.
pub fn dedup(source: &dyn Source, distance: Option<u32>, progress: impl FnMut(usize)) -> Result<Dedup, DedupError> {
    let num_samples = source.num_samples();
    let numbered = u32::try_from(num_samples).ok().filter(|&numbered| numbered < u32::MAX);
    let numbered = numbered.ok_or(DedupError::TooMany { num_samples })?;
    let mut reading = Reading::of(source, numbered, distance.is_some(), progress);

    let groups = Groups::new(numbered);
    for (sample, first) in (0..numbered).zip(&reading.firsts) {
        if let Some(first) = first.sample() {
            groups.join(sample, first);
        }
    }
    if let Some(distance) = distance {
        join_near(&mut reading.pictures, distance, &groups);
    }
    reading.pictures = Vec::new();
    let mut found = Dedup {
        num_samples,
        roots: (0..numbered).map(|sample| groups.root(sample)).collect(),
        ..Dedup::default()
    };
    drop(groups);
    found.count(source, &reading);
    found.count_captions(source, std::mem::take(&mut reading.captions));
    found.bad = reading.bad;
    found.unreadable = reading.unreadable;
    Ok(found)
}

/// A group while it is counted.
#[derive(Clone, Copy, Default)]
struct Count {
    /// Image files that differ.
    files: usize,
    /// Samples, rows that name an image again left out.
    images: usize,
    samples: usize,
}

impl Dedup {
    /// Counts copies and decides what is kept.
    fn count(&mut self, source: &dyn Source, reading: &Reading) {
        let mut counts: HashMap<u32, Count> = HashMap::new();
        let mut copied = HashSet::new();
        let mut texts = HashSet::new();
        self.kept = vec![false; self.num_samples];
        self.is_group = vec![false; self.num_samples];
        for (sample, place) in reading.firsts.iter().enumerate() {
            let (Some(first), root) = (place.sample(), self.roots[sample]) else {
                continue;
            };
            let is_first = first as usize == sample;
            if is_first && first != root {
                self.near.samples += 1;
            } else if !is_first && !place.is_again() {
                self.exact.samples += 1;
                copied.insert(first);
            }
            let is_kept = match place.is_again() {
                // Compared with the captions of the row that is kept and of those that were kept beside it.
                true => first == root && adds_captions(source, first as usize, sample, &mut texts),
                false => sample == root as usize,
            };
            self.kept[sample] = is_kept;
            self.num_kept += usize::from(is_kept);
            self.dropped_rows += usize::from(place.is_again() && !is_kept);
            // Singles are most and need no entry; what joins them later brings them in.
            if sample != root as usize {
                let first_one = Count {
                    files: 1,
                    images: 1,
                    samples: 1,
                };
                let count = counts.entry(root).or_insert(first_one);
                count.files += usize::from(is_first);
                count.images += usize::from(!place.is_again());
                count.samples += 1;
            }
        }
        self.exact.groups = copied.len();
        counts.retain(|_, count| count.images > 1);
        self.near.groups = counts.values().filter(|count| count.files > 1).count();
        counts.keys().for_each(|&root| self.is_group[root as usize] = true);
        let mut biggest: Vec<(u32, Count)> = counts.into_iter().collect();
        biggest.sort_unstable_by_key(|&(root, count)| (Reverse(count.samples), root));
        biggest.truncate(NUM_NAMED);
        let group = |(root, Count { files, samples, .. }): (u32, Count)| Group {
            first: source.name(root as usize),
            samples,
            files,
        };
        self.biggest = biggest.into_iter().map(group).collect();
    }

    fn count_captions(&mut self, source: &dyn Source, mut captions: Vec<(u64, u32)>) {
        captions.sort_unstable();
        let runs = || captions.chunk_by(|a, b| a.0 == b.0).filter(|run| run.len() > 1);
        self.duplicate_captions = runs().map(|run| run.len() as u64 - 1).sum();
        let mut most: Vec<&[(u64, u32)]> = runs().collect();
        most.sort_by_key(|run| (Reverse(run.len()), run[0].1));
        let named = most.into_iter().take(NUM_NAMED).filter_map(|run| {
            let (wanted, sample) = run[0];
            let texts = source.captions(sample as usize).ok()?;
            let text = texts.into_iter().find(|text| caption_hash(text) == wanted)?;
            Some((text, run.len() as u64))
        });
        self.repeated_captions = named.collect();
    }
}

/// Whether a row has a caption that no kept row of the same image, whose first one is `first`, has.
fn adds_captions(source: &dyn Source, first: usize, sample: usize, texts: &mut HashSet<(usize, u64)>) -> bool {
    let mut add = |row: usize| {
        let captions = source.captions(row).unwrap_or_default();
        let hashes: Vec<u64> = captions.iter().map(|text| caption_hash(text)).collect();
        hashes.into_iter().filter(|&hash| texts.insert((first, hash))).count() > 0
    };
    add(first);
    add(sample)
}

#[cfg(test)]
mod tests;
