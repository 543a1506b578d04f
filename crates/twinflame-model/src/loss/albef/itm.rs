use burn::tensor::{Tensor, assert_shape};

use crate::loss::cross_entropy::{cross_entropy, weighted_mean};

/// What [`itm_loss`] computes.
#[derive(Clone, Debug)]
pub struct ItmScore {
    /// `[1]`, in nats. A constant guess gives 0.6365 at best, the entropy of one in three.
    pub loss: Tensor<1>,
    /// `[1]`: share of pairs that are told right, from 0 to 1.
    pub accuracy: Tensor<1>,
}

/// Image-text matching: cross-entropy over a batch of matching pairs and twice as many that do not match (Li et al.
/// 2021, equation 3).
///
/// # Shapes
/// - logits: `[3 batch, 2]`, "do not match" and "match": first the matching pairs, then the texts with negative images,
///   then the images with negative texts
/// - exist: `[batch]`, [`Negatives::exist`](super::Negatives::exist): a pair without negatives is left out altogether.
///   If all are, loss and accuracy are 0.
///
/// # Panics
/// If `logits` has not three rows for each of `exist`.
#[must_use]
pub fn itm_loss(logits: Tensor<2>, exist: &Tensor<1>) -> ItmScore {
    let [batch] = exist.dims();
    assert_shape!(logits, [3 * batch, 2]);
    let like = (&logits.device().without_autodiff(), logits.dtype());
    let matches = Tensor::cat(
        vec![Tensor::<1>::ones([batch], like), Tensor::zeros([2 * batch], like)],
        0,
    );
    let targets = Tensor::stack::<2>(vec![matches.clone() * -1.0 + 1.0, matches.clone()], 1); // [3 batch, 2]
    let weights = Tensor::cat(vec![exist.clone(); 3], 0);

    let [no, yes] = [0, 1].map(|class| logits.clone().without_autodiff().narrow(1, class, 1));
    let hits = yes.greater(no).equal(matches.reshape([3 * batch, 1]).greater_elem(0.5));
    let hits = hits.float().cast(weights.dtype());
    ItmScore {
        loss: weighted_mean(cross_entropy(logits, targets), weights.clone()),
        accuracy: weighted_mean(hits, weights),
    }
}
