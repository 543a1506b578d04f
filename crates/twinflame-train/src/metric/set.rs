//! Which metrics a run has.

use std::sync::Arc;

use burn::train::SupervisedTraining;

use super::{ScalarMetric, Scores, spec};
use crate::task::Task;
use crate::watchdog::Watchdog;

/// Registers the metrics of a run with burn's trainer.
pub(crate) fn register(
    mut training: SupervisedTraining<Task>,
    task: &Task,
    watchdog: &Arc<Watchdog>,
    scores: &Scores,
) -> SupervisedTraining<Task> {
    let shown = task.metrics();
    for spec in shown.train {
        let metric = ScalarMetric::step(spec);
        training = training.metric_train_numeric(match spec.key == spec::LOSS.key {
            true => metric.watched(watchdog.clone()),
            false => metric,
        });
    }
    training = training
        .metric_train_numeric(ScalarMetric::learning_rate())
        .metric_train_numeric(ScalarMetric::pairs_per_second())
        .metric_train_numeric(ScalarMetric::data_wait());
    if task.reports_grad_norm() {
        training = training.metric_train_numeric(ScalarMetric::step(&spec::GRAD_NORM));
    }
    for spec in shown.valid {
        training = training.metric_valid_numeric(ScalarMetric::step(spec));
    }
    for spec in shown.scores {
        training = training.metric_valid_numeric(ScalarMetric::score(spec, scores.clone()));
    }
    training
}
