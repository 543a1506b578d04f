//! Checkpoints: a set of files that appears whole or not at all.

mod error;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use burn::lr_scheduler::LrSchedulerRecord;
use burn::optim::OptimizerRecord;
use burn::store::ModuleRecord;
use twinflame_model::weights::Allow;

pub use error::CheckpointError;

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
            if entry.file_name().to_string_lossy().starts_with(STEP_PREFIX) {
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
                Box::new(|path| model.save(path).map_err(CheckpointError::record(path))),
            ),
            (
                OPTIM_FILE,
                Box::new(|path| optim.save(path).map_err(CheckpointError::record(path))),
            ),
            (
                SCHEDULER_FILE,
                Box::new(|path| scheduler.save(path).map_err(CheckpointError::record(path))),
            ),
            (
                RECIPE_FILE,
                Box::new(|path| fs::write(path, recipe).map_err(CheckpointError::io(path))),
            ),
            (
                CARD_FILE,
                Box::new(|path| fs::write(path, card).map_err(CheckpointError::io(path))),
            ),
            (
                STATE_FILE,
                Box::new(|path| fs::write(path, &json).map_err(CheckpointError::io(path))),
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
        fs::create_dir_all(&self.dir).map_err(CheckpointError::io(&self.dir))?;
        self.remove_unfinished()?;
        let name = format!("{STEP_PREFIX}{step:08}");
        let unfinished = self.dir.join(format!("{UNFINISHED}{name}"));
        fs::create_dir(&unfinished).map_err(CheckpointError::io(&unfinished))?;
        for (file, write) in files {
            let path = unfinished.join(file);
            write(&path)?;
            sync(&path)?;
        }
        sync_dir(&unfinished);
        let finished = self.dir.join(name);
        if finished.exists() {
            self.remove(&finished)?;
        }
        fs::rename(&unfinished, &finished).map_err(CheckpointError::io(&finished))?;
        sync_dir(&self.dir);
        Ok(finished)
    }

    /// Removes what a process that died left behind.
    fn remove_unfinished(&self) -> Result<(), CheckpointError> {
        for entry in fs::read_dir(&self.dir).map_err(CheckpointError::io(&self.dir))? {
            let entry = entry.map_err(CheckpointError::io(&self.dir))?;
            if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                fs::remove_dir_all(entry.path()).map_err(CheckpointError::io(&entry.path()))?;
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

/// Forces a file to disk.
fn sync(path: &Path) -> Result<(), CheckpointError> {
    let file = File::options()
        .read(true)
        .write(true)
        .open(path)
        .map_err(CheckpointError::io(path))?;
    file.sync_all().map_err(CheckpointError::io(path))
}

/// Forces a folder's entries to disk where the system can; Windows cannot open a folder for that.
fn sync_dir(path: &Path) {
    if let Ok(dir) = File::open(path) {
        let _ = dir.sync_all();
    }
}

#[cfg(test)]
mod tests {
    use burn::module::Module;

    use super::*;
    use crate::run::state::Best;

    fn state(step: usize) -> RunState {
        RunState {
            step,
            ..RunState::start(0)
        }
    }

    fn records() -> Records {
        Records {
            model: Vec::<burn::nn::Linear>::new().into_record(),
            optim: OptimizerRecord::default(),
            scheduler: LrSchedulerRecord::new(),
        }
    }

    fn steps(checkpoints: &Checkpoints) -> Vec<usize> {
        checkpoints
            .list()
            .unwrap()
            .iter()
            .map(|found| found.state.step)
            .collect()
    }

    #[test]
    fn the_last_ones_and_the_best_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(dir.path().join("checkpoints"), 2);
        for step in [10, 20, 30, 40] {
            let mut state = state(step);
            state.best = Some(Best { step: 10, value: 0.5 });
            checkpoints.write(&state, "", "", records()).unwrap();
        }
        assert_eq!(steps(&checkpoints), [10, 30, 40]);
        assert_eq!(checkpoints.latest().unwrap().unwrap().state.step, 40);
        assert_eq!(checkpoints.best().unwrap().unwrap().state.step, 10);
    }

    #[test]
    fn a_set_cut_short_after_any_file_leaves_the_one_before() {
        let names = [
            MODEL_FILE,
            OPTIM_FILE,
            SCHEDULER_FILE,
            RECIPE_FILE,
            CARD_FILE,
            STATE_FILE,
        ];
        for written in 0..names.len() {
            let dir = tempfile::tempdir().unwrap();
            let checkpoints = Checkpoints::new(dir.path().to_owned(), 1);
            checkpoints.write(&state(10), "", "", records()).unwrap();
            let files = names
                .iter()
                .enumerate()
                .map(|(index, name)| {
                    let write: WriteFile<'_> = Box::new(move |path: &Path| {
                        fs::write(path, "x").map_err(CheckpointError::io(path))?;
                        match index == written {
                            true => Err(CheckpointError::Missing { path: path.to_owned() }),
                            false => Ok(()),
                        }
                    });
                    (*name, write)
                })
                .collect();
            assert!(checkpoints.write_set(20, files).is_err());
            let latest = checkpoints.latest().unwrap().unwrap();
            assert_eq!(latest.state.step, 10);
            latest.records().unwrap();
            // The next one is written over what was left.
            checkpoints.write(&state(20), "", "", records()).unwrap();
            assert_eq!(steps(&checkpoints), [20]);
        }
    }

    #[test]
    fn writing_a_step_again_replaces_it() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(dir.path().to_owned(), 3);
        checkpoints.write(&state(10), "", "", records()).unwrap();
        let mut again = state(10);
        again.finished = true;
        checkpoints.write(&again, "", "", records()).unwrap();
        assert!(checkpoints.latest().unwrap().unwrap().state.finished);
    }

    #[test]
    fn a_format_of_the_future_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(dir.path().to_owned(), 3);
        let written = checkpoints
            .write(&RunState { format: 2, ..state(1) }, "", "", records())
            .err();
        // Pruning reads the list again and meets it.
        assert!(matches!(written, Some(CheckpointError::Format { found: 2, .. })));
    }
}
