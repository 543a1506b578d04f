//! Sampled stacks as text: frames from the outermost to the innermost, separated by semicolons, and how often they were seen.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::{Deserialize, Serialize};

/// A part of a step that is timed and sampled by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::cli::bench) enum Stage {
    /// Upload and normalisation.
    Data,
    Forward,
    Backward,
    Optimizer,
    /// All of these: a step in micro-batches, whose parts alternate.
    Step,
}

impl Stage {
    const ALL: [Self; 5] = [Self::Data, Self::Forward, Self::Backward, Self::Optimizer, Self::Step];

    /// As in files.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Forward => "forward",
            Self::Backward => "backward",
            Self::Optimizer => "optimizer",
            Self::Step => "step",
        }
    }
}

/// How often each stack was seen in each stage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::cli::bench) struct Stacks {
    counts: BTreeMap<(Stage, String), u64>,
}

/// Frames that only pass a call on: they tell nothing and, since rayon's repeat with each division of the work, tear equal stacks apart.
const PLUMBING: &[&str] = &[
    "core::ops::function::",
    "core::panic::unwind_safe::",
    "std::panic::",
    "std::panicking::",
    "rayon_core::unwind::",
    "rayon_core::job::",
    "rayon_core::join::",
    "rayon_core::registry::in_worker",
    "rayon_core::registry::Registry::in_worker",
    "rayon::iter::plumbing::bridge_producer_consumer::helper::{{closure}}",
    "std::thread::local::LocalKey",
];

/// The innermost of these is where a stage begins; what is outside of it is the same in all stacks.
const BEGINNINGS: &[&str] = &[
    "cli::bench::measure::",
    "cli::bench::profile::sampler::",
    "rayon_core::registry::ThreadBuilder::run",
];

impl Stacks {
    /// Counts a stack, given from its innermost frame outwards.
    #[cfg_attr(
        not(all(feature = "profile", any(target_os = "linux", target_os = "macos"))),
        allow(dead_code, reason = "nothing samples here")
    )]
    pub(super) fn add<'a>(&mut self, stage: Stage, frames: impl Iterator<Item = &'a str>, count: u64) {
        let mut kept: Vec<&str> = frames
            .take_while(|frame| !is_any(frame, BEGINNINGS))
            .filter(|frame| !is_any(frame, PLUMBING))
            .collect();
        kept.dedup();
        kept.reverse();
        // As other tools write them: a semicolon in a type is a colon.
        let kept: Vec<String> = kept.into_iter().map(|frame| frame.replace(';', ":")).collect();
        *self.counts.entry((stage, kept.join(";"))).or_default() += count;
    }

    /// Stage, frames from the innermost outwards, and count of each stack.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Stage, impl Iterator<Item = &str> + Clone, u64)> {
        self.counts
            .iter()
            .map(|((stage, frames), count)| (*stage, frames.rsplit(';'), *count))
    }

    /// A line for each stack, with its stage as the outermost frame.
    pub(super) fn folded(&self) -> String {
        let mut text = String::new();
        for ((stage, frames), count) in &self.counts {
            let separator = if frames.is_empty() { "" } else { ";" };
            // Writing to a string does not fail.
            let _ = writeln!(text, "{}{separator}{frames} {count}", stage.name());
        }
        text
    }

    /// Reads what [`folded`](Self::folded) wrote.
    ///
    /// # Errors
    ///
    /// The number of the first line that is none of a stack, from 1.
    pub(super) fn from_folded(text: &str) -> Result<Self, usize> {
        let mut stacks = Self::default();
        for (index, line) in text.lines().enumerate() {
            let (stage, frames, count) = parsed(line).ok_or(index + 1)?;
            *stacks.counts.entry((stage, frames.to_owned())).or_default() += count;
        }
        Ok(stacks)
    }
}

fn parsed(line: &str) -> Option<(Stage, &str, u64)> {
    let (stack, count) = line.rsplit_once(' ')?;
    let (name, frames) = stack.split_once(';').unwrap_or((stack, ""));
    let stage = Stage::ALL.into_iter().find(|stage| stage.name() == name)?;
    Some((stage, frames, count.parse().ok()?))
}

fn is_any(frame: &str, patterns: &[&str]) -> bool {
    patterns.iter().any(|pattern| frame.contains(pattern))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a thread of the pool, from the innermost frame outwards.
    const POOL: [&str; 9] = [
        "gemm_f32::microkernel::avx512f::f32::x4x6",
        "gemm_common::gemm::gemm_basic_generic::{{closure}}",
        "rayon::iter::plumbing::bridge_producer_consumer::helper",
        "rayon_core::join::join_context::{{closure}}",
        "rayon::iter::plumbing::bridge_producer_consumer::helper",
        "<rayon_core::job::StackJob<L,F,R> as rayon_core::job::Job>::execute",
        "rayon_core::registry::WorkerThread::wait_until_cold",
        "rayon_core::registry::ThreadBuilder::run",
        "std::sys::backtrace::__rust_begin_short_backtrace",
    ];

    #[test]
    fn divisions_of_the_work_leave_one_frame() {
        let mut stacks = Stacks::default();
        stacks.add(Stage::Forward, POOL.into_iter(), 2);
        stacks.add(Stage::Forward, POOL.into_iter(), 1);
        assert_eq!(
            stacks.folded(),
            "forward;rayon_core::registry::WorkerThread::wait_until_cold;rayon::iter::plumbing::bridge_producer_consumer::helper;\
             gemm_common::gemm::gemm_basic_generic::{{closure}};gemm_f32::microkernel::avx512f::f32::x4x6 3\n"
        );
    }

    #[test]
    fn what_was_written_is_read() {
        let mut stacks = Stacks::default();
        stacks.add(
            Stage::Data,
            ["<impl core::fmt::Debug for [u8; 4]>::fmt", "a b"].into_iter(),
            3,
        );
        stacks.add(Stage::Optimizer, std::iter::empty(), 1);
        let folded = stacks.folded();
        assert_eq!(
            folded,
            "data;a b;<impl core::fmt::Debug for [u8: 4]>::fmt 3\noptimizer 1\n"
        );
        assert_eq!(Stacks::from_folded(&folded), Ok(stacks));
    }

    #[test]
    fn a_damaged_line_is_named() {
        for damaged in ["forward;a", "forward;a -1", "sideways;a 3", ""] {
            assert_eq!(
                Stacks::from_folded(&format!("data;a 1\n{damaged}\n")),
                Err(2),
                "{damaged}"
            );
        }
    }
}
