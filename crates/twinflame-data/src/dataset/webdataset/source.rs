use std::io;
use std::path::PathBuf;

use rand::rngs::ChaCha8Rng;
use rayon::ThreadPool;
use rayon::prelude::*;

use super::WebDatasetConfig;
use super::opening::{Contents, paths, read_lists, threads_for};
use super::scan::{Entry, Span, captions, split_name};
use super::shard::Shard;
use super::shards::shards_of;
use super::url::masked;
use crate::dataset::source::draw_among;
use crate::dataset::{Classes, DataError, Draw, Place, SampleError, Source};
use crate::decode::{DecodeLimits, DecodedImage, decode, with_ending};
use crate::report::OpenReport;

/// The samples of tar shards, read at random places: 32 bytes of memory for a sample, whatever its size.
///
/// Opening reads the headers of all members and every caption, so that the number of samples, and with it the length of an
/// epoch, is known and exact, and what is wrong with the shards shows before training begins. An image is looked at when it is
/// drawn.
#[derive(Debug)]
pub struct WebDatasetSource {
    shards: Vec<Shard>,
    /// For work on all shards; none where they are files.
    threads: Option<ThreadPool>,
    /// Sample at which each shard begins.
    starts: Vec<usize>,
    entries: Vec<Entry>,
    /// Samples whose image id is that of an earlier one, and which. Ascending.
    joined: Vec<(usize, usize)>,
    json_field: Option<String>,
    report: OpenReport,
    limits: DecodeLimits,
}

impl WebDatasetSource {
    /// Opens the shards.
    ///
    /// # Errors
    /// As [`WebDatasetConfig::open`].
    pub(super) fn open(config: &WebDatasetConfig) -> Result<Self, DataError> {
        config.validate()?;
        let shards = shards_of(config)?;
        let paths = paths(&shards);
        let lists = read_lists(config, &paths)?;
        let threads = threads_for(&shards)?;
        let contents = Contents::read(&shards, config, &lists, threads.as_ref())?;
        let Contents {
            starts,
            entries,
            listed,
            mut report,
        } = contents;
        lists.check(&listed, &paths, &mut report)?;
        if entries.is_empty() {
            return Err(DataError::NoSamples {
                path: shards[0].path(),
                report: Box::new(report),
            });
        }
        if !report.is_clean() {
            let patterns: Vec<String> = config.shards.iter().map(|pattern| masked(pattern)).collect();
            tracing::warn!("{}: {report}", patterns.join(", "));
        }
        Ok(Self {
            shards,
            threads,
            starts,
            entries,
            joined: listed.joined,
            json_field: config.json_field().map(str::to_owned),
            report,
            limits: DecodeLimits::default(),
        })
    }

    /// Paths or URLs of the shards in their order.
    pub fn shards(&self) -> impl Iterator<Item = PathBuf> {
        self.shards.iter().map(Shard::path)
    }

    fn shard(&self, index: usize) -> &Shard {
        // The last of several that begin here has it: those before are empty.
        &self.shards[self.starts.partition_point(|&start| start <= index) - 1]
    }

    /// The name of the image, read from the shard again, which nothing but messages and lists need.
    fn member(&self, index: usize) -> Option<String> {
        let at = self.entries[index].image.at;
        let header = Span {
            at: at.saturating_sub(512),
            len: 512,
        };
        let bytes = self.read(index, header).ok()?;
        let header = tar::Header::from_byte_slice(&bytes);
        let name = String::from_utf8_lossy(&header.path_bytes()).into_owned();
        (!name.is_empty()).then_some(name)
    }

    fn read(&self, index: usize, span: Span) -> Result<Vec<u8>, SampleError> {
        let shard = self.shard(index);
        shard.read(span).map_err(|source| unreadable(shard, source))
    }

    fn captions_in(&self, index: usize, bytes: &[u8]) -> Result<Vec<String>, SampleError> {
        captions(bytes, self.json_field.as_deref()).map_err(|(_, message)| SampleError::Caption {
            name: self.name(index),
            message,
        })
    }

    fn decode(&self, index: usize, bytes: &[u8]) -> Result<DecodedImage, SampleError> {
        decode(bytes, &self.limits).map_err(|source| SampleError::Decode {
            name: self.name(index),
            source,
        })
    }
}

fn unreadable(shard: &Shard, source: io::Error) -> SampleError {
    SampleError::Read {
        path: shard.path(),
        source,
    }
}

impl Source for WebDatasetSource {
    fn num_samples(&self) -> usize {
        self.entries.len()
    }

    /// The number of the sample, or of the first one of its group.
    fn image_id(&self, index: usize) -> i64 {
        let found = self.joined.binary_search_by_key(&index, |&(sample, _)| sample);
        found.map_or(index, |at| self.joined[at].1) as i64
    }

    /// Shard and image.
    fn name(&self, index: usize) -> String {
        let image = self.member(index);
        let image = image.unwrap_or_else(|| format!("at byte {}", self.entries[index].image.at));
        format!("{}, {image}", self.shard(index).name())
    }

    /// A sample of a shard has an image of its own.
    fn is_one_file(&self, a: usize, b: usize) -> bool {
        a == b
    }

    fn place(&self, index: usize) -> Place {
        let image = self.member(index).unwrap_or_default();
        let key = split_name(&image).map(|(key, _)| key.to_owned());
        Place {
            file: Some(self.shard(index).name()),
            sample: key.unwrap_or_else(|| format!("at byte {}", self.entries[index].image.at)),
        }
    }

    fn draw(&self, index: usize, rng: &mut ChaCha8Rng) -> Result<Draw, SampleError> {
        let (shard, entry) = (self.shard(index), self.entries[index]);
        // Together, which a server answers at once.
        let read = shard.read_two([entry.caption, entry.image]);
        let [caption, image] = read.map_err(|source| unreadable(shard, source))?;
        let caption = draw_among(self.captions_in(index, &caption)?, rng);
        Ok(Draw {
            image: self.decode(index, &image)?,
            caption,
            image_id: self.image_id(index),
        })
    }

    fn draw_caption(&self, index: usize, rng: &mut ChaCha8Rng) -> Result<String, SampleError> {
        Ok(draw_among(self.captions(index)?, rng))
    }

    fn image(&self, index: usize) -> Result<DecodedImage, SampleError> {
        let bytes = self.read(index, self.entries[index].image)?;
        self.decode(index, &bytes)
    }

    fn encoded(&self, index: usize) -> Result<(&'static str, Vec<u8>), SampleError> {
        let bytes = self.read(index, self.entries[index].image)?;
        with_ending(bytes).map_err(|source| SampleError::Decode {
            name: self.name(index),
            source,
        })
    }

    fn captions(&self, index: usize) -> Result<Vec<String>, SampleError> {
        let bytes = self.read(index, self.entries[index].caption)?;
        self.captions_in(index, &bytes)
    }

    fn eval_images(&self) -> Vec<usize> {
        (0..self.num_samples()).collect()
    }

    fn eval_captions(&self) -> Result<Vec<(i64, String)>, SampleError> {
        let captions = |index| self.captions(index);
        let all = 0..self.num_samples();
        let captions = match &self.threads {
            Some(threads) => threads.install(|| all.into_par_iter().map(captions).collect::<Result<Vec<_>, _>>()),
            None => all.map(captions).collect(),
        }?;
        let numbered = captions.into_iter().enumerate();
        Ok(numbered
            .flat_map(|(index, texts)| {
                let id = self.image_id(index);
                texts.into_iter().map(move |text| (id, text))
            })
            .collect())
    }

    fn classes(&self) -> Vec<Classes> {
        Vec::new()
    }

    fn shard_starts(&self) -> &[usize] {
        &self.starts
    }

    fn report(&self) -> &OpenReport {
        &self.report
    }
}
