//! Stacks of all threads, taken by the signal of a timer that runs with the CPU time of the process, and their picture.

use std::io::{self, Write};

use anyhow::ensure;
use pprof::{Frames, ProfilerGuard, ProfilerGuardBuilder, UnresolvedReport};

use super::stacks::{Stacks, Stage};

/// Samples in a second of CPU time at most. The kernel looks at the timer with its own tick, so that there are often fewer.
const FREQUENCY_HZ: i32 = 199;

/// Collects stacks, stage by stage.
#[derive(Default)]
pub(in crate::cli::bench) struct Sampler {
    // From the first stage on: to start it anew in each would lose what is shorter than its period.
    timer: Option<ProfilerGuard<'static>>,
    stacks: Stacks,
}

impl Sampler {
    /// Nothing is sampled yet.
    ///
    /// # Errors
    ///
    /// If the binary has no symbols, so that no frame would have a name.
    pub(in crate::cli::bench) fn new() -> anyhow::Result<Self> {
        ensure!(
            has_symbols(),
            "this binary has no symbols, so that nothing in a profile would have a name: build it with cargo build --profile profiling \
             --features profile"
        );
        Ok(Self::default())
    }

    /// Does some work of a stage and samples it.
    ///
    /// # Errors
    ///
    /// That of the work, or if the timer does not start.
    pub(in crate::cli::bench) fn during<R>(
        &mut self,
        stage: Stage,
        work: impl FnOnce() -> anyhow::Result<R>,
    ) -> anyhow::Result<R> {
        if self.timer.is_none() {
            // Some kernels describe the frames of their vDSO wrongly.
            let timer = ProfilerGuardBuilder::default()
                .frequency(FREQUENCY_HZ)
                .blocklist(&["vdso"]);
            self.timer = Some(timer.build()?);
        }
        let before = self.report()?;
        let result = work()?;
        let after = self.report()?;
        for (frames, count) in after.map(|report| report.data).unwrap_or_default() {
            let earlier = before.as_ref().and_then(|report| report.data.get(&frames));
            let count = u64::try_from(count - earlier.copied().unwrap_or_default()).unwrap_or_default();
            if count > 0 {
                let names = names(&Frames::from(frames));
                self.stacks.add(stage, names.iter().map(String::as_str), count);
            }
        }
        Ok(result)
    }

    /// All that was sampled so far.
    fn report(&self) -> anyhow::Result<Option<UnresolvedReport>> {
        let report = |timer: &ProfilerGuard<'static>| timer.report().build_unresolved();
        Ok(self.timer.as_ref().map(report).transpose()?)
    }

    pub(in crate::cli::bench) fn into_stacks(self) -> Stacks {
        self.stacks
    }
}

/// Draws stacks as [`Stacks::folded`] writes them.
pub(super) fn flame_graph(title: &str, folded: &str, writer: impl Write) -> io::Result<()> {
    let mut options = inferno::flamegraph::Options::default();
    options.title = title.to_owned();
    // A function has the same colour in every picture.
    options.deterministic = true;
    inferno::flamegraph::from_lines(&mut options, folded.lines(), writer)
}

/// Functions from the innermost outwards; of a frame, those that were inlined into it come first.
fn names(frames: &Frames) -> Vec<String> {
    frames.frames.iter().flatten().map(pprof::Symbol::name).collect()
}

#[inline(never)]
fn has_symbols() -> bool {
    std::backtrace::Backtrace::force_capture()
        .to_string()
        .contains("has_symbols")
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;
    use std::time::Duration;

    use cpu_time::ThreadTime;

    use super::*;

    #[inline(never)]
    fn a_function_that_takes_a_while() {
        let start = ThreadTime::now();
        let mut sum = 0.0_f64;
        while start.elapsed() < Duration::from_millis(300) {
            for x in 0..10_000 {
                sum = black_box(sum + f64::from(x).sqrt());
            }
        }
    }

    /// One test for all, since a process has one timer.
    #[test]
    fn stages_are_told_apart_and_errors_passed_on() {
        let mut sampler = Sampler::new().unwrap();
        for stage in [Stage::Forward, Stage::Optimizer] {
            sampler
                .during(stage, || {
                    if stage == Stage::Forward {
                        a_function_that_takes_a_while();
                    }
                    Ok(())
                })
                .unwrap();
        }
        let error = sampler
            .during(Stage::Data, || -> anyhow::Result<()> { anyhow::bail!("no") })
            .unwrap_err();
        assert_eq!(error.to_string(), "no");

        let folded = sampler.into_stacks().folded();
        let lines: Vec<&str> = folded
            .lines()
            .filter(|line| line.contains("a_function_that_takes_a_while"))
            .collect();
        assert!(!lines.is_empty(), "{folded}");
        assert!(lines.iter().all(|line| line.starts_with("forward;")), "{folded}");
    }
}
