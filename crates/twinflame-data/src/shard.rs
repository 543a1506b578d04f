//! Any source as tar shards.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::dataset::{SampleError, Source};
use crate::panics::contain_panic;
use crate::report::Skipped;
use crate::whole_file::write_whole;

/// The list of the shards, and what a folder of shards is known by.
pub const INDEX_FILE: &str = "index.json";

/// Why shards cannot be written.
#[derive(Debug, Error)]
pub enum ShardError {
    /// A disk that refuses.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// A file of an earlier run that is not what it should be.
    #[error("{}: {message}", path.display())]
    Index {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// Shards of something else are there already.
    #[error(
        "{} holds shards of {found} samples, {found_per_shard} in each, and not of {wanted}, {wanted_per_shard} in each: give an \
         empty folder",
        path.display()
    )]
    Other {
        /// The folder.
        path: PathBuf,
        /// Samples that its shards were made of.
        found: usize,
        /// Samples in each.
        found_per_shard: usize,
        /// Samples now.
        wanted: usize,
        /// Samples in each now.
        wanted_per_shard: usize,
    },
}

/// A shard that is complete: a line of the index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardEntry {
    /// File name.
    pub file: String,
    /// Samples in it.
    pub samples: usize,
    /// Bytes of the file.
    pub bytes: u64,
    /// SHA-256 of the file in hexadecimal digits.
    pub sha256: String,
    /// Samples that could not be read and are not in it.
    pub skipped: Vec<Skipped>,
}

/// What a folder of shards holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardIndex {
    /// Samples of the source.
    pub num_samples: usize,
    /// Samples of the source for each shard.
    pub samples_per_shard: usize,
    /// In order.
    pub shards: Vec<ShardEntry>,
}

/// Writes `00000.tar`, `00001.tar`, … into `dir`, an index with hashes ([`INDEX_FILE`]) and `sizes.json`, which open_clip reads.
///
/// Shard `i` has samples `i n` to `(i + 1) n - 1` of the source in order: the image file as it is, the first caption as
/// `.txt` and all captions as `.json` with a list `caption`. A sample that cannot be read is left out and named in the index.
///
/// Shards are written on all cores, each under a temporary name and renamed once it is whole, with an entry of its own beside
/// it (`00000.json`). Called again after an interruption it goes on: shards whose entry and size are right stay. `progress` is
/// told of samples done.
///
/// # Errors
/// A disk that refuses, or a folder with shards of other data.
pub fn write_shards(
    source: &dyn Source,
    dir: &Path,
    samples_per_shard: usize,
    progress: impl Fn(usize) + Sync,
) -> Result<ShardIndex, ShardError> {
    let num_samples = source.num_samples();
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source| ShardError::Write { path, source }
    };
    fs::create_dir_all(dir).map_err(at(dir))?;
    let plan = ShardIndex {
        num_samples,
        samples_per_shard,
        shards: Vec::new(),
    };
    check_plan(&dir.join("plan.json"), &plan)?;
    let starts: Vec<usize> = (0..num_samples).step_by(samples_per_shard).collect();
    let shard = |(number, &start): (usize, &usize)| {
        let end = (start + samples_per_shard).min(num_samples);
        let entry = write_shard(source, dir, number, start..end)?;
        progress(end - start);
        Ok(entry)
    };
    let shards = starts
        .par_iter()
        .enumerate()
        .map(shard)
        .collect::<Result<Vec<ShardEntry>, ShardError>>()?;
    let index = ShardIndex { shards, ..plan };
    let sizes: serde_json::Map<String, serde_json::Value> = index
        .shards
        .iter()
        .map(|shard| (shard.file.clone(), shard.samples.into()))
        .collect();
    write_json(&dir.join("sizes.json"), &sizes)?;
    write_json(&dir.join(INDEX_FILE), &index)?;
    Ok(index)
}

/// An error if the folder was begun with another source or size; else notes which it is.
fn check_plan(path: &Path, plan: &ShardIndex) -> Result<(), ShardError> {
    let Some(found) = read_json::<ShardIndex>(path)? else {
        return write_json(path, plan);
    };
    match found == *plan {
        true => Ok(()),
        false => Err(ShardError::Other {
            path: path.parent().unwrap_or(path).to_owned(),
            found: found.num_samples,
            found_per_shard: found.samples_per_shard,
            wanted: plan.num_samples,
            wanted_per_shard: plan.samples_per_shard,
        }),
    }
}

fn write_shard(
    source: &dyn Source,
    dir: &Path,
    number: usize,
    samples: std::ops::Range<usize>,
) -> Result<ShardEntry, ShardError> {
    let file = format!("{number:05}.tar");
    let (path, entry_path) = (dir.join(&file), dir.join(format!("{number:05}.json")));
    let written = fs::metadata(&path).map(|file| file.len()).ok();
    if let Some(entry) = read_json::<ShardEntry>(&entry_path)?.filter(|entry| Some(entry.bytes) == written) {
        return Ok(entry);
    }
    let partial = dir.join(format!("{file}.partial"));
    let at = |source| ShardError::Write {
        path: path.clone(),
        source,
    };
    let mut skipped = Vec::new();
    let mut num_written = 0;
    let mut tar = tar::Builder::new(Hashed {
        file: BufWriter::with_capacity(1 << 20, File::create(&partial).map_err(at)?),
        hasher: Sha256::new(),
        bytes: 0,
    });
    for index in samples {
        match members(source, index) {
            Ok(members) => {
                for (ending, bytes) in members {
                    let mut header = tar::Header::new_ustar();
                    header.set_size(bytes.len() as u64);
                    header.set_mode(0o644);
                    tar.append_data(&mut header, format!("{index:09}.{ending}"), &*bytes)
                        .map_err(at)?;
                }
                num_written += 1;
            }
            Err(error) => skipped.push(Skipped::unreadable(source.place(index), &error)),
        }
    }
    let hashed = tar.into_inner().map_err(at)?;
    let file_on_disk = hashed.file.into_inner().map_err(|error| at(error.into_error()))?;
    file_on_disk.sync_all().map_err(at)?;
    fs::rename(&partial, &path).map_err(at)?;
    let entry = ShardEntry {
        file,
        samples: num_written,
        bytes: hashed.bytes,
        sha256: hashed
            .hasher
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect(),
        skipped,
    };
    write_json(&entry_path, &entry)?;
    Ok(entry)
}

/// Endings and contents of a sample's files.
fn members(source: &dyn Source, index: usize) -> Result<[(&'static str, Vec<u8>); 3], SampleError> {
    let decoded = contain_panic(|| source.encoded(index));
    let (ending, image) = decoded.unwrap_or_else(|message| {
        Err(SampleError::Panicked {
            name: source.name(index),
            message,
        })
    })?;
    let captions = source.captions(index)?;
    let json = serde_json::json!({ "caption": captions });
    let first = captions.into_iter().next().unwrap_or_default();
    Ok([
        (ending, image),
        ("txt", first.into_bytes()),
        ("json", json.to_string().into_bytes()),
    ])
}

/// Counts and hashes what goes to a file.
struct Hashed {
    file: BufWriter<File>,
    hasher: Sha256,
    bytes: u64,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<Option<T>, ShardError> {
    let wrong = |message: String| ShardError::Index {
        path: path.to_owned(),
        message,
    };
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| wrong(error.to_string())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(wrong(error.to_string())),
    }
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), ShardError> {
    let write = |file: &mut BufWriter<File>| Ok(serde_json::to_writer_pretty(file, value)?);
    write_whole(path, write).map_err(|source| ShardError::Write {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::{EmojiConfig, EmojiSource, EmojiSplit, FolderConfig, WebDatasetConfig};

    /// Seven good pictures, of which one has two captions, and a file that is none.
    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let mut lines = Vec::new();
        for i in 0..8_u8 {
            let name = if i % 2 == 0 {
                format!("{i}.PNG")
            } else {
                format!("{i}.bmp")
            };
            let path = folder.path().join(&name);
            match i {
                5 => fs::write(&path, "no picture").unwrap(),
                _ => image::GrayImage::from_pixel(3, 2, image::Luma([i]))
                    .save(&path)
                    .unwrap(),
            }
            let caption = match i {
                3 => serde_json::json!(["three", "trois"]),
                _ => serde_json::json!(format!("number {i}")),
            };
            lines.push(serde_json::json!({"image": name, "caption": caption}).to_string());
        }
        fs::write(folder.path().join("captions.jsonl"), lines.join("\n")).unwrap();
        folder
    }

    #[test]
    fn shards_give_back_what_went_in_and_writing_goes_on_where_it_stopped() {
        let folder = folder();
        let source = FolderConfig::new(folder.path()).open().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let index = write_shards(&source, dir.path(), 3, |_| {}).unwrap();
        let sizes: Vec<usize> = index.shards.iter().map(|shard| shard.samples).collect();
        assert_eq!(sizes, [3, 2, 2]);
        assert_eq!(index.shards[1].skipped.len(), 1);
        assert!(index.shards[1].skipped[0].reason.contains("not an image"), "{index:?}");

        let hash =
            |bytes: &[u8]| -> String { Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect() };
        for shard in &index.shards {
            let bytes = fs::read(dir.path().join(&shard.file)).unwrap();
            assert_eq!((bytes.len() as u64, hash(&bytes)), (shard.bytes, shard.sha256.clone()));
        }
        let config = WebDatasetConfig::new([dir.path().join("*.tar").display().to_string()]);
        let config = WebDatasetConfig {
            caption_key: "json".to_owned(),
            ..config
        };
        let read = config.open().unwrap();
        assert_eq!(read.num_samples(), 7);
        for (index, original) in [0, 1, 2, 3, 4, 6, 7].into_iter().enumerate() {
            assert_eq!(read.captions(index).unwrap(), source.captions(original).unwrap());
            assert_eq!(read.encoded(index).unwrap(), source.encoded(original).unwrap());
        }

        // A shard is gone, another was cut: both are written anew and alike, the third stays.
        let before: Vec<Vec<u8>> = index
            .shards
            .iter()
            .map(|shard| fs::read(dir.path().join(&shard.file)).unwrap())
            .collect();
        fs::remove_file(dir.path().join("00000.tar")).unwrap();
        fs::write(dir.path().join("00001.tar"), &before[1][..700]).unwrap();
        let untouched = fs::metadata(dir.path().join("00002.tar")).unwrap().modified().unwrap();
        assert_eq!(write_shards(&source, dir.path(), 3, |_| {}).unwrap(), index);
        for (shard, before) in index.shards.iter().zip(before) {
            assert!(
                fs::read(dir.path().join(&shard.file)).unwrap() == before,
                "{}",
                shard.file
            );
        }
        assert_eq!(
            fs::metadata(dir.path().join("00002.tar")).unwrap().modified().unwrap(),
            untouched
        );
        let names = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        assert!(
            !names
                .into_iter()
                .any(|name| name.to_string_lossy().ends_with("partial"))
        );

        let error = write_shards(&source, dir.path(), 4, |_| {}).unwrap_err().to_string();
        assert!(
            error.contains("shards of 8 samples, 3 in each, and not of 8, 4 in each"),
            "{error}"
        );
    }

    #[test]
    fn a_source_that_has_no_files_is_written_as_png() {
        let config = EmojiConfig {
            split: EmojiSplit::C,
            ..EmojiConfig::default()
        };
        let source = EmojiSource::open(&config).unwrap();
        let (ending, bytes) = source.encoded(5).unwrap();
        assert_eq!(ending, "png");
        let read = crate::decode::decode(&bytes, &crate::decode::DecodeLimits::default()).unwrap();
        let original = source.image(5).unwrap();
        assert_eq!(read.to_rgb(), original.to_rgb());
    }
}
