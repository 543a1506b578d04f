//! The samples in Parquet files.

use std::collections::{HashMap, VecDeque};
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use rand::rngs::ChaCha8Rng;

use super::ParquetConfig;
use super::column::Shard;
use super::open::{Found, Group, in_words, open_shard};
use crate::dataset::listed::told;
use crate::dataset::source::{draw_among, draw_listed};
use crate::dataset::webdataset::expand;
use crate::dataset::{Classes, DataError, Draw, SampleError, Source};
use crate::decode::{DecodeLimits, DecodedImage, decode, with_ending};
use crate::report::OpenReport;

/// Bytes of captions that are kept in memory: those of the row groups that were read last.
const CACHED_BYTES: usize = 64 << 20;

/// Rows of Parquet files.
///
/// In memory are some 400 bytes of each row group's columns, and of a group with rows that are left out, 4 bytes of each row;
/// captions of the groups that were read last, up to 64 MiB.
#[derive(Debug)]
pub struct ParquetSource {
    shards: Vec<Arc<Shard>>,
    groups: Vec<Group>,
    /// First sample of each group, ascending.
    starts: Vec<usize>,
    num_samples: usize,
    root: Option<PathBuf>,
    captions: Mutex<CaptionCache>,
    report: OpenReport,
    limits: DecodeLimits,
}

/// The captions of a row group, by row.
type GroupCaptions = Arc<Vec<Vec<String>>>;

#[derive(Debug, Default)]
struct CaptionCache {
    groups: HashMap<usize, (GroupCaptions, usize)>,
    /// In the order in which they came.
    order: VecDeque<usize>,
    bytes: usize,
}

impl CaptionCache {
    fn insert(&mut self, group: usize, captions: GroupCaptions) {
        let of_row =
            |row: &Vec<String>| size_of::<Vec<String>>() + row.iter().map(|text| 24 + text.len()).sum::<usize>();
        let bytes = captions.iter().map(of_row).sum();
        if self.groups.insert(group, (captions, bytes)).is_some() {
            return;
        }
        self.order.push_back(group);
        self.bytes += bytes;
        // The newest stays, whatever its size.
        while self.bytes > CACHED_BYTES && self.order.len() > 1 {
            let oldest = self.order.pop_front().and_then(|oldest| self.groups.remove(&oldest));
            self.bytes -= oldest.map_or(0, |(_, bytes)| bytes);
        }
    }
}

impl ParquetSource {
    pub(super) fn open(config: &ParquetConfig) -> Result<Self, DataError> {
        let paths = expand(&config.shards)?;
        let (mut shards, mut groups, mut starts) = (Vec::new(), Vec::new(), Vec::new());
        let mut report = OpenReport::default();
        for (number, path) in paths.iter().enumerate() {
            let (shard, found) = open_shard(path, number, config)?;
            shards.push(shard);
            for Found {
                group,
                num_usable,
                faulty,
            } in found
            {
                starts.push(report.num_samples);
                groups.push(group);
                report.num_samples += num_usable;
                for (row, fault) in faulty {
                    report.leave_out(
                        fault,
                        &path.display().to_string(),
                        format!("row {row}"),
                        in_words(fault),
                    );
                }
            }
            if report.skipped.len() > config.max_skipped {
                return Err(DataError::TooManySkipped {
                    max_skipped: config.max_skipped,
                    report: Box::new(report),
                });
            }
        }
        if report.num_samples == 0 {
            return Err(DataError::NoSamples {
                path: paths[0].clone(),
                report: Box::new(report),
            });
        }
        if !report.is_clean() {
            tracing::warn!("{}: {report}", config.shards.join(", "));
        }
        Ok(Self {
            shards,
            groups,
            starts,
            num_samples: report.num_samples,
            root: config.root.clone(),
            captions: Mutex::default(),
            report,
            limits: DecodeLimits::default(),
        })
    }

    /// Number of the group that has a sample, and the row in it.
    fn row(&self, index: usize) -> (usize, usize) {
        // The last of several that begin here has it: those before are empty.
        let number = self.starts.partition_point(|&start| start <= index) - 1;
        let group = &self.groups[number];
        let at = index - self.starts[number];
        let row = group.usable.as_ref().map_or(at, |usable| usable[at] as usize);
        (number, row)
    }

    fn shard(&self, group: &Group) -> &Arc<Shard> {
        &self.shards[group.shard]
    }

    fn unreadable(&self, index: usize, error: &ParquetError) -> SampleError {
        SampleError::Read {
            path: self.name(index).into(),
            source: io::Error::other(error.to_string()),
        }
    }

    fn read(&self, index: usize) -> Result<Vec<u8>, SampleError> {
        let (number, row) = self.row(index);
        let group = &self.groups[number];
        let shard = self.shard(group);
        let values = group
            .image
            .row(shard, row)
            .map_err(|error| self.unreadable(index, &error))?;
        let value = values.first().map(ByteArray::data).unwrap_or_default();
        if !group.image_is_path {
            return Ok(value.to_vec());
        }
        let root = self
            .root
            .as_deref()
            .or_else(|| shard.path.parent())
            .unwrap_or(&shard.path);
        let path = root.join(String::from_utf8_lossy(value).as_ref());
        fs::read(&path).map_err(|source| SampleError::Read { path, source })
    }

    /// The captions of a row group, read anew if they are not there.
    fn group_captions(&self, number: usize) -> Result<GroupCaptions, ParquetError> {
        let lock = || self.captions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((captions, _)) = lock().groups.get(&number) {
            return Ok(captions.clone());
        }
        let group = &self.groups[number];
        let mut captions = Vec::new();
        group.caption.each_row(self.shard(group), |values| {
            let texts = values
                .iter()
                .map(|value| String::from_utf8_lossy(value.data()).into_owned());
            captions.push(told(texts.collect()));
        })?;
        let captions = Arc::new(captions);
        lock().insert(number, captions.clone());
        Ok(captions)
    }
}

impl Source for ParquetSource {
    fn num_samples(&self) -> usize {
        self.num_samples
    }

    fn image_id(&self, index: usize) -> i64 {
        index as i64
    }

    /// Row groups.
    fn shard_starts(&self) -> &[usize] {
        &self.starts
    }

    /// File and row, from 0.
    fn name(&self, index: usize) -> String {
        let (number, row) = self.row(index);
        let group = &self.groups[number];
        format!("{}, row {}", self.shard(group).path.display(), group.first_row + row)
    }

    fn draw(&self, index: usize, rng: &mut ChaCha8Rng) -> Result<Draw, SampleError> {
        draw_listed(self, index, rng)
    }

    fn draw_caption(&self, index: usize, rng: &mut ChaCha8Rng) -> Result<String, SampleError> {
        Ok(draw_among(self.captions(index)?, rng))
    }

    fn image(&self, index: usize) -> Result<DecodedImage, SampleError> {
        decode(&self.read(index)?, &self.limits).map_err(|source| SampleError::Decode {
            name: self.name(index),
            source,
        })
    }

    fn encoded(&self, index: usize) -> Result<(&'static str, Vec<u8>), SampleError> {
        with_ending(self.read(index)?).map_err(|source| SampleError::Decode {
            name: self.name(index),
            source,
        })
    }

    fn captions(&self, index: usize) -> Result<Vec<String>, SampleError> {
        let (number, row) = self.row(index);
        let captions = self
            .group_captions(number)
            .map_err(|error| self.unreadable(index, &error))?;
        match captions.get(row).filter(|captions| !captions.is_empty()) {
            Some(captions) => Ok(captions.clone()),
            None => Err(SampleError::Caption {
                name: self.name(index),
                message: "the file has changed since it was opened".to_owned(),
            }),
        }
    }

    fn eval_images(&self) -> Vec<usize> {
        (0..self.num_samples).collect()
    }

    fn eval_captions(&self) -> Result<Vec<(i64, String)>, SampleError> {
        let mut listed = Vec::new();
        for index in 0..self.num_samples {
            listed.extend(self.captions(index)?.into_iter().map(|text| (index as i64, text)));
        }
        Ok(listed)
    }

    fn classes(&self) -> Vec<Classes> {
        Vec::new()
    }

    fn report(&self) -> &OpenReport {
        &self.report
    }
}
