//! The result as a table or as JSON.

use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;

use super::measure::{Lap, Measurement, Parts};
use super::profile::Profile;
use super::workload::Workload;
use crate::cli::table::bytes;
use crate::device::Selected;

/// Everything that a reader needs to compare two results.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    model: String,
    device: String,
    device_description: String,
    precision: &'static str,
    recompute: bool,
    batch_size: usize,
    micro_batch_size: Option<usize>,
    steps: usize,
    /// Median, in milliseconds, as all times here.
    step_ms: f64,
    data_ms: Option<f64>,
    forward_ms: Option<f64>,
    backward_ms: Option<f64>,
    optimizer_ms: Option<f64>,
    /// User and system time of all threads, as the next four.
    step_cpu_ms: f64,
    data_cpu_ms: Option<f64>,
    forward_cpu_ms: Option<f64>,
    backward_cpu_ms: Option<f64>,
    optimizer_cpu_ms: Option<f64>,
    samples_per_second: f64,
    peak_memory_bytes: Option<u64>,
    /// Forward passes and, as two each, backward passes, by the count of `twinflame models`: three forward passes' worth
    /// for a CLIP, more for an ALBEF, whose step runs its encoders several times.
    model_flops_per_step: f64,
    model_flops_per_second: f64,
    matmul_flops_per_second: f64,
    share_of_matmul_rate: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) profile: Option<Profile>,
}

impl Report {
    pub(super) fn new(model: &str, selected: &Selected, workload: &Workload, measured: &Measurement) -> Self {
        let seconds = measured.step.wall.as_secs_f64();
        let flops = workload.step_flops();
        let wall = |pick: fn(&Parts) -> Lap| measured.parts.as_ref().map(|parts| milliseconds(pick(parts).wall));
        let cpu = |pick: fn(&Parts) -> Lap| measured.parts.as_ref().map(|parts| milliseconds(pick(parts).cpu));
        Self {
            model: model.to_owned(),
            device: selected.id.clone(),
            device_description: selected.description.clone(),
            precision: workload.precision.name(),
            recompute: workload.recompute,
            batch_size: workload.batch_size,
            micro_batch_size: workload.micro_batch_size,
            steps: workload.steps,
            step_ms: milliseconds(measured.step.wall),
            data_ms: wall(|parts| parts.data),
            forward_ms: wall(|parts| parts.forward),
            backward_ms: wall(|parts| parts.backward),
            optimizer_ms: wall(|parts| parts.optimizer),
            step_cpu_ms: milliseconds(measured.step.cpu),
            data_cpu_ms: cpu(|parts| parts.data),
            forward_cpu_ms: cpu(|parts| parts.forward),
            backward_cpu_ms: cpu(|parts| parts.backward),
            optimizer_cpu_ms: cpu(|parts| parts.optimizer),
            samples_per_second: workload.batch_size as f64 / seconds,
            peak_memory_bytes: measured.peak_bytes,
            model_flops_per_step: flops,
            model_flops_per_second: flops / seconds,
            matmul_flops_per_second: measured.matmul_flops,
            share_of_matmul_rate: flops / seconds / measured.matmul_flops,
            profile: None,
        }
    }

    /// What was measured, in a line.
    pub(super) fn workload(&self) -> String {
        let micro = self
            .micro_batch_size
            .map(|size| format!(" by {size}"))
            .unwrap_or_default();
        let recompute = if self.recompute { ", recompute" } else { "" };
        format!(
            "{}, batch {}{micro}, {}{recompute}, {}",
            self.model, self.batch_size, self.precision, self.device
        )
    }

    /// The report for a reader on a terminal.
    pub(super) fn table(&self) -> String {
        let mut text = format!("{}: median of {} steps\n", self.workload(), self.steps);
        let mut line = |name: &str, value: String| {
            // Writing to a string does not fail.
            let _ = writeln!(text, "  {name:<16} {value:>30}");
        };
        let times = |wall: f64, cpu: f64| format!("{wall:.1} ms, {cpu:.1} ms of CPU");
        line("step", times(self.step_ms, self.step_cpu_ms));
        for (name, wall, cpu) in [
            ("  data", self.data_ms, self.data_cpu_ms),
            ("  forward", self.forward_ms, self.forward_cpu_ms),
            ("  backward", self.backward_ms, self.backward_cpu_ms),
            ("  optimiser", self.optimizer_ms, self.optimizer_cpu_ms),
        ] {
            if let (Some(wall), Some(cpu)) = (wall, cpu) {
                line(name, times(wall, cpu));
            }
        }
        line("samples", format!("{:.1} /s", self.samples_per_second));
        if let Some(peak) = self.peak_memory_bytes {
            line("peak memory", bytes(peak));
        }
        let giga = |flops: f64| format!("{:.1} GFLOP/s", flops / 1e9);
        line("model", giga(self.model_flops_per_second));
        line("matrix product", giga(self.matmul_flops_per_second));
        line("share", format!("{:.0} %", 100.0 * self.share_of_matmul_rate));
        text.trim_end().to_owned()
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
