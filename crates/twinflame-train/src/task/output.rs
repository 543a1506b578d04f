use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use burn::{
    tensor::{ExecutionError, Tensor, TensorReadError},
    train::metric::ItemLazy,
};
use twinflame_model::loss::LossScore;

/// What a training or validation step reports.
///
/// The numbers stay on the device, packed into one tensor, until [`values`](Self::values) reads them in a single
/// transfer. Copies share the result, so several metrics cost one readback.
#[derive(Clone, Debug)]
pub struct ClipStepOutput {
    /// Loss and two accuracies, the scale, the norm if there is one, and the average's loss and accuracies.
    packed: Tensor<1>,
    layout: Layout,
    read: Arc<OnceLock<ClipStepValues>>,
    /// Pairs in the batch.
    pub batch_size: usize,
    /// Time the step waited for its batch.
    pub data_wait: Duration,
}

/// Which optional numbers are in the packed tensor.
#[derive(Clone, Copy, Debug)]
struct Layout {
    grad_norm: bool,
    average: bool,
}

/// The numbers of a step on the host.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClipStepValues {
    /// Of the weights that are trained.
    pub model: MatchingValues,
    /// Of the averaged weights: in validation, with `ema_decay`.
    pub average: Option<MatchingValues>,
    /// The factor on cosine similarities, `exp` of the parameter, before the step.
    pub logit_scale: f64,
    /// Global norm of the gradient before clipping: in training, with `max_grad_norm`.
    pub grad_norm: Option<f64>,
}

/// How well images and captions of a batch match.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MatchingValues {
    /// In nats.
    pub loss: f64,
    /// Share of images whose best caption in the batch is a positive, 0 to 1.
    pub accuracy_i2t: f64,
    /// Share of captions whose best image in the batch is a positive, 0 to 1.
    pub accuracy_t2i: f64,
}

impl ClipStepOutput {
    pub(super) fn new(
        score: LossScore,
        logit_scale: Tensor<1>,
        grad_norm: Option<Tensor<1>>,
        average: Option<LossScore>,
    ) -> Self {
        let layout = Layout {
            grad_norm: grad_norm.is_some(),
            average: average.is_some(),
        };
        let mut packed = parts(score);
        packed.push(logit_scale.exp());
        packed.extend(grad_norm);
        packed.extend(average.map(parts).into_iter().flatten());
        let packed = packed.into_iter().map(Tensor::without_autodiff).collect();
        Self {
            packed: Tensor::cat(packed, 0),
            layout,
            read: Arc::new(OnceLock::new()),
            batch_size: 0,
            data_wait: Duration::ZERO,
        }
    }

    pub(super) fn of_batch(self, batch_size: usize, data_wait: Duration) -> Self {
        Self {
            batch_size,
            data_wait,
            ..self
        }
    }

    /// The numbers, read from the device the first time.
    ///
    /// # Errors
    /// If the device fails.
    pub fn values(&self) -> Result<ClipStepValues, TensorReadError> {
        if let Some(values) = self.read.get() {
            return Ok(*values);
        }
        let numbers: Vec<f32> = self.packed.try_to_vec_as()?;
        let mut numbers = numbers.into_iter().map(f64::from);
        let mut next = || numbers.next().unwrap_or(f64::NAN);
        let matching = |next: &mut dyn FnMut() -> f64| MatchingValues {
            loss: next(),
            accuracy_i2t: next(),
            accuracy_t2i: next(),
        };
        let model = matching(&mut next);
        let logit_scale = next();
        let grad_norm = self.layout.grad_norm.then(&mut next);
        let average = self.layout.average.then(|| matching(&mut next));
        let values = ClipStepValues {
            model,
            average,
            logit_scale,
            grad_norm,
        };
        Ok(*self.read.get_or_init(|| values))
    }
}

/// Loss, image-to-text and text-to-image accuracy.
fn parts(score: LossScore) -> Vec<Tensor<1>> {
    vec![score.loss, score.accuracy.image_to_text, score.accuracy.text_to_image]
}

impl ItemLazy for ClipStepOutput {
    /// Starts the pending work; nothing is read back yet.
    fn sync(self) -> Result<Self, ExecutionError> {
        self.packed.device().flush()?;
        Ok(self)
    }
}
