//! The quantities of a run, with the names under which they are shown and written.

/// One quantity.
#[derive(Debug, PartialEq)]
pub struct MetricSpec {
    /// Key in `metrics.jsonl` and tag in TensorBoard.
    pub key: &'static str,
    /// Title in the dashboard.
    pub title: &'static str,
    /// Name in plain lines; `i>t` is image to text.
    pub short: &'static str,
    /// Unit in the dashboard.
    pub unit: Option<&'static str>,
    /// Whether more is better.
    pub higher_is_better: bool,
    /// Digits after the point in the dashboard.
    pub precision: usize,
}

impl MetricSpec {
    /// A number as tasks compute it in the unit of this quantity: shares, 0 to 1, become percent.
    pub(crate) fn in_unit(&self, value: f64) -> f64 {
        match self.unit {
            Some("%") => 100.0 * value,
            _ => value,
        }
    }

    /// A value with its unit, as the dashboard and plain lines show it.
    pub fn show(&self, value: f64) -> String {
        // A learning rate of 2.5e-7 is not 0.
        let vanishes = value != 0.0 && value.abs() < 0.1_f64.powi(self.precision as i32 - 1) && self.unit.is_none();
        let number = match vanishes {
            true => format!("{value:.2e}"),
            false => format!("{value:.*}", self.precision),
        };
        match self.unit {
            Some("%") => format!("{number}%"),
            Some(unit) => format!("{number} {unit}"),
            None => number,
        }
    }
}

/// A quantity in percent, of which more is better.
const fn share(key: &'static str, title: &'static str, short: &'static str) -> MetricSpec {
    MetricSpec {
        key,
        title,
        short,
        unit: Some("%"),
        higher_is_better: true,
        precision: 2,
    }
}

/// The loss that is minimised, in nats.
pub const LOSS: MetricSpec = MetricSpec {
    key: "loss",
    title: "Loss",
    short: "loss",
    unit: None,
    higher_is_better: false,
    precision: 4,
};
/// Share of the batch's images whose best caption is their own.
pub const ACCURACY_I2T: MetricSpec = share("accuracy_i2t", "Accuracy image to text", "acc i>t");
/// Share of the batch's captions whose best image is their own.
pub const ACCURACY_T2I: MetricSpec = share("accuracy_t2i", "Accuracy text to image", "acc t>i");
/// The factor that multiplies cosine similarities: `exp` of the learned parameter.
pub const LOGIT_SCALE: MetricSpec = MetricSpec {
    key: "logit_scale",
    title: "Logit scale",
    short: "scale",
    unit: None,
    higher_is_better: true,
    precision: 2,
};
/// Learning rate of the step.
pub const LEARNING_RATE: MetricSpec = MetricSpec {
    key: "learning_rate",
    title: "Learning rate",
    short: "lr",
    unit: None,
    higher_is_better: true,
    precision: 6,
};
/// Image-text pairs trained on per second.
pub const SAMPLES_PER_SECOND: MetricSpec = MetricSpec {
    key: "samples_per_s",
    title: "Samples per second",
    short: "speed",
    unit: Some("pairs/s"),
    higher_is_better: true,
    precision: 1,
};
/// Share of a step's time spent waiting for the loader.
pub const DATA_WAIT: MetricSpec = MetricSpec {
    key: "data_wait",
    title: "Waiting for data",
    short: "data",
    unit: Some("%"),
    higher_is_better: false,
    precision: 1,
};
/// Loss of image-text contrast, in nats.
pub const ITC: MetricSpec = MetricSpec {
    key: "itc",
    title: "ITC loss",
    short: "itc",
    unit: None,
    higher_is_better: false,
    precision: 4,
};
/// Loss of image-text matching, in nats.
pub const ITM: MetricSpec = MetricSpec {
    key: "itm",
    title: "ITM loss",
    short: "itm",
    unit: None,
    higher_is_better: false,
    precision: 4,
};
/// Loss of masked language modelling, in nats per token.
pub const MLM: MetricSpec = MetricSpec {
    key: "mlm",
    title: "MLM loss",
    short: "mlm",
    unit: None,
    higher_is_better: false,
    precision: 4,
};
/// Share of pairs that are told right as matching or not.
pub const ITM_ACCURACY: MetricSpec = share("itm_accuracy", "ITM accuracy", "itm acc");
/// Share of masked tokens that are predicted right.
pub const MLM_ACCURACY: MetricSpec = share("mlm_accuracy", "MLM accuracy", "mlm acc");
/// Share of the momentum model in the targets.
pub const ALPHA: MetricSpec = MetricSpec {
    key: "alpha",
    title: "Alpha",
    short: "alpha",
    unit: None,
    higher_is_better: true,
    precision: 3,
};
/// What similarities are divided by.
pub const TEMPERATURE: MetricSpec = MetricSpec {
    key: "temperature",
    title: "Temperature",
    short: "temp",
    unit: None,
    higher_is_better: false,
    precision: 4,
};
/// L2 norm of the whole gradient before clipping.
pub const GRAD_NORM: MetricSpec = MetricSpec {
    key: "grad_norm",
    title: "Gradient norm",
    short: "grad",
    unit: None,
    higher_is_better: false,
    precision: 3,
};
/// Validation loss of the averaged weights, in nats.
pub const EMA_LOSS: MetricSpec = MetricSpec {
    key: "ema_loss",
    title: "EMA loss",
    short: "EMA loss",
    unit: None,
    higher_is_better: false,
    precision: 4,
};
/// Recall over the whole validation set.
pub const RECALL_I2T_1: MetricSpec = share("recall_i2t_1", "R@1 image to text", "R@1 i>t");
/// Recall over the whole validation set.
pub const RECALL_T2I_1: MetricSpec = share("recall_t2i_1", "R@1 text to image", "R@1 t>i");
/// Recall over the whole validation set.
pub const RECALL_I2T_5: MetricSpec = share("recall_i2t_5", "R@5 image to text", "R@5 i>t");
/// Recall over the whole validation set.
pub const RECALL_T2I_5: MetricSpec = share("recall_t2i_5", "R@5 text to image", "R@5 t>i");
/// Recall of the averaged weights.
pub const EMA_RECALL_I2T_1: MetricSpec = share("ema_recall_i2t_1", "EMA R@1 image to text", "EMA R@1 i>t");
/// Recall of the averaged weights.
pub const EMA_RECALL_T2I_1: MetricSpec = share("ema_recall_t2i_1", "EMA R@1 text to image", "EMA R@1 t>i");

/// Recall of the trained weights.
pub const RECALLS: [&MetricSpec; 4] = [&RECALL_I2T_1, &RECALL_T2I_1, &RECALL_I2T_5, &RECALL_T2I_5];

/// Every quantity.
pub const ALL: [&MetricSpec; 22] = [
    &LOSS,
    &ITC,
    &ITM,
    &MLM,
    &ITM_ACCURACY,
    &MLM_ACCURACY,
    &ACCURACY_I2T,
    &ACCURACY_T2I,
    &LOGIT_SCALE,
    &ALPHA,
    &TEMPERATURE,
    &LEARNING_RATE,
    &SAMPLES_PER_SECOND,
    &DATA_WAIT,
    &RECALL_I2T_1,
    &RECALL_T2I_1,
    &RECALL_I2T_5,
    &RECALL_T2I_5,
    &EMA_RECALL_I2T_1,
    &EMA_RECALL_T2I_1,
    &GRAD_NORM,
    &EMA_LOSS,
];

/// The quantity with this dashboard title.
pub fn by_title(title: &str) -> Option<&'static MetricSpec> {
    ALL.into_iter().find(|spec| spec.title == title)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_with_unit_and_small_ones_do_not_vanish() {
        assert_eq!(RECALL_I2T_1.show(48.7), "48.70%");
        assert_eq!(SAMPLES_PER_SECOND.show(1034.26), "1034.3 pairs/s");
        assert_eq!(LEARNING_RATE.show(1e-3), "0.001000");
        assert_eq!(LEARNING_RATE.show(2.5e-7), "2.50e-7");
        assert_eq!(LOSS.show(0.0), "0.0000");
    }

    #[test]
    fn keys_and_titles_name_one_quantity_each() {
        for (index, spec) in ALL.iter().enumerate() {
            assert!(
                ALL[..index]
                    .iter()
                    .all(|other| other.key != spec.key && other.title != spec.title)
            );
            assert_eq!(by_title(spec.title), Some(*spec));
        }
    }
}
