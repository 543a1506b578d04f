//! A look at the validation set: loss and accuracy batch by batch, recall over the whole set.

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use twinflame_data::ImageTextBatch;

use crate::eval::{EvalError, RetrievalReport, pair_retrieval};
use crate::metric::spec;
use crate::recipe::BestMetric;
use crate::task::{Embeddings, Task};

/// Recall is shown at 1 and 5.
const KS: [usize; 2] = [1, 5];

/// Embeddings of the pairs seen so far, for recall over the whole set.
pub(super) struct Validation {
    task: Task,
    model: Gathered,
    average: Gathered,
    image_ids: Vec<i64>,
    caption_ids: Vec<i64>,
    loss_sum: f64,
    pairs: usize,
}

#[derive(Default)]
struct Gathered {
    images: Vec<Tensor<2>>,
    texts: Vec<Tensor<2>>,
}

/// Figures of a whole validation.
pub(super) struct Figures {
    /// By metric key, shares in percent.
    pub(super) values: BTreeMap<&'static str, f64>,
    /// Value of the recipe's `run.best`.
    pub(super) best: f64,
}

impl Validation {
    /// Begins with the weights of `task`, which must be off autodiff.
    pub(super) fn new(task: Task) -> Self {
        Self {
            task,
            model: Gathered::default(),
            average: Gathered::default(),
            image_ids: Vec::new(),
            caption_ids: Vec::new(),
            loss_sum: 0.0,
            pairs: 0,
        }
    }

    /// The task whose weights are validated.
    pub(super) fn task(&self) -> &Task {
        &self.task
    }

    /// Embeds a batch.
    pub(super) fn gather(&mut self, batch: &ImageTextBatch) {
        self.model.push(self.task.embed(batch));
        if let Some(averaged) = self.task.embed_averaged(batch) {
            self.average.push(averaged);
        }
        self.image_ids.extend(&batch.image_ids);
        self.caption_ids.extend(&batch.caption_ids);
    }

    /// Counts the loss of a batch.
    pub(super) fn add_loss(&mut self, loss: f64, pairs: usize) {
        self.loss_sum += loss * pairs as f64;
        self.pairs += pairs;
    }

    /// Recall over everything gathered; `None` if nothing was.
    pub(super) fn figures(self, best: BestMetric) -> Result<Option<Figures>, EvalError> {
        if self.image_ids.is_empty() {
            return Ok(None);
        }
        let loss = self.loss_sum / self.pairs as f64;
        let report = self.model.retrieval(&self.image_ids, &self.caption_ids)?;
        let mut values = BTreeMap::from([
            (spec::RECALL_I2T_1.key, percent(report.image_to_text.recall_at(1))),
            (spec::RECALL_T2I_1.key, percent(report.text_to_image.recall_at(1))),
            (spec::RECALL_I2T_5.key, percent(report.image_to_text.recall_at(5))),
            (spec::RECALL_T2I_5.key, percent(report.text_to_image.recall_at(5))),
        ]);
        let mut judged = report;
        if !self.average.images.is_empty() {
            judged = self.average.retrieval(&self.image_ids, &self.caption_ids)?;
            values.insert(spec::EMA_RECALL_I2T_1.key, percent(judged.image_to_text.recall_at(1)));
            values.insert(spec::EMA_RECALL_T2I_1.key, percent(judged.text_to_image.recall_at(1)));
        }
        let recall = 0.5 * (percent(judged.image_to_text.recall_at(1)) + percent(judged.text_to_image.recall_at(1)));
        let best = match best {
            BestMetric::Recall => recall,
            BestMetric::Loss => loss,
        };
        Ok(Some(Figures { values, best }))
    }
}

impl Gathered {
    fn push(&mut self, embeds: Embeddings) {
        self.images.push(embeds.images);
        self.texts.push(embeds.texts);
    }

    fn retrieval(self, image_ids: &[i64], caption_ids: &[i64]) -> Result<RetrievalReport, EvalError> {
        pair_retrieval(
            Tensor::cat(self.images, 0),
            Tensor::cat(self.texts, 0),
            image_ids,
            caption_ids,
            &KS,
        )
    }
}

fn percent(share: Option<f64>) -> f64 {
    100.0 * share.unwrap_or(f64::NAN)
}
