//! A look at a data set before training: sizes, lengths, scripts, duplicates, what cannot be read.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::ops::Bound;

use rayon::prelude::*;
use serde::Serialize;
use unicode_script::{Script, UnicodeScript};

use crate::dataset::{SampleError, Source};
use crate::panics::contain_panic;
use crate::report::BadSamples;
use crate::tokenizer::Tokenizer;

/// Samples that are looked at together: enough for every core, few enough for progress to show.
const SAMPLES_AT_ONCE: usize = 256;
/// Captions named in [`Inspection::repeated_captions`].
const NUM_REPEATED: usize = 5;

/// How often each value was found.
///
/// A count for each distinct value: image sides and caption lengths have few, so that memory does not grow with the data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    counts: BTreeMap<u32, u64>,
    total: u64,
}

impl Histogram {
    fn add(&mut self, value: usize) {
        *self.counts.entry(u32::try_from(value).unwrap_or(u32::MAX)).or_default() += 1;
        self.total += 1;
    }

    /// Values counted.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The smallest value that a share `share` of all values does not exceed; 0 if there is none. 0 is the smallest and 1 the
    /// largest value, 0.5 the median.
    #[must_use]
    pub fn quantile(&self, share: f64) -> u32 {
        let wanted = ((share * self.total as f64).ceil() as u64).max(1);
        let mut seen = 0;
        for (&value, count) in &self.counts {
            seen += count;
            if seen >= wanted {
                return value;
            }
        }
        0
    }

    /// Values above `limit`.
    #[must_use]
    pub fn above(&self, limit: u32) -> u64 {
        let above = self.counts.range((Bound::Excluded(limit), Bound::Unbounded));
        above.map(|(_, count)| count).sum()
    }
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Inspection {
    /// Samples looked at.
    pub num_samples: usize,
    /// Images decoded.
    pub num_images: usize,
    /// Captions read.
    pub num_captions: usize,
    /// Width of the images in pixels.
    pub widths: Histogram,
    /// Height of the images in pixels.
    pub heights: Histogram,
    /// The shorter side of the images in pixels: what a transform scales to the model's size.
    pub shorter_sides: Histogram,
    /// Captions of a sample.
    pub captions_of_sample: Histogram,
    /// Characters of a caption.
    pub chars: Histogram,
    /// Words of a caption, between white space.
    pub words: Histogram,
    /// Tokens of a caption, special ones included, before any cut.
    pub tokens: Histogram,
    /// Captions by the script that most of their letters have, such as "Latin"; "none" for captions without letters.
    pub scripts: BTreeMap<&'static str, u64>,
    /// Captions that an earlier sample has word for word.
    pub duplicate_captions: u64,
    /// The captions that come most often, if they come more than once.
    pub repeated_captions: Vec<(String, u64)>,
    /// Images that are pixel for pixel those of an earlier sample.
    pub duplicate_images: u64,
    /// Samples that could not be read, by reason.
    pub bad: BadSamples,
    /// The same, each with its name.
    pub unreadable: Vec<Unreadable>,
}

/// A sample that could not be read: a line of a replay list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unreadable {
    /// Its name: path, or shard and key.
    pub sample: String,
    /// Why.
    pub reason: String,
}

impl Unreadable {
    pub(crate) fn new(source: &dyn Source, index: usize, error: &SampleError) -> Self {
        let (sample, reason) = (source.name(index), error.to_string());
        let reason = reason
            .strip_prefix(&format!("{sample}: "))
            .map(str::to_owned)
            .unwrap_or(reason);
        Self { sample, reason }
    }
}

/// Where a caption comes first, and how many samples have it.
#[derive(Clone, Copy)]
struct Occurrence {
    first: usize,
    count: u64,
}

/// What one sample shows.
struct Look {
    captions: Result<Vec<(String, usize)>, SampleError>,
    /// Width, height and hash.
    image: Option<Result<[u64; 3], SampleError>>,
}

/// Reads every caption and, `with_images`, decodes every image. `progress` is told how many samples were looked at.
///
/// Runs on all cores; what it finds does not depend on their number. Memory: some 30 bytes for each distinct caption and
/// image.
pub fn inspect(
    source: &dyn Source,
    tokenizer: &Tokenizer,
    with_images: bool,
    mut progress: impl FnMut(usize),
) -> Inspection {
    let mut found = Inspection::default();
    let mut images = HashSet::new();
    let mut captions = HashMap::new();
    let indices: Vec<usize> = (0..source.num_samples()).collect();
    for chunk in indices.chunks(SAMPLES_AT_ONCE) {
        let looks: Vec<Look> = chunk
            .par_iter()
            .map(|&index| look(source, index, tokenizer, with_images))
            .collect();
        for (&index, look) in chunk.iter().zip(looks) {
            found.add(source, index, look, &mut images, &mut captions);
        }
        progress(chunk.len());
    }
    let mut repeated: Vec<(u64, Occurrence)> = captions.into_iter().filter(|(_, found)| found.count > 1).collect();
    repeated.sort_unstable_by_key(|&(hash, found)| (std::cmp::Reverse(found.count), hash));
    repeated.truncate(NUM_REPEATED);
    found.repeated_captions = texts_of(source, &repeated);
    found
}

fn look(source: &dyn Source, index: usize, tokenizer: &Tokenizer, with_images: bool) -> Look {
    let guarded = |message| SampleError::Panicked {
        name: source.name(index),
        message,
    };
    let captions = source.captions(index).map(|captions| {
        let counted = captions.into_iter().map(|text| {
            let tokens = tokenizer.count_tokens(&text);
            (text, tokens)
        });
        counted.collect()
    });
    let image = with_images.then(|| {
        let image = contain_panic(|| source.image(index)).unwrap_or_else(|message| Err(guarded(message)))?;
        let (width, height) = (image.width().into(), image.height().into());
        Ok([width, height, hash(&(width, height, image.pixels()))])
    });
    Look { captions, image }
}

impl Inspection {
    fn add(
        &mut self,
        source: &dyn Source,
        index: usize,
        look: Look,
        images: &mut HashSet<u64>,
        captions: &mut HashMap<u64, Occurrence>,
    ) {
        self.num_samples += 1;
        match look.captions {
            Ok(texts) => {
                self.captions_of_sample.add(texts.len());
                // Twice in one sample is no duplicate of another.
                let mut own = HashSet::new();
                for (text, tokens) in texts {
                    self.num_captions += 1;
                    self.chars.add(text.chars().count());
                    self.words.add(text.split_whitespace().count());
                    self.tokens.add(tokens);
                    *self.scripts.entry(script(&text)).or_default() += 1;
                    let hash = hash(&text);
                    if own.insert(hash) {
                        let found = captions.entry(hash).or_insert(Occurrence { first: index, count: 0 });
                        found.count += 1;
                        self.duplicate_captions += u64::from(found.count > 1);
                    }
                }
            }
            Err(error) => self.unreadable(source, index, &error),
        }
        match look.image {
            Some(Ok([width, height, hash])) => {
                self.num_images += 1;
                self.widths.add(width as usize);
                self.heights.add(height as usize);
                self.shorter_sides.add(width.min(height) as usize);
                self.duplicate_images += u64::from(!images.insert(hash));
            }
            Some(Err(error)) => self.unreadable(source, index, &error),
            None => {}
        }
    }

    fn unreadable(&mut self, source: &dyn Source, index: usize, error: &SampleError) {
        self.bad.add(index, error.reason(), || error.to_string());
        self.unreadable.push(Unreadable::new(source, index, error));
    }
}

/// The texts of some hashes with their counts, in that order: the text is read again where it was first.
fn texts_of(source: &dyn Source, wanted: &[(u64, Occurrence)]) -> Vec<(String, u64)> {
    let read = |&(wanted, Occurrence { first, count }): &(u64, Occurrence)| {
        let captions = source.captions(first).ok()?;
        let text = captions.into_iter().find(|text| hash(text) == wanted)?;
        Some((text, count))
    };
    wanted.iter().filter_map(read).collect()
}

/// SipHash with fixed keys: the same in every run.
fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// The script of most letters; of several the one that comes first.
fn script(text: &str) -> &'static str {
    let mut counts: Vec<(Script, usize)> = Vec::new();
    for letter in text.chars().filter(|letter| letter.is_alphabetic()) {
        let script = letter.script();
        match counts.iter_mut().find(|(other, _)| *other == script) {
            Some((_, count)) => *count += 1,
            None => counts.push((script, 1)),
        }
    }
    // `max_by_key` takes the last of equals.
    let most = counts.iter().rev().max_by_key(|(_, count)| *count);
    most.map_or("none", |(script, _)| script.full_name())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::FolderConfig;
    use crate::tokenizer::TokenizerConfig;

    #[test]
    fn quantiles_are_values_that_were_found() {
        let mut histogram = Histogram::default();
        [5, 1, 9, 5].into_iter().for_each(|value| histogram.add(value));
        assert_eq!(
            [0.0, 0.25, 0.5, 0.75, 1.0].map(|share| histogram.quantile(share)),
            [1, 1, 5, 5, 9]
        );
        assert_eq!([0, 4, 5, 8, 9].map(|limit| histogram.above(limit)), [4, 3, 1, 1, 0]);
        assert_eq!(
            (Histogram::default().quantile(0.5), Histogram::default().above(0)),
            (0, 0)
        );
    }

    #[test]
    fn the_script_is_that_of_most_letters() {
        assert_eq!(script("a red apple, 3 €"), "Latin");
        assert_eq!(script("USB кабель"), "Cyrillic");
        assert_eq!(script("猫 cat 猫猫猫"), "Han");
        assert_eq!(script("2024 !"), "none");
    }

    #[test]
    fn a_folder_is_described() {
        let folder = tempfile::tempdir().unwrap();
        let grey = |width, shade| image::GrayImage::from_pixel(width, 20, image::Luma([shade]));
        for (name, width, shade) in [("a.png", 30, 1), ("b.png", 10, 2), ("c.png", 30, 1)] {
            grey(width, shade).save(folder.path().join(name)).unwrap();
        }
        std::fs::write(folder.path().join("d.png"), b"no image").unwrap();
        let table = "image,caption\na.png,a dog\nb.png,un chien brun\nc.png,a dog\nd.png,кот\n";
        std::fs::write(folder.path().join("captions.csv"), table).unwrap();
        let source = FolderConfig::new(folder.path()).open().unwrap();
        let tokenizer = Tokenizer::new(&TokenizerConfig::Clip { vocab_size: 49_408 }).unwrap();
        let mut done = 0;
        let found = inspect(&source, &tokenizer, true, |samples| done += samples);
        assert_eq!(
            (done, found.num_samples, found.num_captions, found.num_images),
            (4, 4, 4, 3)
        );
        assert_eq!((found.duplicate_captions, found.duplicate_images), (1, 1));
        assert_eq!(found.repeated_captions, [("a dog".to_owned(), 2)]);
        assert_eq!(found.scripts, BTreeMap::from([("Cyrillic", 1), ("Latin", 3)]));
        assert_eq!(found.widths.quantile(0.0), 10);
        assert_eq!(found.shorter_sides.quantile(1.0), 20);
        assert_eq!((found.words.quantile(0.5), found.words.quantile(1.0)), (2, 3));
        // Two words and the two special tokens.
        assert_eq!(found.tokens.quantile(0.5), 4);
        assert_eq!(found.bad.total(), 1);
        assert!(found.unreadable[0].sample.ends_with("d.png"), "{:?}", found.unreadable);
        let found = inspect(&source, &tokenizer, false, |_| {});
        assert_eq!((found.num_images, found.bad.total(), found.num_captions), (0, 0, 4));
    }
}
