//! What can be wrong with a checkpoint.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use burn::store::RecordError;

use crate::card::CardMismatch;
use crate::run::state::FORMAT;

/// A checkpoint that cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// A file or folder cannot be read, listed, renamed or removed.
    #[error("cannot access {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file or folder of a new checkpoint cannot be written: the disk is full, or not there. Nothing of it is left.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// A record file is damaged, or does not belong to this model.
    #[error("cannot use the records in {}", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<RecordError>,
    },
    /// `state.json` or `card.json` is damaged.
    #[error("{} does not describe a checkpoint", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// Made for something else than its recipe says now.
    #[error("{}: {source}", path.display())]
    Card {
        /// The checkpoint.
        path: PathBuf,
        /// What differs.
        source: Box<CardMismatch>,
    },
    /// Written by another version.
    #[error("{} has checkpoint format {found}, this version reads {FORMAT}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The format found.
        found: u32,
    },
    /// No checkpoint where one was asked for.
    #[error("there is no checkpoint in {}: give a run folder (runs/<name>-<n>) or one of its checkpoints/step-<n>", path.display())]
    Missing {
        /// The folder.
        path: PathBuf,
    },
}

impl CheckpointError {
    pub(in crate::run) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    pub(in crate::run) fn write<E: Error + Send + Sync + 'static>(path: &Path) -> impl FnOnce(E) -> Self {
        let path = path.to_owned();
        move |source| Self::Write {
            path,
            source: Box::new(source),
        }
    }

    pub(in crate::run) fn record(path: &Path) -> impl FnOnce(RecordError) -> Self {
        let path = path.to_owned();
        move |source| Self::Record {
            path,
            source: Box::new(source),
        }
    }
}
