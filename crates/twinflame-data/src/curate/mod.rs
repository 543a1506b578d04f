//! Which pairs of a large collection to train on: CLIP's recipe as MetaCLIP describes it.
//!
//! A list of queries, such as the words of an encyclopedia, says what to balance. [`curate`] counts how many captions contain
//! each query, and keeps of a query that more than `cap` captions contain so many that `cap` of them are expected, and all of a
//! rarer one: the head is flattened, the tail stays (Radford et al. 2021, section 2.2; Xu et al. 2023,
//! <https://arxiv.org/abs/2309.16671>, algorithm 1). [`count_words`] makes a list of queries from text.

mod matcher;
mod records;

use std::collections::{HashMap, HashSet};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use thiserror::Error;

use self::matcher::{Matcher, space};
use self::records::for_each_line;
use crate::dataset::DataError;
use crate::seed::{Purpose, derive};

pub use self::records::CaptionFile;
pub(crate) use self::records::Record;

/// Pairs that are matched together: what memory grows with.
const PAIRS_AT_ONCE: usize = 8192;

/// Why a collection cannot be curated.
#[derive(Debug, Error)]
pub enum CurateError {
    /// A file that cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// A file of a kind that is not known.
    #[error(
        "{}: unknown ending; captions come from .txt (one a line), .csv, .tsv, .jsonl, or tar shards (a pattern that ends in .tar)",
        path.display()
    )]
    Ending {
        /// The file.
        path: PathBuf,
    },
    /// A column that a table does not have.
    #[error("{} has no column {column:?}; its columns are {}", path.display(), found.join(", "))]
    Column {
        /// The file.
        path: PathBuf,
        /// Column looked for.
        column: String,
        /// Columns of the file.
        found: Vec<String>,
    },
    /// A line that is none.
    #[error("{}, line {line}: {message}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: u64,
        /// What is wrong.
        message: String,
    },
    /// An empty list of queries.
    #[error("{} holds no query: one is expected on each line", path.display())]
    NoQueries {
        /// The file.
        path: PathBuf,
    },
    /// Too many queries, or too long ones.
    #[error("the queries do not fit into one automaton: {message}")]
    Automaton {
        /// What the library says.
        message: String,
    },
    /// Shards that cannot be opened.
    #[error(transparent)]
    Shards(#[from] DataError),
    /// A disk that refuses.
    #[error("cannot write what is kept: {0}")]
    Write(io::Error),
}

/// How many pairs contain a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryCount {
    /// The query.
    pub query: String,
    /// Pairs of the collection.
    pub before: u64,
    /// Pairs that are kept. May exceed the cap, by chance and because pairs are kept for rarer queries too.
    pub after: u64,
}

/// What was kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Curation {
    /// Pairs of the collection.
    pub num_pairs: u64,
    /// Pairs that contain at least one query; the others are not kept.
    pub num_matched: u64,
    /// Pairs kept.
    pub num_kept: u64,
    /// Damaged shards and samples, which are not kept.
    pub num_damaged: u64,
    /// In the order of the queries.
    pub counts: Vec<QueryCount>,
}

/// Reads queries, one on each line; surrounding space does not count, nor do empty lines. Also returns how many lines repeat
/// an earlier one, which are left out.
///
/// # Errors
/// A file that cannot be read or holds none.
pub fn read_queries(path: &Path) -> Result<(Vec<String>, usize), CurateError> {
    let mut queries = Vec::new();
    let mut known = HashSet::new();
    let mut repeated = 0;
    for_each_line(path, |_, line| {
        let query = line.trim();
        if !query.is_empty() {
            match known.insert(query.to_owned()) {
                true => queries.push(query.to_owned()),
                false => repeated += 1,
            }
        }
        Ok(())
    })?;
    match queries.is_empty() {
        true => Err(CurateError::NoQueries { path: path.to_owned() }),
        false => Ok((queries, repeated)),
    }
}

/// Writes the pairs to keep, as they stand in `file` and in its order, to `out`: lines of a table with its header, or of shards
/// an object with shard and key.
///
/// A pair is kept if any query in its captions passes a draw of its own with probability `cap / max(count, cap)`, where `count`
/// is the number of pairs with that query. The draw is a function of `seed`, query and place in the collection. Reads `file`
/// twice, on all cores; memory depends on the queries and not on the pairs. `progress` is told of pairs done, in each pass.
///
/// # Errors
/// What cannot be read, matched or written.
pub fn curate(
    file: &CaptionFile,
    queries: &[String],
    cap: u64,
    seed: u64,
    out: &mut impl Write,
    mut progress: impl FnMut(u64),
) -> Result<Curation, CurateError> {
    let matcher = Matcher::new(queries).map_err(|error| CurateError::Automaton {
        message: error.to_string(),
    })?;
    let mut before = vec![0_u64; queries.len()];
    let mut found = Curation::default();
    found.num_damaged = in_batches(file, |records| {
        for matched in matches(&matcher, records) {
            found.num_pairs += 1;
            found.num_matched += u64::from(!matched.is_empty());
            matched.iter().for_each(|&query| before[query as usize] += 1);
        }
        progress(records.len() as u64);
        Ok(())
    })?;

    let probabilities: Vec<f64> = before
        .iter()
        .map(|&count| cap as f64 / count.max(cap).max(1) as f64)
        .collect();
    let mut after = vec![0_u64; queries.len()];
    let mut place = 0;
    let header = file.header()?;
    let line = |out: &mut dyn Write, bytes: &[u8]| {
        let write = out.write_all(bytes).and_then(|()| out.write_all(b"\n"));
        write.map_err(CurateError::Write)
    };
    if !header.is_empty() {
        line(out, &header)?;
    }
    in_batches(file, |records| {
        for (record, matched) in records.iter().zip(matches(&matcher, records)) {
            let passes = |&query: &u32| {
                let point = derive(seed, Purpose::Curation, query as usize, place) >> 11;
                (point as f64 / (1_u64 << 53) as f64) < probabilities[query as usize]
            };
            if matched.iter().any(passes) {
                found.num_kept += 1;
                matched.iter().for_each(|&query| after[query as usize] += 1);
                line(out, &record.raw)?;
            }
            place += 1;
        }
        progress(records.len() as u64);
        Ok(())
    })?;
    let counts = queries.iter().zip(before).zip(after);
    found.counts = counts
        .map(|((query, before), after)| QueryCount {
            query: query.clone(),
            before,
            after,
        })
        .collect();
    Ok(found)
}

fn matches(matcher: &Matcher, records: &[Record]) -> Vec<Vec<u32>> {
    let find = |spaced: &mut String, record: &Record| matcher.find(&record.captions, spaced);
    records.par_iter().map_init(String::new, find).collect()
}

/// Collects pairs until they are worth the cores. Returns how many damaged shards and samples were left out.
fn in_batches(
    file: &CaptionFile,
    mut act: impl FnMut(&[Record]) -> Result<(), CurateError>,
) -> Result<u64, CurateError> {
    let mut batch = Vec::with_capacity(PAIRS_AT_ONCE);
    let damaged = file.for_each(|record| {
        batch.push(record);
        if batch.len() < PAIRS_AT_ONCE {
            return Ok(());
        }
        act(&batch)?;
        batch.clear();
        Ok(())
    })?;
    act(&batch)?;
    Ok(damaged)
}

/// The words of a text that come at least `min_count` times, the most frequent first: a list of queries.
///
/// Words lie between spaces, signs as [`curate`] spaces them are none, and case counts. Memory grows with the number of
/// different words.
///
/// # Errors
/// A file that cannot be read.
pub fn count_words(
    file: &CaptionFile,
    min_count: u64,
    mut progress: impl FnMut(u64),
) -> Result<Vec<(String, u64)>, CurateError> {
    let mut counts: HashMap<String, u64> = HashMap::new();
    in_batches(file, |records| {
        let of_record = |mut counts: HashMap<String, u64>, record: &Record| {
            let mut spaced = String::new();
            for caption in &record.captions {
                space(caption, &mut spaced);
                for word in spaced.split(' ').filter(|word| word.chars().any(char::is_alphanumeric)) {
                    match counts.get_mut(word) {
                        Some(count) => *count += 1,
                        None => {
                            counts.insert(word.to_owned(), 1);
                        }
                    }
                }
            }
            counts
        };
        let of_batch = records
            .par_iter()
            .fold(HashMap::new, of_record)
            .reduce(HashMap::new, merged);
        for (word, count) in of_batch {
            *counts.entry(word).or_default() += count;
        }
        progress(records.len() as u64);
        Ok(())
    })?;
    let mut counts: Vec<(String, u64)> = counts.into_iter().filter(|(_, count)| *count >= min_count).collect();
    counts.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    Ok(counts)
}

fn merged(a: HashMap<String, u64>, b: HashMap<String, u64>) -> HashMap<String, u64> {
    let (mut large, small) = if a.len() < b.len() { (b, a) } else { (a, b) };
    for (word, count) in small {
        *large.entry(word).or_default() += count;
    }
    large
}

#[cfg(test)]
mod tests;
