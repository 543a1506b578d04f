//! One pass over all images and captions.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::picture::{Picture, PictureHasher};
use crate::dataset::{SampleError, Source};
use crate::decode::{DecodeLimits, decode};
use crate::inspect::Unreadable;
use crate::panics::contain_panic;
use crate::report::BadSamples;
use crate::tokenizer::clean_caption;

/// Samples that are read together: enough for every core, few enough for progress to show.
const SAMPLES_AT_ONCE: usize = 256;

/// The first 128 bits of a SHA-256.
type Content = [u8; 16];

/// The first sample with the same image file, as a sample remembers it: 8 bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct First {
    sample: u32,
    is_again: bool,
}

impl First {
    const UNREADABLE: Self = Self {
        sample: u32::MAX,
        is_again: false,
    };

    /// The sample, perhaps the same one; `None` if it is unreadable.
    pub(super) fn sample(self) -> Option<u32> {
        (self.sample != u32::MAX).then_some(self.sample)
    }

    /// Whether the sample names not only an image of the same content but the same file: another row of a table.
    pub(super) fn is_again(self) -> bool {
        self.is_again
    }
}

/// What the pass finds.
#[derive(Default)]
pub(super) struct Reading {
    /// For each sample.
    pub(super) firsts: Vec<First>,
    /// Of each image file that differs from all before.
    pub(super) pictures: Vec<Picture>,
    /// Hash and sample of every caption; twice in one sample is once.
    pub(super) captions: Vec<(u64, u32)>,
    pub(super) bad: BadSamples,
    pub(super) unreadable: Vec<Unreadable>,
}

/// What one sample shows.
struct Look {
    content: Content,
    /// Nothing where the content is known already, or pictures are not compared.
    picture: Option<Picture>,
    captions: Vec<u64>,
}

impl Reading {
    /// Reads `numbered` samples; decodes each image file once, `with_pictures`.
    pub(super) fn of(source: &dyn Source, numbered: u32, with_pictures: bool, mut progress: impl FnMut(usize)) -> Self {
        let mut reading = Self::default();
        reading.firsts.reserve_exact(numbered as usize);
        let hasher = with_pictures.then(PictureHasher::new);
        let mut known: HashMap<Content, u32> = HashMap::new();
        for start in (0..numbered).step_by(SAMPLES_AT_ONCE) {
            let samples = start..numbered.min(start + SAMPLES_AT_ONCE as u32);
            let look = |sample| {
                let looked = contain_panic(|| look(source, sample, &known, hasher.as_ref()));
                looked.unwrap_or_else(|message| {
                    let name = source.name(sample as usize);
                    Err(SampleError::Panicked { name, message })
                })
            };
            let looks: Vec<Result<Look, SampleError>> = samples.clone().into_par_iter().map(look).collect();
            progress(looks.len());
            for (sample, look) in samples.zip(looks) {
                reading.add(source, sample, look, &mut known);
            }
        }
        reading
    }

    fn add(
        &mut self,
        source: &dyn Source,
        sample: u32,
        look: Result<Look, SampleError>,
        known: &mut HashMap<Content, u32>,
    ) {
        let look = match look {
            Ok(look) => look,
            Err(error) => {
                self.firsts.push(First::UNREADABLE);
                self.bad.add(sample as usize, error.reason(), || error.to_string());
                return self.unreadable.push(Unreadable::new(source, sample as usize, &error));
            }
        };
        let first = *known.entry(look.content).or_insert(sample);
        if first == sample {
            self.pictures.extend(look.picture);
        }
        let is_again = first != sample && source.name(first as usize) == source.name(sample as usize);
        self.firsts.push(First {
            sample: first,
            is_again,
        });
        self.captions
            .extend(look.captions.into_iter().map(|hash| (hash, sample)));
    }
}

fn look(
    source: &dyn Source,
    sample: u32,
    known: &HashMap<Content, u32>,
    hasher: Option<&PictureHasher>,
) -> Result<Look, SampleError> {
    let (_, bytes) = source.encoded(sample as usize)?;
    let digest = Sha256::digest(&bytes);
    let content = std::array::from_fn(|at| digest[at]);
    let picture = match hasher.filter(|_| !known.contains_key(&content)) {
        None => None,
        Some(hasher) => {
            let image = decode(&bytes, &DecodeLimits::default()).map_err(|source_of| SampleError::Decode {
                name: source.name(sample as usize),
                source: source_of,
            })?;
            Some(hasher.picture(image, sample))
        }
    };
    let captions = source.captions(sample as usize)?;
    let mut captions: Vec<u64> = captions.iter().map(|text| caption_hash(text)).collect();
    captions.sort_unstable();
    captions.dedup();
    Ok(Look {
        content,
        picture,
        captions,
    })
}

/// Equal for captions that are one text to CLIP. SipHash with fixed keys: the same in every run.
pub(super) fn caption_hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    clean_caption(text).hash(&mut hasher);
    hasher.finish()
}
