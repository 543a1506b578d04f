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

/// Who was seen at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Thread {
    /// The one that runs the step: what it does itself, it does alone.
    Main,
    Other,
}

impl Thread {
    pub(super) const ALL: [Self; 2] = [Self::Main, Self::Other];

    /// As in files.
    fn name(self) -> &'static str {
        match self {
            Self::Main => "main thread",
            Self::Other => "other threads",
        }
    }
}

/// How often each stack was seen in each stage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::cli::bench) struct Stacks {
    counts: BTreeMap<(Stage, Thread, String), u64>,
}

/// Beginnings of names of functions that only pass a call on: they tell nothing and, since rayon's repeat with each division of
/// the work, tear equal stacks apart.
const PLUMBING: &[&str] = &[
    "core::iter::",
    "core::ops::function::",
    "core::panic::unwind_safe::",
    "std::panic::",
    "std::panicking::",
    "std::thread::local::LocalKey",
    "rayon::iter::",
    "rayon_core::unwind::",
    "rayon_core::job::",
    "rayon_core::join::",
    "rayon_core::registry::in_worker",
    "rayon_core::registry::Registry::in_worker",
    "rayon_core::registry::WorkerThread::execute",
];

/// One of rayon's is kept: it says that a thread has a piece of work.
const PIECE: &str = "rayon::iter::plumbing::bridge_producer_consumer::helper";

fn is_plumbing(frame: &str) -> bool {
    let name = frame.trim_start_matches(['<', '&']);
    name != PIECE && PLUMBING.iter().any(|beginning| name.starts_with(beginning))
}

/// The innermost of these is where the main thread begins a stage; what is outside of it is the same in all stacks.
const MAIN_BEGINNINGS: &[&str] = &["cli::bench::measure::", "cli::bench::profile::sampler::Sampler"];

/// The same of a thread of rayon's pool.
const POOL_BEGINNING: &str = "rayon_core::registry::ThreadBuilder::run";

impl Stacks {
    /// Counts a stack, given from its innermost frame outwards.
    #[cfg_attr(
        not(all(feature = "profile", any(target_os = "linux", target_os = "macos"))),
        allow(dead_code, reason = "nothing samples here")
    )]
    pub(super) fn add<'a>(&mut self, stage: Stage, frames: impl Iterator<Item = &'a str>, count: u64) {
        let mut thread = Thread::Other;
        let mut kept = Vec::new();
        for frame in frames {
            if MAIN_BEGINNINGS.iter().any(|beginning| frame.contains(beginning)) {
                thread = Thread::Main;
                break;
            }
            if frame.contains(POOL_BEGINNING) {
                break;
            }
            if !is_plumbing(frame) {
                kept.push(frame);
            }
        }
        kept.dedup();
        kept.reverse();
        // As other tools write them: a semicolon in a type is a colon.
        let kept: Vec<String> = kept.into_iter().map(|frame| frame.replace(';', ":")).collect();
        *self.counts.entry((stage, thread, kept.join(";"))).or_default() += count;
    }

    /// Each stack with its count; its frames from the innermost outwards.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Stage, Thread, impl Iterator<Item = &str> + Clone, u64)> {
        self.counts
            .iter()
            .map(|((stage, thread, frames), count)| (*stage, *thread, frames.rsplit(';'), *count))
    }

    pub(in crate::cli::bench) fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// A line for each stack, with its stage and thread as the outermost frames.
    pub(super) fn folded(&self) -> String {
        let mut text = String::new();
        for ((stage, thread, frames), count) in &self.counts {
            let separator = if frames.is_empty() { "" } else { ";" };
            // Writing to a string does not fail.
            let _ = writeln!(text, "{};{}{separator}{frames} {count}", stage.name(), thread.name());
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
            let (stack, count) = parsed(line).ok_or(index + 1)?;
            *stacks.counts.entry(stack).or_default() += count;
        }
        Ok(stacks)
    }
}

fn parsed(line: &str) -> Option<((Stage, Thread, String), u64)> {
    let (stack, count) = line.rsplit_once(' ')?;
    let mut parts = stack.splitn(3, ';');
    let (stage, thread, frames) = (parts.next()?, parts.next()?, parts.next().unwrap_or_default());
    let stage = Stage::ALL.into_iter().find(|known| known.name() == stage)?;
    let thread = Thread::ALL.into_iter().find(|known| known.name() == thread)?;
    Some(((stage, thread, frames.to_owned()), count.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a thread of the pool, from the innermost frame outwards.
    const POOL: [&str; 10] = [
        "gemm_f32::microkernel::avx512f::f32::x4x6",
        "gemm_common::gemm::gemm_basic_generic::{{closure}}",
        "<rayon::iter::for_each::ForEachConsumer<F> as rayon::iter::plumbing::Folder<T>>::consume_iter",
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
            "forward;other threads;rayon_core::registry::WorkerThread::wait_until_cold;\
             rayon::iter::plumbing::bridge_producer_consumer::helper;\
             gemm_common::gemm::gemm_basic_generic::{{closure}};gemm_f32::microkernel::avx512f::f32::x4x6 3\n"
        );
    }

    /// A type of ours that is an iterator passes nothing on.
    #[test]
    fn iterators_of_others_are_kept() {
        let frames = [
            "<burn_flex::strided_index::StridedIter as core::iter::traits::iterator::Iterator>::next",
            "<core::iter::adapters::map::Map<I,F> as core::iter::traits::iterator::Iterator>::fold",
            "burn_flex::ops::binary::scalar_op_typed",
        ];
        let mut stacks = Stacks::default();
        stacks.add(Stage::Forward, frames.into_iter(), 1);
        let expected = format!("forward;other threads;{};{} 1\n", frames[2], frames[0]);
        assert_eq!(stacks.folded(), expected);
    }

    #[test]
    fn the_main_thread_begins_at_its_stage() {
        let frames = [
            "burn_flex::ops::binary::binary_op",
            "<twinflame_train::task::clip_task::ClipTask as twinflame::cli::bench::staged::StagedStep>::score_all",
            "twinflame::cli::bench::measure::timed",
            "twinflame::cli::bench::run",
        ];
        let mut stacks = Stacks::default();
        stacks.add(Stage::Forward, frames.into_iter(), 1);
        let expected = format!("forward;main thread;{};{} 1\n", frames[1], frames[0]);
        assert_eq!(stacks.folded(), expected);
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
            "data;other threads;a b;<impl core::fmt::Debug for [u8: 4]>::fmt 3\noptimizer;other threads 1\n"
        );
        assert_eq!(Stacks::from_folded(&folded), Ok(stacks));
    }

    #[test]
    fn a_damaged_line_is_named() {
        for damaged in [
            "forward;main thread;a",
            "forward;a 3",
            "forward;main thread;a -1",
            "sideways;main thread;a 3",
            "",
        ] {
            let text = format!("data;main thread;a 1\n{damaged}\n");
            assert_eq!(Stacks::from_folded(&text), Err(2), "{damaged}");
        }
    }
}
