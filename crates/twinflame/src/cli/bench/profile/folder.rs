//! The folder of a profile: `flame.svg`, `stacks.folded` and `report.json`.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Deserialize;

use super::breakdown::StageTime;
use super::sampler::flame_graph;
use super::stacks::Stacks;
use crate::train::eval::PartialFile;

const FLAME: &str = "flame.svg";
const STACKS: &str = "stacks.folded";
const REPORT: &str = "report.json";

/// The files of a profile, begun before the work: a folder that cannot be written should not show after it.
pub(in crate::cli::bench) struct ProfileFolder {
    path: PathBuf,
    flame: PartialFile,
    stacks: PartialFile,
    report: PartialFile,
}

impl ProfileFolder {
    /// Makes the folder, unless it is there.
    ///
    /// # Errors
    ///
    /// If that fails, or no file can be written in it.
    pub(in crate::cli::bench) fn create(path: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(path)
            .with_context(|| format!("--profile: cannot make the folder {}", path.display()))?;
        let file = |name: &str| PartialFile::create(&path.join(name));
        Ok(Self {
            path: path.to_owned(),
            flame: file(FLAME)?,
            stacks: file(STACKS)?,
            report: file(REPORT)?,
        })
    }

    pub(in crate::cli::bench) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the files.
    ///
    /// # Errors
    ///
    /// If the disk refuses.
    pub(in crate::cli::bench) fn write(mut self, title: &str, stacks: &Stacks, report: &str) -> anyhow::Result<()> {
        let folded = stacks.folded();
        let writing = |name: &str| format!("cannot write {}", self.path.join(name).display());
        flame_graph(title, &folded, &mut self.flame).with_context(|| writing(FLAME))?;
        self.stacks
            .write_all(folded.as_bytes())
            .with_context(|| writing(STACKS))?;
        writeln!(self.report, "{report}").with_context(|| writing(REPORT))?;
        for file in [self.flame, self.stacks, self.report] {
            file.finish()?;
        }
        Ok(())
    }
}

/// A profile that an earlier command left.
pub(in crate::cli::bench) struct Earlier {
    pub(super) folder: PathBuf,
    pub(super) stacks: Stacks,
    pub(super) stages: Vec<StageTime>,
}

/// What is read of a report.
#[derive(Deserialize)]
struct EarlierReport {
    profile: EarlierProfile,
}

#[derive(Deserialize)]
struct EarlierProfile {
    stages: Vec<StageTime>,
}

impl Earlier {
    /// Reads stacks and times of stages; operations are told anew, so that both are told alike.
    ///
    /// # Errors
    ///
    /// If a file is not there or not what `--profile` writes.
    pub(in crate::cli::bench) fn read(folder: &Path) -> anyhow::Result<Self> {
        let read = |name: &str| {
            let path = folder.join(name);
            let text = std::fs::read_to_string(&path).with_context(|| {
                format!(
                    "--profile-before: cannot read {}; it takes a folder that --profile wrote",
                    path.display()
                )
            })?;
            anyhow::Ok((path, text))
        };
        let (path, text) = read(STACKS)?;
        let stacks = Stacks::from_folded(&text).map_err(|line| {
            anyhow::anyhow!(
                "{}, line {line}: expected stage;thread;frame;frame and a count",
                path.display()
            )
        })?;
        let (path, text) = read(REPORT)?;
        let report: EarlierReport = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        Ok(Self {
            folder: folder.to_owned(),
            stacks,
            stages: report.profile.stages,
        })
    }
}
