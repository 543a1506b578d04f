//! `experiment.log`: warnings and errors of the run and of the libraries below it.

use std::fs::OpenOptions;
use std::panic::{set_hook, take_hook};
use std::path::PathBuf;

use burn::train::{ApplicationLoggerInstaller, FileApplicationLoggerInstaller};

use super::error::RunError;
use super::folder::RunFolder;

/// Sends the process's log to the file, and leaves it to the program what a panic looks like.
pub(super) struct LogFile(PathBuf);

impl LogFile {
    /// Makes the file: burn panics where it cannot.
    pub(super) fn create(folder: &RunFolder) -> Result<Self, RunError> {
        let path = folder.log_file();
        let made = OpenOptions::new().create(true).append(true).open(&path);
        made.map_err(RunError::io(&path))?;
        Ok(Self(path))
    }
}

impl ApplicationLoggerInstaller for LogFile {
    fn install(&self) -> Result<(), String> {
        let programs = take_hook();
        let installed = FileApplicationLoggerInstaller::new(&self.0).install();
        // burn's own hook announces a fatal error also where there is none: when the reader of a pipe has gone away.
        set_hook(Box::new(move |info| {
            programs(info);
            tracing::error!("{info}");
        }));
        installed
    }
}
