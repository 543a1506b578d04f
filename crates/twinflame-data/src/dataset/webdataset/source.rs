use std::collections::HashSet;
use std::io;
use std::path::PathBuf;

use rand::rngs::ChaCha8Rng;
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::WebDatasetConfig;
use super::index::{Index, Opened, Record};
use super::lists::{Found as Listed, Lists, Seen};
use super::scan::{Entry, Scan, Span, captions, scan};
use super::shard::{Shard, no_answer};
use super::shards::shards_of;
use super::url::masked;
use crate::dataset::source::draw_among;
use crate::dataset::{Classes, DataError, Draw, SampleError, Source};
use crate::decode::{DecodeLimits, DecodedImage, decode, with_ending};
use crate::report::{OpenReport, Skipped};

/// Shards that are read before the budget is looked at: enough for every core, few enough to stop soon.
const SHARDS_AT_ONCE: usize = 64;
/// Requests at a time where shards are on servers: the wait for answers is longer than the work on them.
const REQUESTS_AT_ONCE: usize = 16;

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

/// Hands over shard, key and captions of every sample that is used, one shard after another, and nothing after the first error.
/// Returns how many shards and samples are damaged, which are left out.
///
/// # Errors
/// Patterns that match no shard, lists that cannot be read and a server that does not answer, as a [`DataError`], and what
/// `act` returns.
pub(crate) fn for_each_caption<E: From<DataError>>(
    config: &WebDatasetConfig,
    mut act: impl FnMut(&str, &str, Vec<String>) -> Result<(), E>,
) -> Result<u64, E> {
    config.validate()?;
    let mut damaged = 0;
    let shards = shards_of(config)?;
    let lists = Lists::read(config, &paths(&shards))?;
    for (number, shard) in shards.iter().enumerate() {
        if !lists.names_shard(number) {
            continue;
        }
        let (name, mut seen) = (shard.name(), Seen::default());
        let mut outcome = Ok(());
        let mut scan = scan(shard, config, |_, key, captions| {
            if lists.picks(number, key, &mut seen) && outcome.is_ok() {
                outcome = act(&name, key, captions);
            }
        });
        outcome?;
        lists.select_faults(number, &mut scan, &mut seen);
        if scan.unread && shard.server().is_some() {
            // Part of it is with `act` already.
            return Err(E::from(DataError::Read {
                path: shard.path(),
                source: io::Error::other(scan.broken.take().unwrap_or_default()),
            }));
        }
        damaged += scan.faulty.len() as u64 + u64::from(scan.broken.is_some());
    }
    Ok(damaged)
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
        let lists = Lists::read(config, &paths)?;
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

/// What the shards hold, one after another.
struct Contents {
    starts: Vec<usize>,
    entries: Vec<Entry>,
    listed: Listed,
    report: OpenReport,
}

impl Contents {
    /// Reads the shards, or what the index says of them, and writes that.
    fn read(
        shards: &[Shard],
        config: &WebDatasetConfig,
        lists: &Lists,
        threads: Option<&ThreadPool>,
    ) -> Result<Self, DataError> {
        let index = config.index.as_deref().map(|path| Index::open(path, config));
        let index = index.transpose()?;
        let numbered: Vec<(usize, &Shard)> = shards.iter().enumerate().collect();
        let used = |&&(number, _): &&(usize, &Shard)| lists.names_shard(number);
        ask_servers(numbered.iter().filter(used).map(|&(_, shard)| shard))?;
        let open = |&(number, shard): &(usize, &Shard)| {
            let mut opened = open_shard(shard, lists.names_shard(number), config, index.as_ref())?;
            let seen = lists.select(number, &mut opened);
            Ok((opened, seen))
        };
        let mut contents = Self {
            starts: Vec::with_capacity(shards.len()),
            entries: Vec::new(),
            listed: lists.found(),
            report: OpenReport::default(),
        };
        let mut records: Vec<(String, Option<Record>)> = Vec::new();
        for shards in numbered.chunks(SHARDS_AT_ONCE) {
            let opened = in_threads(threads, || {
                shards.par_iter().map(&open).collect::<Result<Vec<_>, DataError>>()
            })?;
            for ((_, shard), (opened, seen)) in shards.iter().zip(opened) {
                let start = contents.entries.len();
                contents.starts.push(start);
                lists.add(&mut contents.listed, seen, start);
                contents.entries.extend(opened.entries);
                contents.report.num_samples = contents.entries.len();
                let name = shard.name();
                add_to(&mut contents.report, &name, opened.scan);
                records.push((name, opened.record));
                within_budget(&contents.report, config)?;
            }
        }
        if let Some(index) = &index {
            index.update(&records)?;
        }
        Ok(contents)
    }
}

fn unreadable(shard: &Shard, source: io::Error) -> SampleError {
    SampleError::Read {
        path: shard.path(),
        source,
    }
}

fn paths(shards: &[Shard]) -> Vec<PathBuf> {
    shards.iter().map(Shard::path).collect()
}

/// Threads that wait for servers; none if all shards are files.
fn threads_for(shards: &[Shard]) -> Result<Option<ThreadPool>, DataError> {
    let Some(shard) = shards.iter().find(|shard| shard.server().is_some()) else {
        return Ok(None);
    };
    let pool = ThreadPoolBuilder::new().num_threads(REQUESTS_AT_ONCE).build();
    pool.map(Some).map_err(|error| DataError::Read {
        path: shard.path(),
        source: io::Error::other(error),
    })
}

fn in_threads<T: Send>(threads: Option<&ThreadPool>, act: impl FnOnce() -> T + Send) -> T {
    match threads {
        Some(threads) => threads.install(act),
        None => act(),
    }
}

/// An error if a server does not answer at all: the time would pass once for each of its shards.
fn ask_servers<'a>(shards: impl Iterator<Item = &'a Shard>) -> Result<(), DataError> {
    let mut asked = HashSet::new();
    for shard in shards {
        if shard.server().is_some_and(|server| asked.insert(server))
            && let Err(source) = shard.stat()
            && no_answer(&source)
        {
            return Err(DataError::Read {
                path: shard.path(),
                source,
            });
        }
    }
    Ok(())
}

/// What is known of a shard: nothing new if no sample of it is used.
fn open_shard(
    shard: &Shard,
    is_used: bool,
    config: &WebDatasetConfig,
    index: Option<&Index>,
) -> Result<Opened, DataError> {
    match index {
        Some(index) if is_used => index.find(shard),
        None if is_used => Ok(Opened::read(shard, config, None)),
        _ => Ok(Opened {
            record: index.and_then(|index| index.kept(shard)),
            ..Opened::default()
        }),
    }
}

fn within_budget(report: &OpenReport, config: &WebDatasetConfig) -> Result<(), DataError> {
    match report.skipped.len() > config.max_skipped {
        true => Err(DataError::TooManySkipped {
            max_skipped: config.max_skipped,
            report: Box::new(report.clone()),
        }),
        false => Ok(()),
    }
}

/// Reports what is wrong in a shard.
fn add_to(report: &mut OpenReport, name: &str, scan: Scan) {
    for faulty in scan.faulty {
        report.leave_out(faulty.fault, name, faulty.key, faulty.detail);
    }
    if let Some(reason) = scan.broken {
        report.broken_files.add(|| format!("{name}: {reason}"));
        report.skipped.push(Skipped {
            file: name.to_owned(),
            sample: None,
            reason,
        });
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

    /// Shard and key. The key is read from the shard again, which nothing but a message needs.
    fn name(&self, index: usize) -> String {
        let at = self.entries[index].image.at;
        let header = Span {
            at: at.saturating_sub(512),
            len: 512,
        };
        let key = self.read(index, header).ok().and_then(|bytes| {
            let header = tar::Header::from_byte_slice(&bytes);
            let name = String::from_utf8_lossy(&header.path_bytes()).into_owned();
            (!name.is_empty()).then_some(name)
        });
        let key = key.unwrap_or_else(|| format!("at byte {at}"));
        format!("{}, {key}", self.shard(index).name())
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
