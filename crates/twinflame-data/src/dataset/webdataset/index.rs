//! What opening found, kept in a file: shards that have not changed need not be read again.
//!
//! A line that says what the file is, one with the keys of the configuration, and for each shard a line with its name, size and
//! version, followed by what it holds, as JSON in gzip, whose checksum shows damage.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};

use super::WebDatasetConfig;
use super::scan::{Entry, Faulty, Scan, Span, scan};
use super::shard::{Shard, Stat};
use crate::dataset::DataError;
use crate::whole_file::write_whole;

/// What every version begins with.
const KIND: &str = "twinflame shard index ";
/// The version that is read; others are made anew.
const VERSION: &str = "1";

/// An index as it was read, and for which configuration.
#[derive(Debug)]
pub(super) struct Index {
    path: PathBuf,
    config: WebDatasetConfig,
    bytes: Vec<u8>,
    shards: HashMap<String, Known>,
}

/// Where a shard is in the file.
#[derive(Debug)]
struct Known {
    stat: Stat,
    place: Range<usize>,
}

/// What is known of a shard.
#[derive(Debug, Default)]
pub(super) struct Opened {
    pub(super) entries: Vec<Entry>,
    /// Keys of the samples.
    pub(super) keys: Vec<String>,
    pub(super) scan: Scan,
    /// For the next index; nothing where the shard could not be read or has no version.
    pub(super) record: Option<Record>,
}

/// What an index says of a shard.
#[derive(Debug)]
pub(super) struct Record {
    stat: Stat,
    gzip: Vec<u8>,
    is_new: bool,
}

/// The configuration keys that what is found depends on.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Keys {
    image_keys: Vec<String>,
    caption_key: String,
    json_field: Option<String>,
}

/// Precedes what a shard holds.
#[derive(Debug, Serialize, Deserialize)]
struct ShardLine {
    shard: String,
    #[serde(flatten)]
    stat: Stat,
    /// Size of what follows.
    bytes: usize,
}

/// What a shard holds.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Contents {
    /// Keys of the samples.
    keys: Vec<String>,
    /// Of each sample: from the end of the sample before it to its image, the image's length, from there to its caption, and
    /// that one's length.
    spans: Vec<(i64, u32, i64, u32)>,
    faulty: Vec<Faulty>,
    broken: Option<String>,
}

impl Index {
    /// Reads the index of a configuration; it is empty if there is none yet, or one of other keys or of another version.
    ///
    /// # Errors
    /// A file that is no index or is damaged, or a folder that is not there.
    pub(super) fn open(path: &Path, config: &WebDatasetConfig) -> Result<Self, DataError> {
        let wrong = |message: String| DataError::Index {
            path: path.to_owned(),
            message,
        };
        let mut index = Self {
            path: path.to_owned(),
            config: config.clone(),
            bytes: Vec::new(),
            shards: HashMap::new(),
        };
        match fs::read(path) {
            Ok(bytes) => index.bytes = bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
                return match folder.is_none_or(Path::is_dir) {
                    true => Ok(index),
                    false => Err(wrong("there is no such folder".to_owned())),
                };
            }
            Err(error) => return Err(wrong(error.to_string())),
        }
        index.shards = index.read_lines().map_err(wrong)?;
        Ok(index)
    }

    fn read_lines(&self) -> Result<HashMap<String, Known>, String> {
        let damaged = || "it is damaged: delete it, and it is made anew".to_owned();
        let mut shards = HashMap::new();
        let mut rest = self.bytes.as_slice();
        let first = line(&mut rest).unwrap_or_default();
        let Some(version) = first.strip_prefix(KIND) else {
            return Err("it is no index of shards: give another name, or delete it if nobody needs it".to_owned());
        };
        if version != VERSION {
            return Ok(shards);
        }
        let keys: Keys = line(&mut rest)
            .and_then(|text| serde_json::from_str(text).ok())
            .ok_or_else(damaged)?;
        if keys != Keys::of(&self.config) {
            return Ok(shards);
        }
        while !rest.is_empty() {
            let text = line(&mut rest).ok_or_else(damaged)?;
            let ShardLine { shard, stat, bytes } = serde_json::from_str(text).map_err(|_| damaged())?;
            let start = self.bytes.len() - rest.len();
            rest = rest.get(bytes..).ok_or_else(damaged)?;
            let place = start..start + bytes;
            shards.insert(shard, Known { stat, place });
        }
        Ok(shards)
    }

    /// What a shard holds: from the index if it is as it was, else from the shard.
    ///
    /// # Errors
    /// An index that is damaged.
    pub(super) fn find(&self, shard: &Shard) -> Result<Opened, DataError> {
        let stat = match shard.stat() {
            Ok(stat) => stat,
            // Asking again would take the same time once more. What the index says is for when there is an answer.
            Err(error) => {
                return Ok(Opened {
                    scan: Scan {
                        broken: Some(error.to_string()),
                        unread: true,
                        ..Scan::default()
                    },
                    record: self.kept(shard),
                    ..Opened::default()
                });
            }
        };
        let name = shard.name();
        let known = self
            .shards
            .get(&name)
            .filter(|known| known.stat == stat && !stat.stamp.is_empty());
        let Some(known) = known else {
            return Ok(Opened::read(shard, &self.config, Some(stat)));
        };
        let gzip = &self.bytes[known.place.clone()];
        let contents = Contents::unpack(gzip).and_then(|contents| {
            let entries = contents.entries(stat.len)?;
            (entries.len() == contents.keys.len()).then_some((contents, entries))
        });
        let Some((contents, entries)) = contents else {
            return Err(DataError::Index {
                path: self.path.clone(),
                message: format!("it is damaged at {name}: delete it, and it is made anew"),
            });
        };
        Ok(Opened {
            entries,
            keys: contents.keys,
            scan: Scan {
                faulty: contents.faulty,
                broken: contents.broken,
                unread: false,
            },
            record: Some(self.record(known)),
        })
    }

    /// What the index says of a shard that is not looked at this time, for the next index.
    pub(super) fn kept(&self, shard: &Shard) -> Option<Record> {
        self.shards.get(&shard.name()).map(|known| self.record(known))
    }

    fn record(&self, known: &Known) -> Record {
        Record {
            stat: known.stat.clone(),
            gzip: self.bytes[known.place.clone()].to_vec(),
            is_new: false,
        }
    }

    /// Writes what was found in place of the index, if it is not what it says already.
    ///
    /// # Errors
    /// A disk that refuses.
    pub(super) fn update(&self, found: &[(String, Option<Record>)]) -> Result<(), DataError> {
        let records = || found.iter().filter_map(|(name, record)| Some((name, record.as_ref()?)));
        let is_new = records().any(|(_, record)| record.is_new);
        if !is_new && records().count() == self.shards.len() {
            return Ok(());
        }
        let write = |file: &mut BufWriter<File>| {
            writeln!(file, "{KIND}{VERSION}")?;
            writeln!(file, "{}", serde_json::to_string(&Keys::of(&self.config))?)?;
            for (shard, record) in records() {
                let line = ShardLine {
                    shard: shard.clone(),
                    stat: record.stat.clone(),
                    bytes: record.gzip.len(),
                };
                writeln!(file, "{}", serde_json::to_string(&line)?)?;
                file.write_all(&record.gzip)?;
            }
            Ok(())
        };
        write_whole(&self.path, write).map_err(|error| DataError::Index {
            path: self.path.clone(),
            message: format!("it cannot be written: {error}"),
        })
    }
}

impl Opened {
    /// Reads a shard; for an index if its version is given.
    pub(super) fn read(shard: &Shard, config: &WebDatasetConfig, stat: Option<Stat>) -> Self {
        let (mut entries, mut keys) = (Vec::new(), Vec::new());
        let mut scan = scan(shard, config, |entry, key, _| {
            entries.push(entry);
            keys.push(key.to_owned());
        });
        if scan.unread && shard.server().is_some() {
            // How far a connection carried must not decide which samples there are.
            entries.clear();
            keys.clear();
            scan.faulty.clear();
        }
        let kept = stat.filter(|stat| !scan.unread && !stat.stamp.is_empty());
        let record = kept.and_then(|stat| {
            let contents = Contents {
                keys: keys.clone(),
                spans: spans(&entries),
                faulty: scan.faulty.clone(),
                broken: scan.broken.clone(),
            };
            Some(Record {
                stat,
                gzip: contents.pack().ok()?,
                is_new: true,
            })
        });
        Self {
            entries,
            keys,
            scan,
            record,
        }
    }
}

impl Keys {
    fn of(config: &WebDatasetConfig) -> Self {
        Self {
            image_keys: config.image_keys.clone(),
            caption_key: config.caption_key.clone(),
            json_field: config.json_field().map(str::to_owned),
        }
    }
}

impl Contents {
    fn pack(&self) -> io::Result<Vec<u8>> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(&serde_json::to_vec(self)?)?;
        gzip.finish()
    }

    /// `None` if it is damaged.
    fn unpack(gzip: &[u8]) -> Option<Self> {
        let mut json = Vec::new();
        GzDecoder::new(gzip).read_to_end(&mut json).ok()?;
        serde_json::from_slice(&json).ok()
    }

    /// The places of the samples in a shard of `len` bytes; `None` if one is outside of it.
    fn entries(&self, len: u64) -> Option<Vec<Entry>> {
        let mut at = 0_u64;
        let mut span = |by: i64, len_of: u32| {
            let start = at.checked_add_signed(by)?;
            at = start.checked_add(len_of.into())?;
            (at <= len).then_some(Span { at: start, len: len_of })
        };
        let entries = self.spans.iter().map(|&(to_image, image, to_caption, caption)| {
            let image = span(to_image, image)?;
            let caption = span(to_caption, caption)?;
            Some(Entry { image, caption })
        });
        entries.collect()
    }
}

/// Each span by its distance from the end of the one before: small numbers, often the same, pack well.
fn spans(entries: &[Entry]) -> Vec<(i64, u32, i64, u32)> {
    let mut at = 0;
    let mut by = |span: Span| {
        let distance = span.at as i64 - at;
        at = span.at as i64 + i64::from(span.len);
        distance
    };
    entries
        .iter()
        .map(|entry| (by(entry.image), entry.image.len, by(entry.caption), entry.caption.len))
        .collect()
}

/// Takes a line of text off the bytes.
fn line<'a>(bytes: &mut &'a [u8]) -> Option<&'a str> {
    let end = bytes.iter().position(|&byte| byte == b'\n')?;
    let (line, rest) = bytes.split_at(end);
    *bytes = &rest[1..];
    std::str::from_utf8(line).ok()
}

#[cfg(test)]
mod tests;
