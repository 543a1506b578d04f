//! The table of a step: what each operation takes of each stage.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::operation::operation_of;
use super::stacks::{Stacks, Stage, Thread};
use crate::train::eval::ReportTable;

/// What a stage took, by the clocks and not by samples. Times are in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::cli::bench) struct StageTime {
    pub(in crate::cli::bench) stage: Stage,
    pub(in crate::cli::bench) wall_ms: f64,
    /// Of all threads.
    pub(in crate::cli::bench) cpu_ms: f64,
    /// Of the thread that runs the step.
    pub(in crate::cli::bench) main_thread_cpu_ms: f64,
}

impl StageTime {
    fn of(&self, thread: Thread) -> f64 {
        match thread {
            Thread::Main => self.main_thread_cpu_ms,
            // Medians by themselves need not fit to the last microsecond.
            Thread::Other => (self.cpu_ms - self.main_thread_cpu_ms).max(0.0),
        }
    }
}

/// What is less would be shown as 0.0 %.
const LEAST_SHARE: f64 = 0.0005;

/// Time of a stage or thread without a sample.
const UNSAMPLED: &str = "too short for a sample";

/// The CPU time of a step by operation: what the clocks say of each stage and thread, divided as its samples are.
///
/// The main thread by itself, since the kernel looks at the timer with its tick: on a busy machine threads that work for less than a
/// tick at a time are caught too seldom.
#[derive(Clone, Debug, Serialize)]
pub(in crate::cli::bench) struct Breakdown {
    samples: u64,
    stages: Vec<StageTime>,
    /// From the largest to the smallest.
    operations: Vec<OperationTime>,
}

#[derive(Clone, Debug, Serialize)]
struct OperationTime {
    operation: &'static str,
    /// Of the CPU time of the step, 0 to 1.
    share: f64,
    cpu_ms: f64,
    stages_cpu_ms: BTreeMap<Stage, f64>,
}

impl Breakdown {
    pub(in crate::cli::bench) fn new(stacks: &Stacks, stages: &[StageTime]) -> Self {
        let mut counts: BTreeMap<(Stage, Thread), BTreeMap<&'static str, u64>> = BTreeMap::new();
        for (stage, thread, frames, count) in stacks.iter() {
            let operations = counts.entry((stage, thread)).or_default();
            *operations.entry(operation_of(frames)).or_default() += count;
        }
        let mut times: BTreeMap<&'static str, BTreeMap<Stage, f64>> = BTreeMap::new();
        for (time, thread) in stages.iter().flat_map(|time| Thread::ALL.map(|thread| (time, thread))) {
            let unsampled = BTreeMap::from([(UNSAMPLED, 1)]);
            let counts = counts.get(&(time.stage, thread)).unwrap_or(&unsampled);
            let period = time.of(thread) / counts.values().sum::<u64>() as f64;
            for (operation, count) in counts {
                let stages = times.entry(operation).or_default();
                *stages.entry(time.stage).or_default() += *count as f64 * period;
            }
        }
        let mut operations: Vec<OperationTime> = times
            .into_iter()
            .map(|(operation, stages_cpu_ms)| OperationTime {
                operation,
                share: 0.0,
                cpu_ms: stages_cpu_ms.values().sum(),
                stages_cpu_ms,
            })
            .filter(|operation| operation.cpu_ms > 0.0)
            .collect();
        let total: f64 = operations.iter().map(|operation| operation.cpu_ms).sum();
        for operation in &mut operations {
            operation.share = if total > 0.0 { operation.cpu_ms / total } else { 0.0 };
        }
        operations.sort_by(|a, b| b.cpu_ms.total_cmp(&a.cpu_ms));
        Self {
            samples: stacks.iter().map(|(.., count)| count).sum(),
            stages: stages.to_vec(),
            operations,
        }
    }

    pub(super) fn samples(&self) -> u64 {
        self.samples
    }

    /// A row for each operation of at least 0.05 % and a column for each stage; the last rows are what the main thread did and how many threads were
    /// busy on average.
    pub(super) fn table(&self) -> ReportTable {
        let mut header = vec!["operation".to_owned(), "%".to_owned(), "CPU ms".to_owned()];
        header.extend(self.stages.iter().map(|time| heading(time.stage).to_owned()));
        let mut rows: Vec<Vec<String>> = self
            .operations
            .iter()
            .filter(|operation| operation.share >= LEAST_SHARE)
            .map(|operation| {
                let mut row = vec![
                    operation.operation.to_owned(),
                    percent(operation.share),
                    milliseconds(operation.cpu_ms),
                ];
                row.extend(self.stages.iter().map(|time| {
                    let time = operation.stages_cpu_ms.get(&time.stage);
                    milliseconds(time.copied().unwrap_or_default())
                }));
                row
            })
            .collect();
        let (cpu, wall) = self.sums();
        let mut all = vec!["all".to_owned(), percent(self.share()), milliseconds(cpu)];
        all.extend(self.stages.iter().map(|time| milliseconds(time.cpu_ms)));
        let mut main = vec![
            "on the main thread".to_owned(),
            String::new(),
            milliseconds(self.main_thread()),
        ];
        main.extend(self.stages.iter().map(|time| milliseconds(time.main_thread_cpu_ms)));
        let mut busy = vec!["threads busy".to_owned(), String::new(), threads(cpu, wall)];
        busy.extend(self.stages.iter().map(|time| threads(time.cpu_ms, time.wall_ms)));
        rows.extend([all, main, busy]);
        ReportTable {
            header,
            rows,
            num_word_columns: 1,
        }
    }

    /// Share and time of each operation in an earlier build, then in this one.
    pub(super) fn table_beside(&self, name: &str, earlier: &Self) -> ReportTable {
        let header = ["operation", &format!("{name}: %"), "CPU ms", "now: %", "CPU ms"].map(str::to_owned);
        let mut names: Vec<&'static str> = earlier.operations.iter().map(|operation| operation.operation).collect();
        names.extend(
            self.operations
                .iter()
                .map(|operation| operation.operation)
                .filter(|name| !earlier.has(name)),
        );
        let mut rows: Vec<Vec<String>> = names
            .into_iter()
            .map(|name| [vec![name.to_owned()], earlier.cells(name), self.cells(name)].concat())
            .collect();
        let all = |breakdown: &Self| vec![percent(breakdown.share()), milliseconds(breakdown.sums().0)];
        rows.push([vec!["all".to_owned()], all(earlier), all(self)].concat());
        ReportTable {
            header: header.to_vec(),
            rows,
            num_word_columns: 1,
        }
    }

    fn has(&self, name: &str) -> bool {
        self.operations.iter().any(|operation| operation.operation == name)
    }

    fn cells(&self, name: &str) -> Vec<String> {
        let found = self.operations.iter().find(|operation| operation.operation == name);
        let (share, time) = found.map_or((0.0, 0.0), |found| (found.share, found.cpu_ms));
        vec![percent(share), milliseconds(time)]
    }

    /// Of all operations together: 1, or 0 without samples.
    fn share(&self) -> f64 {
        self.operations.iter().map(|operation| operation.share).sum()
    }

    fn main_thread(&self) -> f64 {
        self.stages.iter().map(|time| time.main_thread_cpu_ms).sum()
    }

    /// CPU and wall time of all stages.
    fn sums(&self) -> (f64, f64) {
        let sum = |pick: fn(&StageTime) -> f64| self.stages.iter().map(pick).sum();
        (sum(|time| time.cpu_ms), sum(|time| time.wall_ms))
    }
}

/// As in the table of times.
fn heading(stage: Stage) -> &'static str {
    match stage {
        Stage::Optimizer => "optimiser",
        stage => stage.name(),
    }
}

fn percent(share: f64) -> String {
    format!("{:.1}", 100.0 * share)
}

fn milliseconds(time: f64) -> String {
    format!("{time:.1}")
}

fn threads(cpu: f64, wall: f64) -> String {
    if wall > 0.0 {
        format!("{:.2}", cpu / wall)
    } else {
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(stage: Stage, wall_ms: f64, cpu_ms: f64, main_thread_cpu_ms: f64) -> StageTime {
        StageTime {
            stage,
            wall_ms,
            cpu_ms,
            main_thread_cpu_ms,
        }
    }

    fn breakdown(folded: &str, stages: &[StageTime]) -> Breakdown {
        Breakdown::new(&Stacks::from_folded(folded).unwrap(), stages)
    }

    /// Products in three of four samples of the pool, and the main thread seldom caught.
    fn small() -> Breakdown {
        breakdown(
            "forward;other threads;burn_flex::ops::matmul::matmul;gemm_f32::microkernel::avx512f::f32::x4x6 3\n\
             forward;other threads;burn_flex::ops::binary::binary_op 1\n\
             forward;main thread;burn_flex::ops::binary::binary_op 1\n\
             backward;other threads;gemm_f32::microkernel::avx512f::f32::x4x6 1\n",
            &[
                time(Stage::Data, 1.0, 1.0, 1.0),
                time(Stage::Forward, 60.0, 100.0, 20.0),
                time(Stage::Backward, 80.0, 99.0, 0.0),
            ],
        )
    }

    #[test]
    fn each_stage_and_thread_is_divided_by_its_own_samples() {
        let table = small().table();
        assert_eq!(
            table.header,
            ["operation", "%", "CPU ms", "data", "forward", "backward"]
        );
        assert_eq!(
            table.rows,
            [
                ["matrix products", "79.5", "159.0", "0.0", "60.0", "99.0"],
                ["element by element", "20.0", "40.0", "0.0", "40.0", "0.0"],
                ["too short for a sample", "0.5", "1.0", "1.0", "0.0", "0.0"],
                ["all", "100.0", "200.0", "1.0", "100.0", "99.0"],
                ["on the main thread", "", "21.0", "1.0", "20.0", "0.0"],
                ["threads busy", "", "1.42", "1.00", "1.67", "1.24"],
            ]
        );
    }

    #[test]
    fn an_operation_of_one_build_only_has_a_row() {
        let earlier = breakdown(
            "forward;main thread;burn_flex::ops::conv::conv2d_f32 1\nforward;main thread;burn_flex::ops::binary::binary_op 1\n",
            &[time(Stage::Forward, 100.0, 100.0, 100.0)],
        );
        let table = small().table_beside("before", &earlier);
        assert_eq!(table.header, ["operation", "before: %", "CPU ms", "now: %", "CPU ms"]);
        assert_eq!(
            table.rows,
            [
                ["convolution, pooling", "50.0", "50.0", "0.0", "0.0"],
                ["element by element", "50.0", "50.0", "20.0", "40.0"],
                ["matrix products", "0.0", "0.0", "79.5", "159.0"],
                ["too short for a sample", "0.0", "0.0", "0.5", "1.0"],
                ["all", "100.0", "100.0", "100.0", "200.0"],
            ]
        );
    }
}
