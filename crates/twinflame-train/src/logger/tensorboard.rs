//! TensorBoard event files.

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use burn::train::logger::MetricLogger;
use burn::train::metric::store::{EpochSummary, MetricsUpdate, Split};
use burn::train::metric::{MetricDefinition, NumericEntry};
use syntaxdot_summary::SummaryWriter;

use super::fault::LogFault;
use super::values::{Collector, Values};

/// Writes scalars tagged `train/loss`, `valid/recall_i2t_1` and so on.
pub struct TensorBoardLogger {
    dir: PathBuf,
    writer: SummaryWriter<BufWriter<File>>,
    collector: Collector,
    fault: LogFault,
}

impl std::fmt::Debug for TensorBoardLogger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TensorBoardLogger").finish_non_exhaustive()
    }
}

impl TensorBoardLogger {
    /// Begins a new event file in `dir`, after `step` steps already written. TensorBoard shows all
    /// event files of a folder as one run. What cannot be written is told to `fault`.
    ///
    /// # Errors
    /// If the folder or file cannot be made.
    pub fn create(dir: &Path, step: usize, fault: &LogFault) -> io::Result<Self> {
        Ok(Self {
            dir: dir.to_owned(),
            writer: SummaryWriter::from_prefix(dir.join("twinflame"))?,
            collector: Collector::new(step),
            fault: fault.clone(),
        })
    }

    fn write(writer: &mut SummaryWriter<BufWriter<File>>, values: &Values) -> io::Result<()> {
        for (key, value) in &values.values {
            let tag = format!("{}/{key}", values.split);
            writer.write_scalar(tag, values.step as i64, *value as f32)?;
        }
        Ok(())
    }
}

impl MetricLogger for TensorBoardLogger {
    fn log(&mut self, update: MetricsUpdate, _epoch: usize, split: &Split) {
        if let Some(values) = self.collector.collect(&update, split) {
            let Self { dir, writer, fault, .. } = self;
            fault.guard(dir, || Self::write(writer, &values));
        }
    }

    fn read_numeric(&mut self, _name: &str, _epoch: usize, _split: &Split) -> Result<Vec<NumericEntry>, String> {
        Err("event files are not read back during a run".into())
    }

    fn log_metric_definition(&mut self, definition: MetricDefinition) {
        self.collector.define(&definition);
    }

    fn log_epoch_summary(&mut self, _summary: EpochSummary) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The payloads of a TFRecord file: u64 length, u32 check sum, payload, u32 check sum.
    fn records(mut bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        while !bytes.is_empty() {
            let len = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
            found.push(bytes[12..12 + len].to_vec());
            bytes = &bytes[16 + len..];
        }
        found
    }

    #[test]
    fn an_event_file_holds_version_steps_tags_and_values() {
        let dir = tempfile::tempdir().unwrap();
        let mut logger = TensorBoardLogger::create(dir.path(), 0, &LogFault::default()).unwrap();
        let values = Values {
            step: 5,
            split: "train",
            values: vec![("loss", 42.0)],
        };
        TensorBoardLogger::write(&mut logger.writer, &values).unwrap();
        drop(logger);
        let file = std::fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap();
        assert!(file.file_name().to_string_lossy().contains("tfevents"));
        let records = records(&std::fs::read(file.path()).unwrap());
        assert_eq!(records.len(), 2);
        // Event { wall_time: 1 double, step: 2 varint, file_version: 3 string | summary: 5 message }.
        assert!(records[0].ends_with(b"\x1a\x0dbrain.Event:2"), "{:?}", records[0]);
        // Skip the wall time; then step 5, a summary with one value: tag (field 1), simple_value (field 2).
        let mut expected = vec![0x10, 5, 0x2a, 19, 0x0a, 17, 0x0a, 10];
        expected.extend_from_slice(b"train/loss");
        expected.push(0x15);
        expected.extend_from_slice(&42f32.to_le_bytes());
        assert_eq!(records[1][9..], expected);
    }
}
