//! Moments of a run, as its folder shows them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::data::{NUM_STEPS, STEPS_PER_EPOCH};
use crate::training::last_run;

/// What a process is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Doing {
    /// It has written nothing.
    Starting,
    /// Between two steps.
    Training,
    /// It writes, replaces or removes a checkpoint.
    Saving,
    /// It looks at the validation set.
    Validating,
    /// The run is trained, its test figures are not there.
    Testing,
}

/// When to strike.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Aim {
    /// So long after the start.
    After(Duration),
    /// So long after it does this for the first time.
    During(Doing, Duration),
}

/// The folder of a run before a process was started.
pub(crate) struct Before {
    run: Option<PathBuf>,
    step: usize,
    unfinished: BTreeSet<PathBuf>,
    started: Instant,
}

impl Before {
    /// The state of the last run in `place`.
    pub(crate) fn of(place: &Path) -> Self {
        let run = last_run(place).map(|run| place.join(run));
        Self {
            step: run.as_deref().map_or(0, last_checkpoint),
            unfinished: run.as_deref().map(unfinished).unwrap_or_default(),
            run,
            started: Instant::now(),
        }
    }

    /// Whether the moment has come.
    pub(crate) fn is_time(&self, place: &Path, aim: Aim, since: &mut Option<Instant>) -> bool {
        match aim {
            Aim::After(delay) => self.started.elapsed() >= delay,
            Aim::During(doing, delay) => {
                if since.is_none() && self.doing(place) == doing {
                    *since = Some(Instant::now());
                }
                since.is_some_and(|since| since.elapsed() >= delay)
            }
        }
    }

    /// What the process that was started since then is doing, or was when it died.
    pub(crate) fn doing(&self, place: &Path) -> Doing {
        let Some(run) = last_run(place).map(|run| place.join(run)) else {
            return Doing::Starting;
        };
        let known = self.run.as_ref() == Some(&run);
        let (first, old) = match known {
            true => (self.step, self.unfinished.clone()),
            false => (0, BTreeSet::new()),
        };
        if !unfinished(&run).is_subset(&old) {
            return Doing::Saving;
        }
        if last_checkpoint(&run) == NUM_STEPS && is_finished(&run) {
            return Doing::Testing;
        }
        match last_line(&run) {
            Some(line) if line["step"].as_u64().unwrap() as usize > first => {
                let step = line["step"].as_u64().unwrap() as usize;
                let ends_epoch = step.is_multiple_of(STEPS_PER_EPOCH) || step == NUM_STEPS;
                match line["split"] == "train" && ends_epoch {
                    true => Doing::Validating,
                    false => Doing::Training,
                }
            }
            _ => Doing::Starting,
        }
    }
}

fn names(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten();
    entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
}

fn starts_with(path: &Path, prefix: &str) -> bool {
    path.file_name().unwrap().to_str().unwrap().starts_with(prefix)
}

/// Folders of checkpoints that are none (yet, or any more), and the files in them.
fn unfinished(run: &Path) -> BTreeSet<PathBuf> {
    let folders = names(&run.join("checkpoints"));
    let of_process = folders.into_iter().filter(|path| starts_with(path, "."));
    of_process
        .flat_map(|path| names(&path).into_iter().chain([path]))
        .collect()
}

/// Step of the last checkpoint.
pub(crate) fn last_checkpoint(run: &Path) -> usize {
    let folders = names(&run.join("checkpoints"));
    let steps = folders.iter().filter(|path| starts_with(path, "step-"));
    let numbers = steps.map(|path| path.file_name().unwrap().to_str().unwrap()[5..].parse().unwrap());
    numbers.max().unwrap_or(0)
}

fn is_finished(run: &Path) -> bool {
    let file = run.join(format!("checkpoints/step-{NUM_STEPS:08}/state.json"));
    let state = fs::read_to_string(file).ok();
    state.is_some_and(|state| serde_json::from_str::<Value>(&state).unwrap()["finished"] == true)
}

/// The last whole line of the log.
fn last_line(run: &Path) -> Option<Value> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).ok()?;
    text.lines().rev().find_map(|line| serde_json::from_str(line).ok())
}
