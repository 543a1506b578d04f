//! Lists of samples, as the data tools write them: shard and key of one on each line.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::dataset::DataError;

/// Samples that a file names, each with its group: 24 bytes for each.
#[derive(Debug)]
pub(super) struct SampleList {
    /// Key of the configuration that names the file, for messages.
    key: &'static str,
    path: PathBuf,
    /// Sorted by hash, each once.
    listed: Vec<Listed>,
    /// Whether the file names a sample of each shard.
    names_shard: Vec<bool>,
    /// Lines whose shard is not there.
    num_elsewhere: usize,
}

#[derive(Clone, Copy, Debug)]
struct Listed {
    /// Of shard and key.
    hash: [u8; 16],
    /// 0 where groups do not matter.
    group: u64,
}

/// A line.
#[derive(Deserialize)]
struct Line {
    file: String,
    sample: String,
    group: Option<u64>,
}

impl SampleList {
    /// Reads a list, as the configuration's `key` names it, of samples of `shards`. With `groups` each line has to name one.
    ///
    /// # Errors
    /// A file that cannot be read, a line that is none, a sample in two groups, or a list that names none of the shards.
    pub(super) fn read(key: &'static str, path: &Path, shards: &[PathBuf], groups: bool) -> Result<Self, DataError> {
        let list = Self {
            key,
            path: path.to_owned(),
            listed: Vec::new(),
            names_shard: Vec::new(),
            num_elsewhere: 0,
        };
        let (mut listed, mut names_shard, mut num_elsewhere) = (Vec::new(), vec![false; shards.len()], 0);
        let mut first = None;
        let mut numbers = ShardNumbers::new(shards);
        list.for_each_line(|number, line| {
            let group = match (groups, line.group) {
                (true, None) => return Err(list.wrong(number, "no key \"group\"")),
                (true, Some(group)) => group,
                (false, _) => 0,
            };
            match numbers.number(&line.file) {
                Some(shard) => {
                    let hash = hash(shard, &line.sample);
                    names_shard[shard] = true;
                    listed.push(Listed { hash, group });
                }
                None => num_elsewhere += 1,
            }
            first.get_or_insert(line);
            Ok(())
        })?;
        let mut list = Self {
            listed,
            names_shard,
            num_elsewhere,
            ..list
        };
        if list.listed.is_empty()
            && let Some(Line { file, sample, .. }) = first
        {
            return Err(list.fits_not(&format!("{file}, {sample}"), &shards[0]));
        }
        list.listed.sort_unstable_by_key(|listed| (listed.hash, listed.group));
        list.listed.dedup_by_key(|listed| (listed.hash, listed.group));
        match list.listed.array_windows().find(|[a, b]| a.hash == b.hash) {
            Some(&[twice, _]) => Err(list.in_two_groups(twice.hash, shards)),
            None => Ok(list),
        }
    }

    /// Whether the list names a sample of the shard, however few of its samples there are.
    pub(super) fn names_shard(&self, shard: usize) -> bool {
        self.names_shard[shard]
    }

    /// Place of a sample in the list, if it is there.
    pub(super) fn find(&self, shard: usize, key: &str) -> Option<usize> {
        let hash = hash(shard, key);
        self.listed.binary_search_by_key(&hash, |listed| listed.hash).ok()
    }

    /// The group of the sample at a place.
    pub(super) fn group(&self, place: usize) -> u64 {
        self.listed[place].group
    }

    /// Lines whose shard is not there.
    pub(super) fn num_elsewhere(&self) -> usize {
        self.num_elsewhere
    }

    /// Whether no sample is listed.
    pub(super) fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }

    /// Samples listed.
    pub(super) fn len(&self) -> usize {
        self.listed.len()
    }

    /// Hands over shard and key of the samples whose place is not `found`, as the file names them, and of those whose shard is
    /// not there.
    ///
    /// # Errors
    /// A file that is not any more what it was.
    pub(super) fn for_each_missing(
        &self,
        found: &[bool],
        shards: &[PathBuf],
        mut act: impl FnMut(&str, &str),
    ) -> Result<(), DataError> {
        let mut numbers = ShardNumbers::new(shards);
        self.for_each_line(|_, line| {
            let place = numbers
                .number(&line.file)
                .and_then(|shard| self.find(shard, &line.sample));
            if !place.is_some_and(|place| found[place]) {
                act(&line.file, &line.sample);
            }
            Ok(())
        })
    }

    /// The error of a list none of whose samples is there; `first` is one of them.
    pub(super) fn fits_not(&self, first: &str, shard: &Path) -> DataError {
        self.error(format!(
            "none of its samples is in these shards. One of the list is {first}; the first shard is {}",
            shard.display()
        ))
    }

    /// The error of an empty list of samples to use.
    pub(super) fn nothing_left(&self) -> DataError {
        self.error("the list is empty, so that no sample would be left".to_owned())
    }

    fn in_two_groups(&self, hash_of: [u8; 16], shards: &[PathBuf]) -> DataError {
        let mut numbers = ShardNumbers::new(shards);
        let mut group = None;
        let second = self.for_each_line(|number, line| {
            let shard = numbers.number(&line.file);
            if shard.is_none_or(|shard| hash(shard, &line.sample) != hash_of) {
                return Ok(());
            }
            match *group.get_or_insert(line.group) {
                same if same == line.group => Ok(()),
                other => {
                    let (Line { file, sample, .. }, other) = (line, other.unwrap_or_default());
                    Err(self.wrong(number, &format!("{file}, {sample} is in group {other} already")))
                }
            }
        });
        second.err().unwrap_or_else(|| self.error("it has changed".to_owned()))
    }

    fn for_each_line(&self, mut act: impl FnMut(usize, Line) -> Result<(), DataError>) -> Result<(), DataError> {
        let read = |source| DataError::Read {
            path: self.path.clone(),
            source,
        };
        let reader = BufReader::with_capacity(1 << 20, File::open(&self.path).map_err(read)?);
        for (line, number) in reader.lines().zip(1..) {
            let line = line.map_err(read)?;
            let line = line.trim_start_matches('\u{feff}');
            if line.trim().is_empty() {
                continue;
            }
            let parsed = serde_json::from_str(line).map_err(|error| {
                // Where in the line it is matters less than that every line is one object.
                let told = error.to_string();
                let told = told.split(" at line ").next().unwrap_or_default();
                self.wrong(number, told)
            })?;
            act(number, parsed)?;
        }
        Ok(())
    }

    fn wrong(&self, line: usize, what: &str) -> DataError {
        let example = match self.key {
            "groups" => r#"{"file": "00000.tar", "sample": "000123", "group": 7}"#,
            _ => r#"{"file": "00000.tar", "sample": "000123"}"#,
        };
        DataError::Row {
            file: self.path.clone(),
            place: format!("line {line}"),
            message: format!("{what}; a line of {} is an object such as {example}", self.key),
        }
    }

    fn error(&self, message: String) -> DataError {
        DataError::SampleList {
            key: self.key,
            list: self.path.clone(),
            message,
        }
    }
}

fn hash(shard: usize, key: &str) -> [u8; 16] {
    let digest = Sha256::new()
        .chain_update((shard as u64).to_le_bytes())
        .chain_update(key)
        .finalize();
    std::array::from_fn(|at| digest[at])
}

/// Numbers of shards by the names that lists have for them.
struct ShardNumbers<'a> {
    shards: &'a [PathBuf],
    by_name: HashMap<&'a OsStr, Vec<usize>>,
    /// Lines of one shard follow each other.
    last: Option<(String, Option<usize>)>,
}

impl<'a> ShardNumbers<'a> {
    fn new(shards: &'a [PathBuf]) -> Self {
        let mut by_name: HashMap<&OsStr, Vec<usize>> = HashMap::new();
        for (number, shard) in shards.iter().enumerate() {
            by_name
                .entry(shard.file_name().unwrap_or_default())
                .or_default()
                .push(number);
        }
        Self {
            shards,
            by_name,
            last: None,
        }
    }

    /// The shard with this path, or else the only one whose path ends like this one or this one like it: a list that was made
    /// in the shards' folder may be used from elsewhere.
    fn number(&mut self, listed: &str) -> Option<usize> {
        if let Some((last, number)) = &self.last
            && last == listed
        {
            return *number;
        }
        let number = self.look_up(Path::new(listed));
        self.last = Some((listed.to_owned(), number));
        number
    }

    fn look_up(&self, listed: &Path) -> Option<usize> {
        let same_name = self.by_name.get(listed.file_name()?)?;
        let exact = same_name.iter().find(|&&number| self.shards[number] == listed);
        let ends_alike = |&&number: &&usize| {
            let shard = &self.shards[number];
            shard.ends_with(listed) || listed.ends_with(shard)
        };
        let alike = || {
            let mut alike = same_name.iter().filter(ends_alike);
            alike.next().filter(|_| alike.next().is_none())
        };
        exact.or_else(alike).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_known_by_the_end_of_its_path() {
        let shards = ["cc/0.tar", "./cc/1.tar", "sbu/1.tar", "/data/x/2.tar"].map(PathBuf::from);
        let number = |listed: &str| ShardNumbers::new(&shards).number(listed);
        assert_eq!(number("cc/0.tar"), Some(0));
        assert_eq!(number("0.tar"), Some(0));
        assert_eq!(number("/elsewhere/cc/0.tar"), Some(0));
        assert_eq!(number("other/0.tar"), None, "another folder");
        assert_eq!(number("1.tar"), None, "two end like this");
        assert_eq!([number("cc/1.tar"), number("sbu/1.tar")], [Some(1), Some(2)]);
        assert_eq!(
            [number("x/2.tar"), number("y/2.tar"), number("")],
            [Some(3), None, None]
        );
    }
}
