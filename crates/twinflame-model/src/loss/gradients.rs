//! Loss and gradients of a large batch, block of rows by block of rows.

use burn::tensor::{
    Tensor,
    activation::{log_sigmoid, sigmoid},
    assert_shape,
};

use super::{
    ContrastiveLoss, MatchingAccuracy, Targets, add_bias, clip::normalize_rows, scaled_similarities, siglip::signs,
};

/// Logits that one block holds: 4 MiB in f32, of which about ten live at once. A batch of 1,024 is one block.
const BLOCK_ELEMENTS: usize = 1 << 20;

/// Below every logit, and far enough from the end of f32 that differences stay finite.
const LOWEST: f64 = -1e30;

/// The loss of a batch and its gradients with respect to everything it was computed from.
///
/// All tensors are without autodiff.
#[derive(Clone, Debug)]
pub struct LossGradients {
    /// `[1]`, in nats.
    pub loss: Tensor<1>,
    /// In-batch accuracy under the same targets.
    pub accuracy: MatchingAccuracy,
    /// `[batch, embed_dim]`.
    pub image_embeds: Tensor<2>,
    /// `[batch, embed_dim]`.
    pub text_embeds: Tensor<2>,
    /// `[1]`, with respect to the logarithm of the scale.
    pub logit_scale: Tensor<1>,
    /// `[1]`, if there is a bias.
    pub logit_bias: Option<Tensor<1>>,
}

/// The loss of a batch and how well it matches, without gradients.
#[derive(Clone, Debug)]
pub struct LossScore {
    /// `[1]`, in nats.
    pub loss: Tensor<1>,
    /// In-batch accuracy under the same targets.
    pub accuracy: MatchingAccuracy,
}

impl ContrastiveLoss {
    /// Loss and accuracy, in memory that grows with the batch and not with its square: for validation.
    ///
    /// # Shapes
    /// - image_embeds, text_embeds: `[batch, embed_dim]`, rows of length 1
    /// - logit_scale, logit_bias: `[1]`
    ///
    /// # Panics
    /// If `image_embeds` and `text_embeds` differ in shape, `targets` is of another batch size, or the batch is empty.
    #[must_use]
    pub fn score(
        &self,
        image_embeds: Tensor<2>,
        text_embeds: Tensor<2>,
        logit_scale: Tensor<1>,
        logit_bias: Option<Tensor<1>>,
        targets: &Targets,
    ) -> LossScore {
        let batch = Batch::new(image_embeds, text_embeds, logit_scale, logit_bias, targets);
        batch.score(self, batch.rows_per_block())
    }

    /// Loss, accuracy and gradients in closed form, without a tape.
    ///
    /// Equals what backward through [`forward`](Self::forward) gives, in memory that grows with the batch and
    /// not with its square: the similarities are computed in blocks of rows, twice for the softmax (once for the
    /// sums over columns). A batch of 32,768 would otherwise need several matrices of 4 GiB.
    ///
    /// # Shapes
    /// - image_embeds, text_embeds: `[batch, embed_dim]`, rows of length 1
    /// - logit_scale, logit_bias: `[1]`
    ///
    /// # Panics
    /// If `image_embeds` and `text_embeds` differ in shape, `targets` is of another batch size, or the batch is empty.
    #[must_use]
    pub fn gradients(
        &self,
        image_embeds: Tensor<2>,
        text_embeds: Tensor<2>,
        logit_scale: Tensor<1>,
        logit_bias: Option<Tensor<1>>,
        targets: &Targets,
    ) -> LossGradients {
        let batch = Batch::new(image_embeds, text_embeds, logit_scale, logit_bias, targets);
        batch.gradients(self, batch.rows_per_block())
    }
}

/// The inputs of the loss, without autodiff.
pub(super) struct Batch<'a> {
    image_embeds: Tensor<2>,
    text_embeds: Tensor<2>,
    logit_scale: Tensor<1>,
    logit_bias: Option<Tensor<1>>,
    targets: &'a Targets,
    size: usize,
}

/// Rows `start..start + rows` of the logits.
struct Block {
    image_embeds: Tensor<2>, // [rows, embed_dim]
    scaled: Tensor<2>,       // [rows, batch], logits without bias
    logits: Tensor<2>,       // [rows, batch]
    positives: Tensor<2>,    // [rows, batch], ones and zeros
}

impl Block {
    /// Loss summed over the rows, and its gradient with respect to the logits.
    fn loss_and_gradient(&self, columns: &Option<Columns>) -> (Tensor<1>, Tensor<2>) {
        match columns {
            Some(columns) => clip_block(self, columns),
            None => siglip_block(self),
        }
    }
}

/// What the softmax over columns needs to know before any gradient is computed.
struct Columns {
    log_sums: Tensor<2>, // [1, batch]
    counts: Tensor<2>,   // [1, batch], positives in each column
}

impl<'a> Batch<'a> {
    pub(super) fn new(
        image_embeds: Tensor<2>,
        text_embeds: Tensor<2>,
        logit_scale: Tensor<1>,
        logit_bias: Option<Tensor<1>>,
        targets: &'a Targets,
    ) -> Self {
        let [size, embed_dim] = image_embeds.dims();
        assert_shape!(text_embeds, [size, embed_dim]);
        Self {
            image_embeds: image_embeds.without_autodiff(),
            text_embeds: text_embeds.without_autodiff(),
            logit_scale: logit_scale.without_autodiff(),
            logit_bias: logit_bias.map(Tensor::without_autodiff),
            targets,
            size,
        }
    }

    fn blocks(&self, rows: usize) -> impl Iterator<Item = Block> + '_ {
        (0..self.size).step_by(rows).map(move |start| {
            let rows = rows.min(self.size - start);
            let image_embeds = self.image_embeds.clone().narrow(0, start, rows);
            let scaled = scaled_similarities(image_embeds.clone(), self.text_embeds.clone(), self.logit_scale.clone());
            let logits = add_bias(scaled.clone(), self.logit_bias.clone());
            let positives = self.targets.positives_of_rows(start, &logits, self.size);
            Block {
                image_embeds,
                scaled,
                logits,
                positives,
            }
        })
    }

    fn rows_per_block(&self) -> usize {
        (BLOCK_ELEMENTS / self.size).clamp(1, self.size)
    }

    pub(super) fn score(&self, loss: &ContrastiveLoss, rows: usize) -> LossScore {
        let columns = self.columns(loss, rows);
        let mut sum = self.logit_scale.zeros_like();
        let mut matches = Matches::new(self);
        for block in self.blocks(rows) {
            matches.add(&block);
            sum = sum + block.loss_and_gradient(&columns).0;
        }
        LossScore {
            loss: sum / self.size as f64,
            accuracy: matches.accuracy(self.size),
        }
    }

    pub(super) fn gradients(&self, loss: &ContrastiveLoss, rows: usize) -> LossGradients {
        let columns = self.columns(loss, rows);
        let scale = self.logit_scale.clone().exp().reshape([1, 1]);
        let mut sums = Sums::zeros(self);
        let mut matches = Matches::new(self);
        let mut image_embeds = Vec::new();
        for block in self.blocks(rows) {
            matches.add(&block);
            let (loss, by_logits) = block.loss_and_gradient(&columns);
            image_embeds.push(by_logits.clone().matmul(self.text_embeds.clone()) * scale.clone());
            sums.add(loss, by_logits, block);
        }
        let factor = 1.0 / self.size as f64;
        LossGradients {
            loss: sums.loss * factor,
            accuracy: matches.accuracy(self.size),
            image_embeds: Tensor::cat(image_embeds, 0) * factor,
            text_embeds: sums.text_embeds * scale * factor,
            logit_scale: sums.logit_scale * factor,
            logit_bias: self.logit_bias.as_ref().map(|_| sums.logit_bias * factor),
        }
    }

    /// What the loss needs to know about whole columns.
    fn columns(&self, loss: &ContrastiveLoss, rows: usize) -> Option<Columns> {
        match loss {
            ContrastiveLoss::Clip(_) => Some(self.softmax_columns(rows)),
            ContrastiveLoss::SigLip(_) => None,
        }
    }

    /// Log-sum-exp over each column, with a running maximum, and the number of positives in each.
    fn softmax_columns(&self, rows: usize) -> Columns {
        let mut max = self.row(LOWEST);
        let mut sum = self.row(0.0);
        let mut counts = self.row(0.0);
        for block in self.blocks(rows) {
            let larger = max.clone().max_pair(block.logits.clone().max_dim(0));
            let terms = (block.logits - larger.clone()).exp().sum_dim(0);
            sum = sum * (max - larger.clone()).exp() + terms;
            max = larger;
            counts = counts + block.positives.sum_dim(0);
        }
        Columns {
            log_sums: max + sum.log(),
            counts,
        }
    }

    /// `[1, batch]`, filled with `value`.
    fn row(&self, value: f64) -> Tensor<2> {
        let like = self.image_embeds.clone();
        Tensor::full([1, self.size], value, (&like.device(), like.dtype()))
    }
}

/// Sums over the blocks, not yet divided by the batch size.
struct Sums {
    loss: Tensor<1>,
    text_embeds: Tensor<2>, // not yet multiplied by the scale
    logit_scale: Tensor<1>,
    logit_bias: Tensor<1>,
}

impl Sums {
    fn zeros(batch: &Batch<'_>) -> Self {
        let zero = batch.logit_scale.zeros_like();
        Self {
            loss: zero.clone(),
            text_embeds: batch.text_embeds.zeros_like(),
            logit_scale: zero.clone(),
            logit_bias: zero,
        }
    }

    fn add(&mut self, loss: Tensor<1>, by_logits: Tensor<2>, block: Block) {
        let by_texts = by_logits.clone().transpose().matmul(block.image_embeds);
        self.loss = self.loss.clone() + loss;
        self.text_embeds = self.text_embeds.clone() + by_texts;
        self.logit_scale = self.logit_scale.clone() + (by_logits.clone() * block.scaled).sum();
        self.logit_bias = self.logit_bias.clone() + by_logits.sum();
    }
}

/// Summed loss of a block of [`ClipLoss`](super::ClipLoss) and its gradient with respect to the logits:
/// `(P - T + Q - T') / 2` with `P`, `Q` the softmax over rows and columns and `T`, `T'` their targets.
fn clip_block(block: &Block, columns: &Columns) -> (Tensor<1>, Tensor<2>) {
    let logits = block.logits.clone();
    let by_row = normalize_rows(block.positives.clone());
    let by_column = block.positives.clone() / columns.counts.clone();

    let shifted = logits.clone() - logits.clone().max_dim(1);
    let exponentials = shifted.clone().exp();
    let sums = exponentials.clone().sum_dim(1); // [rows, 1]
    let log_columns = logits - columns.log_sums.clone(); // log of the softmax over columns

    let rows_loss = sums.clone().log().sum() - (shifted * by_row.clone()).sum();
    let columns_loss = (log_columns.clone() * by_column.clone()).sum();
    let by_logits = exponentials / sums - by_row + log_columns.exp() - by_column;
    ((rows_loss - columns_loss) * 0.5, by_logits * 0.5)
}

/// Summed loss of a block of [`SigLipLoss`](super::SigLipLoss) and its gradient with respect to the logits.
fn siglip_block(block: &Block) -> (Tensor<1>, Tensor<2>) {
    let signs = signs(block.positives.clone());
    let agreement = block.logits.clone() * signs.clone();
    let by_logits = sigmoid(agreement.clone().neg()) * signs.neg();
    (log_sigmoid(agreement).sum().neg(), by_logits)
}

/// Best matches seen so far, in both directions.
struct Matches {
    image_hits: Tensor<1>,
    column_best: Tensor<2>, // [1, batch], largest logit of each column
    column_hits: Tensor<2>, // [1, batch], whether that one is a positive
}

impl Matches {
    fn new(batch: &Batch<'_>) -> Self {
        Self {
            image_hits: batch.logit_scale.zeros_like(),
            column_best: batch.row(LOWEST),
            column_hits: batch.row(0.0),
        }
    }

    fn add(&mut self, block: &Block) {
        let best = block.logits.clone().argmax(1); // [rows, 1]
        let hits = block.positives.clone().gather(1, best).sum();
        self.image_hits = self.image_hits.clone() + hits;

        let (best, rows) = block.logits.clone().max_dim_with_indices(0); // [1, batch]
        let hits = block.positives.clone().gather(0, rows);
        // Strictly: a tie stays with the lower row, as argmax over the whole column has it.
        let larger = best.clone().greater(self.column_best.clone());
        self.column_best = self.column_best.clone().mask_where(larger.clone(), best);
        self.column_hits = self.column_hits.clone().mask_where(larger, hits);
    }

    fn accuracy(self, batch: usize) -> MatchingAccuracy {
        MatchingAccuracy {
            image_to_text: self.image_hits / batch as f64,
            text_to_image: self.column_hits.sum() / batch as f64,
        }
    }
}
