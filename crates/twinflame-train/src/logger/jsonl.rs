//! `metrics.jsonl`: one JSON object per training step and per validation.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use burn::train::logger::MetricLogger;
use burn::train::metric::store::{EpochSummary, MetricsUpdate, Split};
use burn::train::metric::{MetricDefinition, NumericEntry};
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::values::{Collector, Values};

/// Appends lines such as `{"step":12,"epoch":1,"split":"train","loss":4.81,...}` to a file. A value that
/// is not a number is `null`.
#[derive(Debug)]
pub struct JsonlLogger {
    path: PathBuf,
    file: BufWriter<File>,
    collector: Collector,
}

impl JsonlLogger {
    /// Opens `path` for appending, after `step` steps already written.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn append(path: &Path, step: usize) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self {
            path: path.to_owned(),
            file: BufWriter::new(file),
            collector: Collector::new(step),
        })
    }

    fn write(&mut self, values: &Values, epoch: usize) -> io::Result<()> {
        let line = Line { values, epoch };
        serde_json::to_writer(&mut self.file, &line)?;
        self.file.write_all(b"\n")?;
        // A run that is killed keeps its last lines; one small write per step costs nothing beside it.
        self.file.flush()
    }
}

/// Keys in reading order, which a JSON map of `serde_json` would sort.
struct Line<'a> {
    values: &'a Values,
    epoch: usize,
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Values { step, split, values } = self.values;
        let head = [
            ("step", Value::from(*step)),
            ("epoch", Value::from(self.epoch)),
            ("split", Value::from(*split)),
        ];
        let values = values.iter().map(|(key, value)| (*key, Value::from(*value)));
        serializer.collect_map(head.into_iter().chain(values))
    }
}

impl MetricLogger for JsonlLogger {
    fn log(&mut self, update: MetricsUpdate, epoch: usize, split: &Split) {
        if let Some(values) = self.collector.collect(&update, split)
            && let Err(error) = self.write(&values, epoch)
        {
            tracing::error!("cannot write {}: {error}", self.path.display());
        }
    }

    fn read_numeric(&mut self, _name: &str, _epoch: usize, _split: &Split) -> Result<Vec<NumericEntry>, String> {
        Err("metrics.jsonl is not read back during a run".into())
    }

    fn log_metric_definition(&mut self, definition: MetricDefinition) {
        self.collector.define(&definition);
    }

    fn log_epoch_summary(&mut self, _summary: EpochSummary) {}
}

/// Drops the lines after `step`, which a resumed run will write again, and a last line cut short.
///
/// # Errors
/// If the file exists but cannot be read or replaced.
pub fn truncate_after(path: &Path, step: usize) -> io::Result<()> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    let kept_path = path.with_extension("jsonl.tmp");
    let mut kept = BufWriter::new(File::create(&kept_path)?);
    for line in BufReader::new(file).lines() {
        let line = line?;
        let parsed: Option<Value> = serde_json::from_str(&line).ok();
        let line_step = parsed.and_then(|value| value.get("step")?.as_u64());
        if line_step.is_some_and(|line_step| line_step <= step as u64) {
            writeln!(kept, "{line}")?;
        }
    }
    kept.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    std::fs::rename(kept_path, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_later_steps_and_broken_lines_go() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        std::fs::write(&path, "{\"step\":1}\n{\"step\":2}\n{\"step\":3}\n{\"ste").unwrap();
        truncate_after(&path, 2).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"step\":1}\n{\"step\":2}\n");
    }

    #[test]
    fn a_missing_file_is_a_run_that_has_not_written_yet() {
        truncate_after(Path::new("/nowhere/metrics.jsonl"), 2).unwrap();
    }

    #[test]
    fn values_are_written_exactly_and_what_is_no_number_as_null() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        let mut logger = JsonlLogger::append(&path, 6).unwrap();
        let loss = f64::from(4.812_345_f32);
        let values = Values {
            step: 7,
            split: "train",
            values: vec![("loss", loss), ("accuracy_i2t", f64::NAN)],
        };
        logger.write(&values, 2).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            text.starts_with("{\"step\":7,\"epoch\":2,\"split\":\"train\",\"loss\":"),
            "{text}"
        );
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["loss"].as_f64(), Some(loss));
        assert!(line["accuracy_i2t"].is_null());
    }
}
