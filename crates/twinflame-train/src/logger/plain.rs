//! Plain lines instead of the dashboard: for logs, pipes and terminals without one.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use burn::train::logger::{EvaluationProgressLogger, TrainingProgressLogger};
use burn::train::metric::{MetricDefinition, MetricId, NumericEntry};
use burn::train::renderer::{
    EvaluationName, MetricState, MetricsRenderer, MetricsRendererEvaluation, MetricsRendererTraining,
};

use crate::metric::{self, spec};
use crate::watchdog::Watchdog;

/// Longest silence between two lines of a training that is under way.
const MAX_SILENCE: Duration = Duration::from_secs(30);

/// Prints one line every so many steps, with means since the line before, and one per validation.
pub struct PlainRenderer<W> {
    out: W,
    plan: Plan,
    step: usize,
    epoch: usize,
    in_training: bool,
    hinted: bool,
    keys: HashMap<MetricId, &'static str>,
    train: HashMap<&'static str, Mean>,
    valid: HashMap<&'static str, f64>,
    started: Instant,
    printed: (usize, Instant),
}

/// Values since the last line.
#[derive(Clone, Copy, Default)]
struct Mean {
    sum: f64,
    count: usize,
    last: f64,
}

/// What the renderer has to know of the run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Steps done before this process.
    pub first_step: usize,
    /// Steps of the whole run.
    pub num_steps: usize,
    /// Steps between two lines.
    pub log_every_steps: usize,
    /// What an epoch is, in words.
    pub epoch: String,
    /// What the losses say; its hint is printed once.
    pub watchdog: Arc<Watchdog>,
}

impl PlainRenderer<io::Stdout> {
    /// Writes to standard output.
    pub fn stdout(plan: Plan) -> Self {
        Self::new(io::stdout(), plan)
    }
}

impl<W: Write + Send + Sync> PlainRenderer<W> {
    /// Writes to `out`.
    pub fn new(out: W, plan: Plan) -> Self {
        let now = Instant::now();
        let printed = (plan.first_step, now);
        Self {
            out,
            step: plan.first_step,
            plan,
            epoch: 0,
            in_training: true,
            hinted: false,
            keys: HashMap::new(),
            train: HashMap::new(),
            valid: HashMap::new(),
            started: now,
            printed,
        }
    }

    /// Nobody is left to tell when the reader of a pipe is gone: the run goes on.
    fn line(&mut self, line: &str) {
        let _ = writeln!(self.out, "{line}");
        let _ = self.out.flush();
    }

    fn store(&mut self, state: MetricState, valid: bool) {
        let MetricState::Numeric(entry, Some(numeric)) = state else {
            return;
        };
        let Some(key) = self.keys.get(&entry.metric_id) else {
            return;
        };
        let value = numeric.current();
        if valid {
            self.valid.insert(key, value);
        } else if !matches!(numeric, NumericEntry::Final(_)) {
            let mean = self.train.entry(key).or_default();
            mean.sum += value;
            mean.count += 1;
            mean.last = value;
        }
    }

    fn after_step(&mut self) {
        self.step += 1;
        let (last_step, last_time) = self.printed;
        let due = self.step.is_multiple_of(self.plan.log_every_steps.max(1)) || last_time.elapsed() >= MAX_SILENCE;
        let first = last_step == self.plan.first_step && self.step == self.plan.first_step + 1;
        if due || first || self.step == self.plan.num_steps {
            self.print_step();
        }
    }

    fn print_step(&mut self) {
        self.printed = (self.step, Instant::now());
        let done = self.step.saturating_sub(self.plan.first_step);
        let left = self.plan.num_steps.saturating_sub(self.step);
        let eta = self.started.elapsed().mul_f64(left as f64 / done.max(1) as f64);
        let mut line = format!("step {:>6}/{}  epoch {:>3}", self.step, self.plan.num_steps, self.epoch);
        let train = std::mem::take(&mut self.train);
        for spec in spec::ALL {
            let Some(mean) = train.get(spec.key) else {
                continue;
            };
            // These two move on a schedule of their own; a mean would be a value of the past.
            let value = match *spec == spec::LOGIT_SCALE || *spec == spec::LEARNING_RATE {
                true => mean.last,
                false => mean.sum / mean.count as f64,
            };
            line.push_str(&format!("  {} {}", spec.short, spec.show(value)));
        }
        self.line(&format!("{line}  left {}", clock(eta)));
        if let Some(hint) = self.plan.watchdog.hint().filter(|_| !self.hinted) {
            self.hinted = true;
            self.line(&format!("note: {hint}"));
        }
    }

    fn print_validation(&mut self) {
        let mut line = format!("step {:>6}/{}  validation", self.step, self.plan.num_steps);
        for spec in spec::ALL {
            if let Some(value) = self.valid.get(spec.key) {
                line.push_str(&format!("  {} {}", spec.short, spec.show(*value)));
            }
        }
        self.valid.clear();
        self.line(&line);
    }
}

/// `h:mm:ss`.
fn clock(duration: Duration) -> String {
    let secs = duration.as_secs();
    format!("{}:{:02}:{:02}", secs / 3600, secs / 60 % 60, secs % 60)
}

impl<W: Write + Send + Sync> MetricsRendererTraining for PlainRenderer<W> {
    fn update_train(&mut self, state: MetricState) {
        self.store(state, false);
    }

    fn update_valid(&mut self, state: MetricState) {
        self.store(state, true);
    }
}

impl<W: Write + Send + Sync> TrainingProgressLogger for PlainRenderer<W> {
    fn start(&mut self, _epochs: usize, starting_epoch: usize, _items: Option<usize>, label: Option<&str>) {
        self.epoch = starting_epoch;
        self.started = Instant::now();
        let from = match self.plan.first_step {
            0 => String::new(),
            step => format!(", continuing after step {step}"),
        };
        let line = format!(
            "training {} for {} steps{from}",
            label.unwrap_or("a model"),
            self.plan.num_steps
        );
        self.line(&line);
        let epoch = self.plan.epoch.clone();
        self.line(&epoch);
    }

    fn update_epoch(&mut self, epoch: usize) {
        self.epoch = epoch + 1;
    }

    fn start_split(&mut self, split: &str, _total_items: usize) {
        self.in_training = split == "train";
    }

    fn update_split(&mut self, _items_processed: usize) {
        if self.in_training {
            self.after_step();
        }
    }

    fn end_split(&mut self) {
        if !self.in_training {
            self.print_validation();
        }
        self.in_training = true;
    }

    fn end(&mut self) {}

    fn log_event_training(&mut self, _event: String) {}
}

impl<W: Write + Send + Sync> EvaluationProgressLogger for PlainRenderer<W> {
    fn start_global_progress(&mut self, _total_tests: usize) {}

    fn start_test(&mut self, _name: &str, _total_items: usize) {}

    fn update_test_progress(&mut self, _items_processed: usize) {}

    fn end_test(&mut self) {}

    fn end_global_progress(&mut self) {}

    fn log_event_evaluation(&mut self, _event: String) {}
}

impl<W: Write + Send + Sync> MetricsRendererEvaluation for PlainRenderer<W> {
    fn update_test(&mut self, _name: EvaluationName, _state: MetricState) {}
}

impl<W: Write + Send + Sync> MetricsRenderer for PlainRenderer<W> {
    fn manual_close(&mut self) {}

    fn register_metric(&mut self, definition: MetricDefinition) {
        if let Some(spec) = metric::by_title(&definition.name) {
            self.keys.insert(definition.metric_id, spec.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(plan: Plan, steps: usize) -> Vec<String> {
        let mut renderer = PlainRenderer::new(Vec::new(), plan);
        renderer.start_split("train", 0);
        for _ in 0..steps {
            renderer.update_split(1);
        }
        String::from_utf8(renderer.out)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn the_first_the_last_and_every_nth_step_are_printed() {
        let plan = Plan {
            first_step: 0,
            num_steps: 25,
            log_every_steps: 10,
            epoch: String::new(),
            watchdog: Arc::new(Watchdog::new(0)),
        };
        let steps: Vec<String> = lines(plan, 25)
            .iter()
            .map(|line| line.split_whitespace().nth(1).unwrap().to_owned())
            .collect();
        assert_eq!(steps, ["1/25", "10/25", "20/25", "25/25"]);
    }

    #[test]
    fn a_resumed_run_counts_on() {
        let plan = Plan {
            first_step: 10,
            num_steps: 12,
            log_every_steps: 100,
            epoch: String::new(),
            watchdog: Arc::new(Watchdog::new(0)),
        };
        let lines = lines(plan, 2);
        assert!(lines[0].contains("11/12") && lines[1].contains("12/12"), "{lines:?}");
    }

    #[test]
    fn durations_read_like_a_clock() {
        assert_eq!(clock(Duration::from_secs(3_723)), "1:02:03");
    }
}
