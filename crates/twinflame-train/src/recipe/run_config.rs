//! The `[run]` section: how long a run is, what it keeps and when it looks at the validation set.

use serde::{Deserialize, Serialize};

/// Length, checkpoints and validation of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RunConfig {
    /// Passes over the training data. Exactly one of this and `num_steps`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_epochs: Option<usize>,
    /// Optimiser steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_steps: Option<usize>,
    /// Epochs between two validations. Default 1. The last step is always followed by one.
    pub valid_every_epochs: usize,
    /// Epochs between two checkpoints. Default 1. The last step and an interruption always write one.
    pub save_every_epochs: usize,
    /// Steps between two checkpoints inside an epoch. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub save_every_steps: Option<usize>,
    /// Minutes between two checkpoints, at the end of the step in which they are over; any checkpoint starts them anew.
    /// When a run saves does not change what it computes. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub save_every_minutes: Option<f64>,
    /// Checkpoints kept beside the best one. Default 2.
    pub keep_last: usize,
    /// Steps between two lines where there is no dashboard. Default 50.
    pub log_every_steps: usize,
    /// What the best checkpoint is best at. Default `recall`.
    pub best: BestMetric,
    /// Validations without a better one after which the run stops. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_after_validations: Option<usize>,
}

/// Judge of the best checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BestMetric {
    /// Mean of recall@1 in both directions over the validation set; of the averaged weights if there are any.
    #[default]
    Recall,
    /// Validation loss.
    Loss,
}

impl BestMetric {
    /// Whether `new` beats `old`.
    pub fn is_better(self, new: f64, old: f64) -> bool {
        match self {
            Self::Recall => new > old,
            Self::Loss => new < old,
        }
    }
}

impl Default for RunConfig {
    fn default() -> Self {
        Self {
            num_epochs: None,
            num_steps: None,
            valid_every_epochs: 1,
            save_every_epochs: 1,
            save_every_steps: None,
            save_every_minutes: None,
            keep_last: 2,
            log_every_steps: 50,
            best: BestMetric::Recall,
            stop_after_validations: None,
        }
    }
}

impl RunConfig {
    /// Checks the values; an error is the key and what is wrong with it.
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        match (self.num_epochs, self.num_steps) {
            (Some(_), Some(_)) => {
                return Err((
                    "num_steps",
                    "num_epochs and num_steps exclude each other: keep one".into(),
                ));
            }
            (None, None) => {
                return Err((
                    "num_steps",
                    "the length of the run is missing: set num_steps or num_epochs".into(),
                ));
            }
            _ => {}
        }
        let at_least_1 = [
            ("num_epochs", self.num_epochs),
            ("num_steps", self.num_steps),
            ("valid_every_epochs", Some(self.valid_every_epochs)),
            ("save_every_epochs", Some(self.save_every_epochs)),
            ("save_every_steps", self.save_every_steps),
            ("keep_last", Some(self.keep_last)),
            ("log_every_steps", Some(self.log_every_steps)),
            ("stop_after_validations", self.stop_after_validations),
        ];
        if let Some((key, _)) = at_least_1.into_iter().find(|(_, value)| *value == Some(0)) {
            return Err((key, "must be at least 1".into()));
        }
        match self.save_every_minutes {
            Some(minutes) if minutes.is_nan() || minutes <= 0.0 => Err((
                "save_every_minutes",
                format!("{minutes} is out of range: it must be above 0"),
            )),
            _ => Ok(()),
        }
    }

    /// Steps of the whole run when an epoch has `steps_per_epoch`.
    pub fn total_steps(&self, steps_per_epoch: usize) -> usize {
        match (self.num_steps, self.num_epochs) {
            (Some(steps), _) => steps,
            (None, epochs) => epochs.unwrap_or_default() * steps_per_epoch,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_one_length() {
        let both = RunConfig {
            num_epochs: Some(1),
            num_steps: Some(1),
            ..RunConfig::default()
        };
        assert!(both.check().unwrap_err().1.contains("exclude each other"));
        assert!(RunConfig::default().check().unwrap_err().1.contains("is missing"));
        let epochs = RunConfig {
            num_epochs: Some(3),
            ..RunConfig::default()
        };
        epochs.check().unwrap();
        assert_eq!(epochs.total_steps(26), 78);
        let steps = RunConfig {
            num_steps: Some(100),
            ..RunConfig::default()
        };
        assert_eq!(steps.total_steps(26), 100);
    }

    #[test]
    fn zeros_are_named() {
        let config = RunConfig {
            num_steps: Some(5),
            keep_last: 0,
            ..RunConfig::default()
        };
        assert_eq!(config.check().unwrap_err().0, "keep_last");
    }

    #[test]
    fn minutes_between_checkpoints_are_above_0() {
        for (minutes, is_right) in [
            (0.5, true),
            (f64::INFINITY, true),
            (0.0, false),
            (-1.0, false),
            (f64::NAN, false),
        ] {
            let config = RunConfig {
                num_steps: Some(5),
                save_every_minutes: Some(minutes),
                ..RunConfig::default()
            };
            let checked = config.check();
            assert_eq!(checked.is_ok(), is_right, "{checked:?}");
            assert!(is_right || checked.unwrap_err().0 == "save_every_minutes");
        }
    }

    #[test]
    fn recall_rises_and_loss_falls() {
        assert!(BestMetric::Recall.is_better(0.2, 0.1) && !BestMetric::Recall.is_better(0.1, 0.1));
        assert!(BestMetric::Loss.is_better(0.1, 0.2) && !BestMetric::Loss.is_better(f64::NAN, 0.2));
    }
}
