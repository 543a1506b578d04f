//! What shards hold, found by reading them or in an index.

use std::collections::HashSet;
use std::io;
use std::mem::take;
use std::path::PathBuf;

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::WebDatasetConfig;
use super::index::{Index, Opened, Record};
use super::lists::{Found as Listed, Lists, Seen};
use super::sample_list::{Naming, SampleName};
use super::scan::{Entry, Scan, scan};
use super::shard::{Shard, no_answer};
use super::shards::shards_of;
use crate::dataset::DataError;
use crate::report::{OpenReport, Skipped};

/// Shards that are read before the budget is looked at: enough for every core, few enough to stop soon.
const SHARDS_AT_ONCE: usize = 64;
/// Requests at a time where shards are on servers: the wait for answers is longer than the work on them.
const REQUESTS_AT_ONCE: usize = 16;

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
    let lists = read_lists(config, &paths(&shards))?;
    for (number, shard) in shards.iter().enumerate() {
        if !lists.names_shard(number) {
            continue;
        }
        let (name, mut seen) = (shard.name(), Seen::default());
        let mut outcome = Ok(());
        let mut scan = scan(shard, config, |_, key, captions| {
            if lists.take(number, &SampleName::Key(key.into()), &mut seen) && outcome.is_ok() {
                outcome = act(&name, key, captions);
            }
        });
        outcome?;
        select_faults(&lists, number, &mut scan, &mut seen);
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

/// The lists of a configuration.
///
/// # Errors
/// As [`Lists::read`].
pub(super) fn read_lists(config: &WebDatasetConfig, shards: &[PathBuf]) -> Result<Lists, DataError> {
    Lists::read(config.keep.as_deref(), config.groups.as_deref(), Naming::Keys, shards)
}

/// Leaves of a shard the samples to use only, and the faults of those that are listed.
fn select(lists: &Lists, number: usize, opened: &mut Opened) -> Seen {
    let mut seen = Seen::default();
    let mut keys = take(&mut opened.keys).into_iter();
    let mut is_used = |key: String| lists.take(number, &SampleName::Key(key.into()), &mut seen);
    opened.entries.retain(|_| keys.next().is_some_and(&mut is_used));
    select_faults(lists, number, &mut opened.scan, &mut seen);
    seen
}

fn select_faults(lists: &Lists, number: usize, scan: &mut Scan, seen: &mut Seen) {
    scan.faulty
        .retain(|faulty| lists.is_named(number, &SampleName::Key((&faulty.key).into()), seen));
}

/// What the shards hold, one after another.
pub(super) struct Contents {
    pub(super) starts: Vec<usize>,
    pub(super) entries: Vec<Entry>,
    pub(super) listed: Listed,
    pub(super) report: OpenReport,
}

impl Contents {
    /// Reads the shards, or what the index says of them, and writes that.
    pub(super) fn read(
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
            let seen = select(lists, number, &mut opened);
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

pub(super) fn paths(shards: &[Shard]) -> Vec<PathBuf> {
    shards.iter().map(Shard::path).collect()
}

/// Threads that wait for servers; none if all shards are files.
pub(super) fn threads_for(shards: &[Shard]) -> Result<Option<ThreadPool>, DataError> {
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
            file: Some(name.to_owned()),
            sample: None,
            reason,
        });
    }
}
