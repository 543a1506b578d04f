//! burn's metric updates as `key -> value`, with the step they belong to.

use std::collections::HashMap;

use burn::train::metric::store::{MetricsUpdate, Split};
use burn::train::metric::{MetricDefinition, MetricId, NumericEntry};

use crate::metric;

/// Values of one training step, or of one whole validation.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Values {
    /// Steps done when they were taken.
    pub(super) step: usize,
    /// `train` or `valid`.
    pub(super) split: &'static str,
    /// Value by metric key, in the order of the dashboard.
    pub(super) values: Vec<(&'static str, f64)>,
}

/// Turns the updates of a run into [`Values`]: burn's loggers are told the epoch but not the step, so
/// the training updates are counted here.
#[derive(Debug)]
pub(super) struct Collector {
    step: usize,
    keys: HashMap<MetricId, &'static str>,
}

impl Collector {
    /// Counts on from `step` steps already done.
    pub(super) fn new(step: usize) -> Self {
        Self {
            step,
            keys: HashMap::new(),
        }
    }

    /// Notes the name of a metric.
    pub(super) fn define(&mut self, definition: &MetricDefinition) {
        if let Some(spec) = metric::by_title(&definition.name) {
            self.keys.insert(definition.metric_id.clone(), spec.key);
        }
    }

    /// The values to write for an update: those of every training step, and of validations only the
    /// means at their end.
    pub(super) fn collect(&mut self, update: &MetricsUpdate, split: &Split) -> Option<Values> {
        let entries = || {
            update
                .entries_numeric
                .iter()
                .filter_map(|entry| Some((self.keys.get(&entry.entry.metric_id)?, entry)))
        };
        let is_final = entries().any(|(_, entry)| matches!(entry.numeric_entry, Some(NumericEntry::Final(_))));
        let values = entries()
            .filter(|(_, entry)| !entry.entry.serialized_entry.is_not_available())
            .filter_map(|(key, entry)| Some((*key, entry.numeric_entry.as_ref()?.current())))
            .collect();
        let split = match (split, is_final) {
            (Split::Train, false) => "train",
            (Split::Valid, true) => "valid",
            _ => return None,
        };
        if split == "train" {
            self.step += 1;
        }
        Some(Values {
            step: self.step,
            split,
            values,
        })
    }
}
