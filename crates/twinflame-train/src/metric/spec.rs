//! The quantities of a run, with the names under which they are shown and written.

/// One quantity.
#[derive(Debug, PartialEq)]
pub struct MetricSpec {
    /// Key in `metrics.jsonl` and tag in TensorBoard.
    pub key: &'static str,
    /// Title in the dashboard.
    pub title: &'static str,
    /// Unit in the dashboard.
    pub unit: Option<&'static str>,
    /// Whether more is better.
    pub higher_is_better: bool,
    /// Digits after the point in the dashboard.
    pub precision: usize,
}

const fn spec(
    key: &'static str,
    title: &'static str,
    unit: Option<&'static str>,
    higher: bool,
    precision: usize,
) -> MetricSpec {
    MetricSpec {
        key,
        title,
        unit,
        higher_is_better: higher,
        precision,
    }
}

/// Contrastive loss, in nats.
pub const LOSS: MetricSpec = spec("loss", "Loss", None, false, 4);
/// Share of the batch's images whose best caption is their own.
pub const ACCURACY_I2T: MetricSpec = spec("accuracy_i2t", "Accuracy image to text", Some("%"), true, 2);
/// Share of the batch's captions whose best image is their own.
pub const ACCURACY_T2I: MetricSpec = spec("accuracy_t2i", "Accuracy text to image", Some("%"), true, 2);
/// The factor that multiplies cosine similarities: `exp` of the learned parameter.
pub const LOGIT_SCALE: MetricSpec = spec("logit_scale", "Logit scale", None, true, 2);
/// Learning rate of the step.
pub const LEARNING_RATE: MetricSpec = spec("learning_rate", "Learning rate", None, true, 6);
/// Image-text pairs trained on per second.
pub const SAMPLES_PER_SECOND: MetricSpec = spec("samples_per_s", "Samples per second", Some("1/s"), true, 1);
/// Share of a step's time spent waiting for the loader.
pub const DATA_WAIT: MetricSpec = spec("data_wait", "Waiting for data", Some("%"), false, 1);
/// L2 norm of the whole gradient before clipping.
pub const GRAD_NORM: MetricSpec = spec("grad_norm", "Gradient norm", None, false, 3);
/// Validation loss of the averaged weights, in nats.
pub const EMA_LOSS: MetricSpec = spec("ema_loss", "EMA loss", None, false, 4);
/// Recall over the whole validation set.
pub const RECALL_I2T_1: MetricSpec = spec("recall_i2t_1", "R@1 image to text", Some("%"), true, 2);
/// Recall over the whole validation set.
pub const RECALL_T2I_1: MetricSpec = spec("recall_t2i_1", "R@1 text to image", Some("%"), true, 2);
/// Recall over the whole validation set.
pub const RECALL_I2T_5: MetricSpec = spec("recall_i2t_5", "R@5 image to text", Some("%"), true, 2);
/// Recall over the whole validation set.
pub const RECALL_T2I_5: MetricSpec = spec("recall_t2i_5", "R@5 text to image", Some("%"), true, 2);
/// Recall of the averaged weights.
pub const EMA_RECALL_I2T_1: MetricSpec = spec("ema_recall_i2t_1", "EMA R@1 image to text", Some("%"), true, 2);
/// Recall of the averaged weights.
pub const EMA_RECALL_T2I_1: MetricSpec = spec("ema_recall_t2i_1", "EMA R@1 text to image", Some("%"), true, 2);

/// Every quantity.
pub const ALL: [&MetricSpec; 15] = [
    &LOSS,
    &ACCURACY_I2T,
    &ACCURACY_T2I,
    &LOGIT_SCALE,
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
