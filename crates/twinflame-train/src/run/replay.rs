//! `skipped.jsonl`: what a run could not use of its data.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::PathBuf;

use twinflame_data::ImageTextLoader;
use twinflame_data::report::replay_list;

use super::durable;
use super::error::RunError;
use super::folder::RunFolder;

/// The replay list of a run: the shards and samples that opening left out, and those that could not be read when their turn came, each
/// with its reason, a line of JSON each. Sorted, so that it does not tell how often the run was stopped.
pub(super) struct ReplayList {
    path: PathBuf,
    loaders: Vec<ImageTextLoader>,
    /// What the file holds.
    written: BTreeSet<String>,
}

impl ReplayList {
    /// For a run that starts or goes on in `folder` with the data of `loaders`.
    ///
    /// # Errors
    /// A list that is there and cannot be read.
    pub(super) fn open(folder: &RunFolder, loaders: Vec<ImageTextLoader>) -> Result<Self, RunError> {
        let path = folder.replay_list();
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            text => text.map_err(RunError::io(&path))?,
        };
        Ok(Self {
            path,
            loaders,
            written: text.lines().map(str::to_owned).collect(),
        })
    }

    /// Writes the list if it has grown.
    ///
    /// # Errors
    /// A disk that refuses.
    pub(super) fn save(&mut self) -> Result<(), RunError> {
        let mut lines = self.written.clone();
        for loader in &self.loaders {
            lines.extend(replay_list(loader.source().report(), &loader.bad_samples()));
        }
        if lines == self.written {
            return Ok(());
        }
        let text: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
        durable::write(&self.path, &text).map_err(RunError::io(&self.path))?;
        self.written = lines;
        Ok(())
    }
}
