//! Checkpoints: a set of files that appears whole or not at all.

mod error;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use burn::lr_scheduler::LrSchedulerRecord;
use burn::optim::OptimizerRecord;
use burn::store::ModuleRecord;
use twinflame_model::weights::Allow;

pub use error::CheckpointError;

use super::durable::{sync, sync_dir};
use super::state::RunState;
use crate::card::Card;

/// Weights, running statistics and, if the recipe asks for it, the averaged weights.
pub(super) const MODEL_FILE: &str = "model.bpk";
/// Moments of the optimiser.
pub(super) const OPTIM_FILE: &str = "optim.bpk";
/// Position in the learning-rate schedule.
pub(super) const SCHEDULER_FILE: &str = "scheduler.bpk";
/// [`RunState`] as JSON.
pub(super) const STATE_FILE: &str = "state.json";
/// The resolved recipe: a checkpoint can be moved without its run.
pub(super) const RECIPE_FILE: &str = "recipe.toml";

/// The [`Card`] as JSON.
pub(super) const CARD_FILE: &str = "card.json";

/// Folders with this prefix are being written or removed and are not checkpoints.
const UNFINISHED: &str = ".unfinished-";
/// A folder with this prefix is the checkpoint that the one of its name is about to replace.
const REPLACED: &str = ".replaced-";
const STEP_PREFIX: &str = "step-";

/// What goes into a checkpoint beside the state.
pub(super) struct Records {
    /// The task: model and averaged model.
    pub(super) model: ModuleRecord,
    /// The optimiser.
    pub(super) optim: OptimizerRecord,
    /// The schedule.
    pub(super) scheduler: LrSchedulerRecord,
}

/// A complete checkpoint on disk.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Its folder, `checkpoints/step-<n>`.
    pub dir: PathBuf,
    /// Its state.
    pub state: RunState,
}

impl Checkpoint {
    /// Opens one checkpoint folder.
    ///
    /// # Errors
    /// If `state.json` is missing, damaged, or of another version.
    pub fn open(dir: &Path) -> Result<Self, CheckpointError> {
        Ok(Self {
            dir: dir.to_owned(),
            state: RunState::read(dir)?,
        })
    }

    /// What its weights were trained with; `None` for one that was written before there were cards.
    ///
    /// # Errors
    /// If `card.json` cannot be read or is damaged.
    pub fn card(&self) -> Result<Option<Card>, CheckpointError> {
        let path = self.dir.join(CARD_FILE);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text.map_err(CheckpointError::io(&path))?,
        };
        let card = serde_json::from_str(&text).map_err(|source| CheckpointError::State { path, source })?;
        Ok(Some(card))
    }

    /// Refuses weights that were trained with something else than what they would be used with; the commit that trained
    /// them, if they say so.
    pub(super) fn check_card(&self, expected: &Card, allow: &Allow) -> Result<Option<String>, CheckpointError> {
        let Some(card) = self.card()? else {
            return Ok(None);
        };
        match card.check(expected, allow) {
            Ok(()) => Ok(card.commit),
            Err(source) => Err(CheckpointError::Card {
                path: self.dir.clone(),
                source: Box::new(source),
            }),
        }
    }

    /// Reads the three records.
    pub(super) fn records(&self) -> Result<Records, CheckpointError> {
        let [model, optim, scheduler] = [MODEL_FILE, OPTIM_FILE, SCHEDULER_FILE].map(|name| self.dir.join(name));
        Ok(Records {
            model: ModuleRecord::load(&model).map_err(CheckpointError::record(&model))?,
            optim: OptimizerRecord::load(&optim).map_err(CheckpointError::record(&optim))?,
            scheduler: LrSchedulerRecord::load(&scheduler).map_err(CheckpointError::record(&scheduler))?,
        })
    }
}

/// The checkpoints of one run.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    dir: PathBuf,
    keep_last: usize,
}

impl Checkpoints {
    /// The checkpoints in `dir`, of which the last `keep_last` (at least one) and the best are kept.
    pub fn new(dir: PathBuf, keep_last: usize) -> Self {
        Self {
            dir,
            keep_last: keep_last.max(1),
        }
    }

    /// All complete checkpoints, by step.
    ///
    /// # Errors
    /// If the folder exists but cannot be listed, or a checkpoint in it cannot be read.
    pub fn list(&self) -> Result<Vec<Checkpoint>, CheckpointError> {
        let entries = match fs::read_dir(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(CheckpointError::io(&self.dir))?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(CheckpointError::io(&self.dir))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_checkpoint = match name.strip_prefix(REPLACED) {
                // A process that died between two renames left this one only.
                Some(name) => name.starts_with(STEP_PREFIX) && !self.dir.join(name).exists(),
                None => name.starts_with(STEP_PREFIX),
            };
            if is_checkpoint {
                found.push(Checkpoint::open(&entry.path())?);
            }
        }
        found.sort_by_key(|checkpoint| checkpoint.state.step);
        Ok(found)
    }

    /// The one with the most steps.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    pub fn latest(&self) -> Result<Option<Checkpoint>, CheckpointError> {
        Ok(self.list()?.pop())
    }

    /// The one whose validation was best, as far as the latest one knows.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    pub fn best(&self) -> Result<Option<Checkpoint>, CheckpointError> {
        let all = self.list()?;
        let best = all.last().and_then(|latest| latest.state.best.clone());
        Ok(best.and_then(|best| all.into_iter().find(|checkpoint| checkpoint.state.step == best.step)))
    }

    /// Writes a checkpoint and then removes those that need not be kept.
    ///
    /// The files are written into a folder that does not count as a checkpoint, forced to disk, and
    /// the folder is renamed: a process that dies at any moment leaves the earlier checkpoints as
    /// they were.
    ///
    /// # Errors
    /// If a file cannot be written; the earlier checkpoints are untouched then.
    pub(super) fn write(
        &self,
        state: &RunState,
        recipe: &str,
        card: &str,
        records: Records,
    ) -> Result<Checkpoint, CheckpointError> {
        let json = serde_json::to_string_pretty(state).map_err(|source| CheckpointError::State {
            path: self.dir.join(STATE_FILE),
            source,
        })?;
        let Records {
            model,
            optim,
            scheduler,
        } = records;
        let files: Vec<(&str, WriteFile<'_>)> = vec![
            (
                MODEL_FILE,
                Box::new(|path| model.save(path).map_err(CheckpointError::write(path))),
            ),
            (
                OPTIM_FILE,
                Box::new(|path| optim.save(path).map_err(CheckpointError::write(path))),
            ),
            (
                SCHEDULER_FILE,
                Box::new(|path| scheduler.save(path).map_err(CheckpointError::write(path))),
            ),
            (
                RECIPE_FILE,
                Box::new(|path| fs::write(path, recipe).map_err(CheckpointError::write(path))),
            ),
            (
                CARD_FILE,
                Box::new(|path| fs::write(path, card).map_err(CheckpointError::write(path))),
            ),
            (
                STATE_FILE,
                Box::new(|path| fs::write(path, &json).map_err(CheckpointError::write(path))),
            ),
        ];
        let dir = self.write_set(state.step, files)?;
        self.prune(state)?;
        Ok(Checkpoint {
            dir,
            state: state.clone(),
        })
    }

    fn write_set(&self, step: usize, files: Vec<(&str, WriteFile<'_>)>) -> Result<PathBuf, CheckpointError> {
        fs::create_dir_all(&self.dir).map_err(CheckpointError::write(&self.dir))?;
        self.tidy()?;
        let name = format!("{STEP_PREFIX}{step:08}");
        let unfinished = self.dir.join(format!("{UNFINISHED}{name}"));
        let written = fill(&unfinished, files);
        if written.is_err() {
            // On a full disk the room is wanted; the error that led here is the one to report.
            let _ = fs::remove_dir_all(&unfinished);
        }
        written?;
        self.publish(&unfinished, &name)
    }

    /// Gives a complete set its name. One that has the name already stays readable until the new one has it.
    fn publish(&self, unfinished: &Path, name: &str) -> Result<PathBuf, CheckpointError> {
        let finished = self.dir.join(name);
        let replaced = self.dir.join(format!("{REPLACED}{name}"));
        let replaces = finished.exists();
        if replaces {
            fs::rename(&finished, &replaced).map_err(CheckpointError::write(&replaced))?;
        }
        fs::rename(unfinished, &finished).map_err(CheckpointError::write(&finished))?;
        sync_dir(&self.dir);
        if replaces {
            self.remove(&replaced)?;
        }
        Ok(finished)
    }

    /// Removes what a process that died left behind, and gives a checkpoint back its name.
    fn tidy(&self) -> Result<(), CheckpointError> {
        for entry in fs::read_dir(&self.dir).map_err(CheckpointError::io(&self.dir))? {
            let path = entry.map_err(CheckpointError::io(&self.dir))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if let Some(step) = name.strip_prefix(REPLACED) {
                let place = self.dir.join(step);
                match place.exists() {
                    true => self.remove(&path)?,
                    false => fs::rename(&path, &place).map_err(CheckpointError::io(&place))?,
                }
            } else if name.starts_with(UNFINISHED) {
                fs::remove_dir_all(&path).map_err(CheckpointError::io(&path))?;
            }
        }
        Ok(())
    }

    /// Renames before removing, so that a half removed folder is never taken for a checkpoint.
    fn remove(&self, dir: &Path) -> Result<(), CheckpointError> {
        let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let doomed = self.dir.join(format!("{UNFINISHED}old-{name}"));
        fs::rename(dir, &doomed).map_err(CheckpointError::io(dir))?;
        fs::remove_dir_all(&doomed).map_err(CheckpointError::io(&doomed))
    }

    fn prune(&self, state: &RunState) -> Result<(), CheckpointError> {
        let all = self.list()?;
        let old = all.len().saturating_sub(self.keep_last);
        let best = state.best.as_ref().map(|best| best.step);
        for checkpoint in &all[..old] {
            if Some(checkpoint.state.step) != best {
                self.remove(&checkpoint.dir)?;
            }
        }
        Ok(())
    }
}

/// Writes one file of a set.
type WriteFile<'a> = Box<dyn FnOnce(&Path) -> Result<(), CheckpointError> + 'a>;

/// Writes the files of a set into a new folder and forces them to disk.
fn fill(dir: &Path, files: Vec<(&str, WriteFile<'_>)>) -> Result<(), CheckpointError> {
    fs::create_dir(dir).map_err(CheckpointError::write(dir))?;
    for (file, write) in files {
        let path = dir.join(file);
        write(&path)?;
        sync(&path).map_err(CheckpointError::write(&path))?;
    }
    sync_dir(dir);
    Ok(())
}

#[cfg(test)]
mod tests;
