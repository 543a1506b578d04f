//! Where the bytes of a shard are.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

#[cfg(feature = "remote")]
use super::remote::{Failed, Object};
use super::scan::Span;

/// A shard: a file of this machine, or one on a server.
#[derive(Debug)]
pub(super) enum Shard {
    File(PathBuf),
    #[cfg(feature = "remote")]
    Object(Object),
}

/// What tells whether a shard has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stat {
    /// Size in bytes.
    pub(super) len: u64,
    /// Time of the last change or a server's ETag; empty if neither is known.
    pub(super) stamp: String,
}

impl Shard {
    /// Path or URL, as messages name it.
    pub(super) fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            #[cfg(feature = "remote")]
            Self::Object(object) => object.name().to_owned(),
        }
    }

    /// [`name`](Self::name) as the path that it is to errors.
    pub(super) fn path(&self) -> PathBuf {
        match self {
            Self::File(path) => path.clone(),
            #[cfg(feature = "remote")]
            Self::Object(object) => PathBuf::from(object.name()),
        }
    }

    /// The server that has it, if it is not on this machine.
    pub(super) fn server(&self) -> Option<&str> {
        match self {
            Self::File(_) => None,
            #[cfg(feature = "remote")]
            Self::Object(object) => Some(object.server()),
        }
    }

    /// Size and time or version. Of a server's file the first bytes are read.
    pub(super) fn stat(&self) -> io::Result<Stat> {
        match self {
            Self::File(path) => {
                let metadata = fs::metadata(path)?;
                let changed = metadata
                    .modified()
                    .ok()
                    .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
                Ok(Stat {
                    len: metadata.len(),
                    stamp: changed.map_or_else(String::new, |time| format!("time {}", time.as_nanos())),
                })
            }
            #[cfg(feature = "remote")]
            Self::Object(object) => object.stat(),
        }
    }

    /// The bytes of a span.
    pub(super) fn read(&self, span: Span) -> io::Result<Vec<u8>> {
        match self {
            Self::File(path) => read_span(&mut File::open(path)?, span),
            #[cfg(feature = "remote")]
            Self::Object(object) => object.read(span),
        }
    }

    /// The bytes of two spans.
    pub(super) fn read_two(&self, spans: [Span; 2]) -> io::Result<[Vec<u8>; 2]> {
        match self {
            Self::File(path) => {
                let mut file = File::open(path)?;
                Ok([read_span(&mut file, spans[0])?, read_span(&mut file, spans[1])?])
            }
            #[cfg(feature = "remote")]
            Self::Object(object) => object.read_two(spans),
        }
    }
}

fn read_span(file: &mut File, span: Span) -> io::Result<Vec<u8>> {
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
}

/// Whether a shard could not be read, whatever is in it.
pub(super) fn is_unread(error: &io::Error) -> bool {
    #[cfg(feature = "remote")]
    if failed(error).is_some() {
        return true;
    }
    error.raw_os_error().is_some()
}

/// Whether a server did not answer at all.
pub(super) fn no_answer(error: &io::Error) -> bool {
    #[cfg(feature = "remote")]
    if let Some(failed) = failed(error) {
        return failed.no_answer();
    }
    let _ = error;
    false
}

/// The request behind an error.
#[cfg(feature = "remote")]
pub(super) fn failed(error: &io::Error) -> Option<&Failed> {
    error.get_ref()?.downcast_ref()
}
