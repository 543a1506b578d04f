//! Where the CPU time of the timed steps goes: samples of their stacks, by operation and stage.

mod breakdown;
mod folder;
mod operation;
#[cfg_attr(
    not(all(feature = "profile", any(target_os = "linux", target_os = "macos"))),
    path = "no_sampler.rs"
)]
mod sampler;
mod stacks;

pub(super) use breakdown::{Breakdown, StageTime};
pub(super) use folder::{Earlier, ProfileFolder};
pub(super) use sampler::Sampler;
pub(super) use stacks::Stage;

use std::path::Path;

use serde::Serialize;

use crate::train::eval::ReportTable;

/// What a report says of a profile.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Profile {
    folder: String,
    /// A device of its own did the work, of which the host's threads show nothing.
    host_threads_only: bool,
    #[serde(flatten)]
    breakdown: Breakdown,
    /// The same of `--profile-before`.
    before: Option<Before>,
}

#[derive(Clone, Debug, Serialize)]
struct Before {
    folder: String,
    #[serde(flatten)]
    breakdown: Breakdown,
}

impl Profile {
    pub(super) fn new(folder: &Path, host_threads_only: bool, breakdown: Breakdown, before: Option<Earlier>) -> Self {
        Self {
            folder: folder.display().to_string(),
            host_threads_only,
            breakdown,
            before: before.map(|earlier| Before {
                folder: earlier.folder.display().to_string(),
                breakdown: Breakdown::new(&earlier.stacks, &earlier.stages),
            }),
        }
    }

    pub(super) fn folder(&self) -> &str {
        &self.folder
    }

    /// The table by stage and, with an earlier profile, the table of both.
    pub(super) fn tables(&self) -> Vec<ReportTable> {
        let mut tables = vec![self.breakdown.table()];
        if let Some(before) = &self.before {
            tables.push(self.breakdown.table_beside(&before.folder, &before.breakdown));
        }
        tables
    }

    /// What a reader has to know of the table.
    pub(super) fn heading(&self) -> String {
        let host = if self.host_threads_only {
            ", of the host's threads only: what the device computes is not in it"
        } else {
            ""
        };
        format!("CPU time by operation, {} samples{host}", self.breakdown.samples())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_gpu_only_the_host_is_told() {
        let heading = |host_threads_only| {
            let breakdown = Breakdown::new(&stacks::Stacks::default(), &[]);
            Profile::new(Path::new("after"), host_threads_only, breakdown, None).heading()
        };
        assert_eq!(heading(false), "CPU time by operation, 0 samples");
        assert_eq!(
            heading(true),
            "CPU time by operation, 0 samples, of the host's threads only: what the device computes is not in it"
        );
    }
}
