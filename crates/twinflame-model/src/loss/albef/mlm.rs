use burn::tensor::{Int, IntDType, Tensor, activation::softmax, assert_shape};

use crate::{
    loss::cross_entropy::{cross_entropy, weighted_mean},
    one_hot::one_hot,
};

/// What [`mlm_loss`] computes.
#[derive(Clone, Debug)]
pub struct MlmScore {
    /// `[1]`, in nats per masked token.
    pub loss: Tensor<1>,
    /// `[1]`: share of masked tokens that are predicted right, from 0 to 1.
    pub accuracy: Tensor<1>,
}

/// Masked language modelling: mean cross-entropy of the masked tokens of a batch (Li et al. 2021, equations 4 and 7).
///
/// The target is `alpha` of what the momentum model predicts and `1 - alpha` of the truth. That is the reference's
/// weighted sum of a hard and a soft cross-entropy, in one.
///
/// # Shapes
/// - logits: `[batch, slots, vocab_size]`
/// - momentum: the momentum model's logits of the same slots, or `None` without distillation
/// - labels: `[batch, slots]`, token ids
/// - weights: `[batch, slots]`, 1 for a slot in use, 0 for another. If none is, loss and accuracy are 0.
/// - alpha: from 0, no distillation, to 1
///
/// # Panics
/// If shapes differ.
#[must_use]
pub fn mlm_loss(
    logits: Tensor<3>,
    momentum: Option<Tensor<3>>,
    labels: Tensor<2, Int>,
    weights: Tensor<2>,
    alpha: f64,
) -> MlmScore {
    let [batch, slots, vocab_size] = logits.dims();
    assert_shape!(labels, [batch, slots]);
    assert_shape!(weights, [batch, slots]);
    let rows = batch * slots;
    let logits = logits.reshape([rows, vocab_size]);
    let weights = weights.reshape([rows]);
    let truth = one_hot(labels.clone(), vocab_size, &logits).reshape([rows, vocab_size]);
    let targets = match momentum {
        Some(momentum) if alpha > 0.0 => {
            assert_shape!(momentum, [batch, slots, vocab_size]);
            let soft = softmax(momentum.without_autodiff().reshape([rows, vocab_size]), 1);
            soft * alpha + truth * (1.0 - alpha)
        }
        _ => truth,
    };
    let best = logits.clone().without_autodiff().argmax(1); // [rows, 1]
    let labels = labels.reshape([rows, 1]).cast(IntDType::from(best.dtype()));
    let hits = best.equal(labels).float().cast(weights.dtype());
    MlmScore {
        loss: weighted_mean(cross_entropy(logits, targets), weights.clone()),
        accuracy: weighted_mean(hits, weights),
    }
}
