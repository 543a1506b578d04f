use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use rand::rngs::ChaCha8Rng;
use rayon::prelude::*;

use super::WebDatasetConfig;
use super::lists::{Lists, Seen};
use super::sample_list::{Naming, SampleName};
use super::scan::{Entry, Scan, Span, captions, scan, split_name};
use super::shards::expand;
use crate::dataset::source::{draw_among, draw_listed};
use crate::dataset::{Classes, DataError, Draw, Place, SampleError, Source};
use crate::decode::{DecodeLimits, DecodedImage, decode, with_ending};
use crate::report::{OpenReport, Skipped};

/// Shards that are read before the budget is looked at: enough for every core, few enough to stop soon.
const SHARDS_AT_ONCE: usize = 64;

/// The samples of tar shards, read at random places: 32 bytes of memory for a sample, whatever its size.
///
/// Opening reads the headers of all members and every caption, so that the number of samples, and with it the length of an
/// epoch, is known and exact, and what is wrong with the shards shows before training begins. An image is looked at when it is
/// drawn.
#[derive(Debug)]
pub struct WebDatasetSource {
    shards: Vec<PathBuf>,
    /// Sample at which each shard begins.
    starts: Vec<usize>,
    entries: Vec<Entry>,
    /// Samples whose image id is that of an earlier one, and which. Ascending.
    joined: Vec<(usize, usize)>,
    json_field: Option<String>,
    report: OpenReport,
    limits: DecodeLimits,
}

/// Hands over shard, key and captions of every sample that is used, one shard after another, and nothing after the first error. Returns
/// how many shards and samples are damaged, which are left out.
///
/// # Errors
/// Patterns that match no shard and lists that cannot be read, as a [`DataError`], and what `act` returns.
pub(crate) fn for_each_caption<E: From<DataError>>(
    config: &WebDatasetConfig,
    mut act: impl FnMut(&str, &str, Vec<String>) -> Result<(), E>,
) -> Result<u64, E> {
    let mut damaged = 0;
    let shards = expand(&config.shards)?;
    let lists = read_lists(config, &shards)?;
    for (number, path) in shards.iter().enumerate() {
        let shard = path.display().to_string();
        let mut outcome = Ok(());
        let (scan, _) = scan_listed(&lists, (number, path), config, |_, key, captions| {
            if outcome.is_ok() {
                outcome = act(&shard, key, captions);
            }
        });
        outcome?;
        damaged += scan.faulty.len() as u64 + u64::from(scan.broken.is_some());
    }
    Ok(damaged)
}

fn read_lists(config: &WebDatasetConfig, shards: &[PathBuf]) -> Result<Lists, DataError> {
    Lists::read(config.keep.as_deref(), config.groups.as_deref(), Naming::Keys, shards)
}

/// Scans a shard as [`scan`] does; `take` gets the samples to use only, and faults of others do not count.
fn scan_listed(
    lists: &Lists,
    (number, shard): (usize, &Path),
    config: &WebDatasetConfig,
    mut take: impl FnMut(Entry, &str, Vec<String>),
) -> (Scan, Seen) {
    let mut seen = Seen::default();
    if !lists.names_shard(number) {
        return (Scan::default(), seen);
    }
    let mut scan = scan(shard, config, |entry, key, captions| {
        if lists.take(number, &SampleName::Key(key.into()), &mut seen) {
            take(entry, key, captions);
        }
    });
    scan.faulty
        .retain(|faulty| lists.is_named(number, &SampleName::Key((&faulty.key).into()), &mut seen));
    (scan, seen)
}

impl WebDatasetSource {
    /// Opens the shards.
    ///
    /// # Errors
    /// As [`WebDatasetConfig::open`].
    pub(super) fn open(config: &WebDatasetConfig) -> Result<Self, DataError> {
        config.validate()?;
        let shards = expand(&config.shards)?;
        let (mut starts, mut entries, mut report) = (Vec::new(), Vec::new(), OpenReport::default());
        let lists = read_lists(config, &shards)?;
        let mut listed = lists.found();
        let numbered: Vec<(usize, &PathBuf)> = shards.iter().enumerate().collect();
        for shards in numbered.chunks(SHARDS_AT_ONCE) {
            let scan = |&(number, shard): &(usize, &PathBuf)| {
                let mut entries = Vec::new();
                let (scan, seen) = scan_listed(&lists, (number, shard), config, |entry, _, _| entries.push(entry));
                (entries, scan, seen)
            };
            let scans: Vec<(Vec<Entry>, Scan, Seen)> = shards.par_iter().map(scan).collect();
            for ((_, shard), (found, scan, seen)) in shards.iter().zip(scans) {
                starts.push(entries.len());
                lists.add(&mut listed, seen, entries.len());
                entries.extend(found);
                report.num_samples = entries.len();
                let name = shard.display().to_string();
                for faulty in scan.faulty {
                    report.leave_out(faulty.fault, &name, faulty.key, faulty.detail);
                }
                if let Some(reason) = scan.broken {
                    report.broken_files.add(|| format!("{name}: {reason}"));
                    report.skipped.push(Skipped {
                        file: Some(name.clone()),
                        sample: None,
                        reason,
                    });
                }
                if report.skipped.len() > config.max_skipped {
                    return Err(DataError::TooManySkipped {
                        max_skipped: config.max_skipped,
                        report: Box::new(report),
                    });
                }
            }
        }
        lists.check(&listed, &shards, &mut report)?;
        if entries.is_empty() {
            return Err(DataError::NoSamples {
                path: shards[0].clone(),
                report: Box::new(report),
            });
        }
        if !report.is_clean() {
            tracing::warn!("{}: {report}", config.shards.join(", "));
        }
        Ok(Self {
            shards,
            starts,
            entries,
            joined: listed.joined,
            json_field: config.json_field().map(str::to_owned),
            report,
            limits: DecodeLimits::default(),
        })
    }

    /// The shards in their order.
    #[must_use]
    pub fn shards(&self) -> &[PathBuf] {
        &self.shards
    }

    fn shard(&self, index: usize) -> &PathBuf {
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
        let path = self.shard(index);
        let read = || -> io::Result<Vec<u8>> {
            let mut file = File::open(path)?;
            file.seek(SeekFrom::Start(span.at))?;
            let mut bytes = Vec::with_capacity(span.len as usize);
            file.take(span.len.into()).read_to_end(&mut bytes)?;
            match bytes.len() == span.len as usize {
                true => Ok(bytes),
                false => Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the shard is shorter than when it was opened",
                )),
            }
        };
        read().map_err(|source| SampleError::Read {
            path: path.clone(),
            source,
        })
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
        format!("{}, {image}", self.shard(index).display())
    }

    fn place(&self, index: usize) -> Place {
        let image = self.member(index).unwrap_or_default();
        let key = split_name(&image).map(|(key, _)| key.to_owned());
        Place {
            file: Some(self.shard(index).display().to_string()),
            sample: key.unwrap_or_else(|| format!("at byte {}", self.entries[index].image.at)),
        }
    }

    fn draw(&self, index: usize, rng: &mut ChaCha8Rng) -> Result<Draw, SampleError> {
        draw_listed(self, index, rng)
    }

    fn draw_caption(&self, index: usize, rng: &mut ChaCha8Rng) -> Result<String, SampleError> {
        Ok(draw_among(self.captions(index)?, rng))
    }

    fn image(&self, index: usize) -> Result<DecodedImage, SampleError> {
        let bytes = self.read(index, self.entries[index].image)?;
        decode(&bytes, &self.limits).map_err(|source| SampleError::Decode {
            name: self.name(index),
            source,
        })
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
        captions(&bytes, self.json_field.as_deref()).map_err(|(_, message)| SampleError::Caption {
            name: self.name(index),
            message,
        })
    }

    fn eval_images(&self) -> Vec<usize> {
        (0..self.num_samples()).collect()
    }

    fn eval_captions(&self) -> Result<Vec<(i64, String)>, SampleError> {
        let mut listed = Vec::new();
        for index in 0..self.num_samples() {
            let id = self.image_id(index);
            listed.extend(self.captions(index)?.into_iter().map(|text| (id, text)));
        }
        Ok(listed)
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
