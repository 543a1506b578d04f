use burn::tensor::{Tensor, assert_shape};

/// Cross-entropy of each row of `logits` against a distribution: `[rows, columns]` to `[rows, 1]`.
///
/// `log_softmax` would keep several matrices for the backward pass; this keeps the exponentials and the targets. The
/// maximum counts as a constant: a shift changes neither value nor gradient.
pub(super) fn cross_entropy(logits: Tensor<2>, targets: Tensor<2>) -> Tensor<2> {
    let max = logits.clone().detach().max_dim(1); // [rows, 1]
    let shifted = logits - max;
    let log_sum = shifted.clone().exp().sum_dim(1).log(); // [rows, 1]
    let agreement = (shifted * targets).sum_dim(1); // [rows, 1]
    log_sum - agreement
}

/// Mean of `values`, `[rows, 1]`, with `weights`, `[rows]`, of zeros and ones; 0 if all are zero.
pub(super) fn weighted_mean(values: Tensor<2>, weights: Tensor<1>) -> Tensor<1> {
    let [rows] = weights.dims();
    assert_shape!(values, [rows, 1]);
    let count = weights.clone().sum().clamp_min(1.0); // [1]
    (values.reshape([rows]) * weights).sum() / count
}
