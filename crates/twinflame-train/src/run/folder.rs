//! The folder of a run: `runs/<name>-<n>` with the resolved recipe, the model configuration, where it
//! came from, metrics and checkpoints.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::checkpoint::{Checkpoints, RECIPE_FILE};
use super::durable;
use super::error::RunError;
use crate::recipe::ResolvedRecipe;

const MODEL_FILE: &str = "model.json";
const ORIGIN_FILE: &str = "run.json";

/// Where a run came from: `run.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunOrigin {
    /// Embedded recipe or file.
    pub recipe: String,
    /// The `--set` arguments.
    pub set: Vec<String>,
    /// Version of Twinflame.
    pub version: String,
    /// Commit it was built from, or `unknown`.
    pub commit: String,
    /// The device in words.
    pub device: String,
    /// Start of the run in seconds since 1970.
    pub started_unix_secs: u64,
}

impl RunOrigin {
    /// The origin of a run that starts now.
    fn now(recipe: &ResolvedRecipe, commit: &str, device: &str) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            recipe: recipe.source.clone(),
            set: recipe.set.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: commit.to_owned(),
            device: device.to_owned(),
            started_unix_secs: since.as_secs(),
        }
    }
}

/// The folder of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// Makes `parent/<name>-<n>` with the first free `n` after all that are there.
    pub(super) fn create(parent: &Path, name: &str) -> Result<Self, RunError> {
        fs::create_dir_all(parent).map_err(RunError::io(parent))?;
        let mut number = 1 + highest_number(parent, name).map_err(RunError::io(parent))?;
        loop {
            let path = parent.join(format!("{name}-{number}"));
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Self { path }),
                // Another process took the number in between.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(RunError::io(&path)(error)),
            }
        }
    }

    /// The folder `path`, which is there and empty.
    pub(super) fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// The folder of an earlier run.
    ///
    /// # Errors
    /// If there is no recipe in it.
    pub fn open(path: &Path) -> Result<Self, RunError> {
        match path.join(RECIPE_FILE).is_file() {
            true => Ok(Self { path: path.to_owned() }),
            false => Err(RunError::NoRun { path: path.to_owned() }),
        }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The resolved recipe.
    pub fn recipe_file(&self) -> PathBuf {
        self.path.join(RECIPE_FILE)
    }

    /// One JSON object per step and validation.
    pub fn metrics_file(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }

    /// Event files.
    pub fn tensorboard_dir(&self) -> PathBuf {
        self.path.join("tensorboard")
    }

    /// Warnings and errors of the run and of the libraries below it.
    pub fn log_file(&self) -> PathBuf {
        self.path.join("experiment.log")
    }

    /// Its checkpoints, of which `keep_last` and the best are kept.
    pub fn checkpoints(&self, keep_last: usize) -> Checkpoints {
        Checkpoints::new(self.path.join("checkpoints"), keep_last)
    }

    /// Writes model configuration, where the run comes from and, when they are there, the recipe: a folder that has one
    /// can be resumed.
    pub(super) fn write_origin(&self, recipe: &ResolvedRecipe, commit: &str, device: &str) -> Result<(), RunError> {
        // Configurations hold numbers and names only.
        let model = serde_json::to_string_pretty(&recipe.model).unwrap_or_default();
        let origin = RunOrigin::now(recipe, commit, device);
        let origin = serde_json::to_string_pretty(&origin).unwrap_or_default();
        for (name, text) in [
            (MODEL_FILE, model),
            (ORIGIN_FILE, origin),
            (RECIPE_FILE, recipe.to_toml()),
        ] {
            let path = self.path.join(name);
            durable::write(&path, &text).map_err(RunError::io(&path))?;
        }
        durable::sync_dir(&self.path);
        Ok(())
    }
}

/// The highest `n` of the entries `name-<n>`, 0 if there are none.
fn highest_number(parent: &Path, name: &str) -> io::Result<usize> {
    let mut highest = 0;
    for entry in fs::read_dir(parent)? {
        let entry = entry?.file_name();
        let number = entry
            .to_string_lossy()
            .strip_prefix(name)
            .and_then(|rest| rest.strip_prefix('-')?.parse().ok());
        highest = highest.max(number.unwrap_or(0));
    }
    Ok(highest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_a_name_are_numbered_on() {
        let parent = tempfile::tempdir().unwrap();
        let name = |folder: RunFolder| folder.path().file_name().unwrap().to_string_lossy().into_owned();
        assert_eq!(name(RunFolder::create(parent.path(), "emoji").unwrap()), "emoji-1");
        fs::create_dir(parent.path().join("emoji-7")).unwrap();
        fs::create_dir(parent.path().join("emoji-clip-9")).unwrap();
        assert_eq!(name(RunFolder::create(parent.path(), "emoji").unwrap()), "emoji-8");
    }

    #[test]
    fn a_folder_without_a_recipe_is_not_a_run() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(RunFolder::open(folder.path()), Err(RunError::NoRun { .. })));
    }
}
