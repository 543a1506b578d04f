//! The table of a step: what each operation takes of each stage.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::operation::operation_of;
use super::stacks::{Stacks, Stage};
use crate::train::eval::ReportTable;

/// What a stage took, by the clocks and not by samples. Times are in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::cli::bench) struct StageTime {
    pub(in crate::cli::bench) stage: Stage,
    pub(in crate::cli::bench) wall_ms: f64,
    /// Of all threads.
    pub(in crate::cli::bench) cpu_ms: f64,
}

/// The CPU time of a step by operation: the times of its stages, divided as their samples are.
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
    /// Of the CPU time of all stages that have samples, 0 to 1.
    share: f64,
    cpu_ms: f64,
    stages_cpu_ms: BTreeMap<Stage, f64>,
}

impl Breakdown {
    pub(in crate::cli::bench) fn new(stacks: &Stacks, stages: &[StageTime]) -> Self {
        let mut counts: BTreeMap<&'static str, BTreeMap<Stage, u64>> = BTreeMap::new();
        let mut samples: BTreeMap<Stage, u64> = BTreeMap::new();
        for (stage, frames, count) in stacks.iter() {
            *counts
                .entry(operation_of(frames))
                .or_default()
                .entry(stage)
                .or_default() += count;
            *samples.entry(stage).or_default() += count;
        }
        let sampled: BTreeMap<Stage, f64> = stages
            .iter()
            .filter_map(|time| Some((time.stage, time.cpu_ms / *samples.get(&time.stage)? as f64)))
            .collect();
        let times = |counts: BTreeMap<Stage, u64>| -> BTreeMap<Stage, f64> {
            let time = |(stage, count)| Some((stage, count as f64 * sampled.get(&stage)?));
            counts.into_iter().filter_map(time).collect()
        };
        let mut operations: Vec<OperationTime> = counts
            .into_iter()
            .map(|(operation, counts)| {
                let stages_cpu_ms = times(counts);
                OperationTime {
                    operation,
                    share: 0.0,
                    cpu_ms: stages_cpu_ms.values().sum(),
                    stages_cpu_ms,
                }
            })
            .collect();
        let total: f64 = operations.iter().map(|operation| operation.cpu_ms).sum();
        for operation in &mut operations {
            operation.share = if total > 0.0 { operation.cpu_ms / total } else { 0.0 };
        }
        operations.sort_by(|a, b| b.cpu_ms.total_cmp(&a.cpu_ms));
        Self {
            samples: samples.values().sum(),
            stages: stages.to_vec(),
            operations,
        }
    }

    pub(super) fn samples(&self) -> u64 {
        self.samples
    }

    /// A row for each operation and a column for each stage; the last row is how many threads were busy on average.
    pub(super) fn table(&self) -> ReportTable {
        let mut header = vec!["operation".to_owned(), "%".to_owned(), "CPU ms".to_owned()];
        header.extend(self.stages.iter().map(|time| heading(time.stage).to_owned()));
        let mut rows: Vec<Vec<String>> = self
            .operations
            .iter()
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
        let mut busy = vec!["threads busy".to_owned(), String::new(), threads(cpu, wall)];
        busy.extend(self.stages.iter().map(|time| threads(time.cpu_ms, time.wall_ms)));
        rows.extend([all, busy]);
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

    fn time(stage: Stage, wall_ms: f64, cpu_ms: f64) -> StageTime {
        StageTime { stage, wall_ms, cpu_ms }
    }

    /// Products in three of four samples of the forward pass, and in the only one of the backward pass.
    fn breakdown() -> Breakdown {
        let folded = "forward;burn_flex::ops::matmul::matmul;gemm_f32::microkernel::avx512f::f32::x4x6 3\n\
                      forward;burn_flex::ops::binary::binary_op 1\n\
                      backward;gemm_f32::microkernel::avx512f::f32::x4x6 1\n";
        let stages = [
            time(Stage::Data, 1.0, 1.0),
            time(Stage::Forward, 50.0, 80.0),
            time(Stage::Backward, 120.0, 120.0),
        ];
        Breakdown::new(&Stacks::from_folded(folded).unwrap(), &stages)
    }

    #[test]
    fn each_stage_is_divided_by_its_own_samples() {
        let table = breakdown().table();
        assert_eq!(
            table.header,
            ["operation", "%", "CPU ms", "data", "forward", "backward"]
        );
        assert_eq!(
            table.rows,
            [
                ["matrix products", "90.0", "180.0", "0.0", "60.0", "120.0"],
                ["element by element", "10.0", "20.0", "0.0", "20.0", "0.0"],
                // The stage without samples is in the sum of times only.
                ["all", "100.0", "201.0", "1.0", "80.0", "120.0"],
                ["threads busy", "", "1.18", "1.00", "1.60", "1.00"],
            ]
        );
    }

    #[test]
    fn an_operation_of_one_build_only_has_a_row() {
        let folded = "forward;burn_flex::ops::conv::conv2d_f32 1\nforward;burn_flex::ops::binary::binary_op 1\n";
        let earlier = Breakdown::new(
            &Stacks::from_folded(folded).unwrap(),
            &[time(Stage::Forward, 50.0, 100.0)],
        );
        let table = breakdown().table_beside("before", &earlier);
        assert_eq!(table.header, ["operation", "before: %", "CPU ms", "now: %", "CPU ms"]);
        assert_eq!(
            table.rows,
            [
                ["convolution, pooling", "50.0", "50.0", "0.0", "0.0"],
                ["element by element", "50.0", "50.0", "10.0", "20.0"],
                ["matrix products", "0.0", "0.0", "90.0", "180.0"],
                ["all", "100.0", "100.0", "100.0", "201.0"],
            ]
        );
    }

    #[test]
    fn nothing_sampled_is_no_share() {
        let table = Breakdown::new(&Stacks::default(), &[time(Stage::Step, 2.0, 3.0)]).table();
        assert_eq!(table.rows[0], ["all", "0.0", "3.0", "3.0"]);
    }
}
