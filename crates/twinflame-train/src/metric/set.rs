//! Which metrics a run has.

use std::sync::Arc;

use burn::train::SupervisedTraining;

use super::{ScalarMetric, Scores, spec};
use crate::task::{ClipTask, ClipTaskConfig};
use crate::watchdog::Watchdog;

/// Registers the metrics of a run with burn's trainer.
pub(crate) fn register(
    training: SupervisedTraining<ClipTask>,
    task: &ClipTaskConfig,
    watchdog: &Arc<Watchdog>,
    scores: &Scores,
) -> SupervisedTraining<ClipTask> {
    let loss = ScalarMetric::step(&spec::LOSS, |values, _| Some(values.model.loss));
    let i2t = ScalarMetric::step(&spec::ACCURACY_I2T, |values, _| Some(100.0 * values.model.accuracy_i2t));
    let t2i = ScalarMetric::step(&spec::ACCURACY_T2I, |values, _| Some(100.0 * values.model.accuracy_t2i));
    let mut training = training
        .metric_train_numeric(loss.clone().watched(watchdog.clone()))
        .metric_train_numeric(i2t.clone())
        .metric_train_numeric(t2i.clone())
        .metric_train_numeric(ScalarMetric::step(&spec::LOGIT_SCALE, |values, _| {
            Some(values.logit_scale)
        }))
        .metric_train_numeric(ScalarMetric::step(&spec::LEARNING_RATE, |_, metadata| {
            metadata.lr.as_ref().map(|lr| lr.base())
        }))
        .metric_train_numeric(ScalarMetric::pairs_per_second())
        .metric_train_numeric(ScalarMetric::data_wait());
    if task.max_grad_norm.is_some() {
        training = training.metric_train_numeric(ScalarMetric::step(&spec::GRAD_NORM, |values, _| values.grad_norm));
    }
    training = training
        .metric_valid_numeric(loss)
        .metric_valid_numeric(i2t)
        .metric_valid_numeric(t2i);
    for spec in [
        &spec::RECALL_I2T_1,
        &spec::RECALL_T2I_1,
        &spec::RECALL_I2T_5,
        &spec::RECALL_T2I_5,
    ] {
        training = training.metric_valid_numeric(ScalarMetric::score(spec, scores.clone()));
    }
    if task.ema_decay.is_some() {
        training = training.metric_valid_numeric(ScalarMetric::step(&spec::EMA_LOSS, |values, _| {
            values.average.map(|average| average.loss)
        }));
        for spec in [&spec::EMA_RECALL_I2T_1, &spec::EMA_RECALL_T2I_1] {
            training = training.metric_valid_numeric(ScalarMetric::score(spec, scores.clone()));
        }
    }
    training
}
