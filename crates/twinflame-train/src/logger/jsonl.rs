//! `metrics.jsonl`: one JSON object per training step and per validation.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use burn::train::logger::MetricLogger;
use burn::train::metric::store::{EpochSummary, MetricsUpdate, Split};
use burn::train::metric::{MetricDefinition, NumericEntry};
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::fault::LogFault;
use super::values::{Collector, Values};

/// Appends lines such as `{"step":12,"epoch":1,"split":"train","loss":4.81,...}` to a file. A value that
/// is not a number is `null`.
#[derive(Debug)]
pub struct JsonlLogger {
    path: PathBuf,
    file: File,
    collector: Collector,
    fault: LogFault,
}

impl JsonlLogger {
    /// Opens `path` for appending, after `step` steps already written. What cannot be written is told to `fault`.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn append(path: &Path, step: usize, fault: &LogFault) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self {
            path: path.to_owned(),
            file,
            collector: Collector::new(step),
            fault: fault.clone(),
        })
    }

    /// A run that is killed keeps its last lines: each is written as a whole, which costs nothing beside a step.
    fn write(mut file: &File, values: &Values, epoch: usize) -> io::Result<()> {
        let mut line = serde_json::to_vec(&Line { values, epoch })?;
        line.push(b'\n');
        file.write_all(&line)
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
        if let Some(values) = self.collector.collect(&update, split) {
            let Self { path, file, fault, .. } = self;
            fault.guard(path, || Self::write(file, &values, epoch));
        }
    }

    /// Nothing: the file is not read back during a run. That it answers at all is what [`settle`](super::settle) needs.
    fn read_numeric(&mut self, _name: &str, _epoch: usize, _split: &Split) -> Result<Vec<NumericEntry>, String> {
        Ok(Vec::new())
    }

    fn log_metric_definition(&mut self, definition: MetricDefinition) {
        self.collector.define(&definition);
    }

    fn log_epoch_summary(&mut self, _summary: EpochSummary) {}
}

/// Keeps the lines whose step and split `keep` wants: a resumed run writes the later ones again. A line cut short goes too.
///
/// # Errors
/// If the file exists but cannot be read or replaced; it is as it was then.
pub fn keep_lines(path: &Path, keep: impl Fn(usize, &str) -> bool) -> io::Result<()> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    let kept_path = path.with_extension("jsonl.tmp");
    let kept = copy_kept(file, &kept_path, keep).and_then(|()| std::fs::rename(&kept_path, path));
    if kept.is_err() {
        // The error that led here is the one to report.
        let _ = std::fs::remove_file(&kept_path);
    }
    kept
}

fn copy_kept(from: File, to: &Path, keep: impl Fn(usize, &str) -> bool) -> io::Result<()> {
    let mut kept = BufWriter::new(File::create(to)?);
    // Bytes: what a machine that lost power leaves need not be text.
    for line in BufReader::new(from).split(b'\n') {
        let line = line?;
        let parsed: Option<Value> = serde_json::from_slice(&line).ok();
        let wanted = parsed.and_then(|value| {
            let step = usize::try_from(value.get("step")?.as_u64()?).ok()?;
            Some(keep(step, value.get("split")?.as_str()?))
        });
        if wanted == Some(true) {
            kept.write_all(&line)?;
            kept.write_all(b"\n")?;
        }
    }
    kept.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_not_wanted_and_broken_ones_go() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        let kept = "{\"step\":1,\"split\":\"train\"}\n{\"step\":2,\"split\":\"train\"}\n";
        let rest = "{\"step\":2,\"split\":\"valid\"}\n{\"step\":3,\"split\":\"train\"}\n\0\u{fffd}\n{\"ste";
        let mut bytes = format!("{kept}{rest}").into_bytes();
        bytes.push(0xff);
        std::fs::write(&path, bytes).unwrap();
        keep_lines(&path, |step, split| step <= 2 && split == "train").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), kept);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_missing_file_is_a_run_that_has_not_written_yet() {
        keep_lines(Path::new("/nowhere/metrics.jsonl"), |_, _| true).unwrap();
    }

    #[test]
    fn values_are_written_exactly_and_what_is_no_number_as_null() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        let logger = JsonlLogger::append(&path, 6, &LogFault::default()).unwrap();
        let loss = f64::from(4.812_345_f32);
        let values = Values {
            step: 7,
            split: "train",
            values: vec![("loss", loss), ("accuracy_i2t", f64::NAN)],
        };
        JsonlLogger::write(&logger.file, &values, 2).unwrap();
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
