//! Softmax over rows of scores, in place, with what comes before it: scale and causal mask.

use macerator::{AutoArch, Simd, WithSimd};

use super::blocks::{LANES, folded_max, folded_sum, in_blocks, over_blocks};
use super::exp::exp;
use crate::attention::Visibility;

/// Below this the exponential counts as zero: it is 2e-38, and soon not a normal number.
const LIMIT: f32 = -87.0;

/// `[.., tokens, tokens]` scores become weights, `softmax(scale scores)` of each row.
pub(crate) fn forward(scores: &mut [f32], tokens: usize, scale: f32, visibility: Visibility) {
    AutoArch::new().dispatch(Forward {
        scores,
        tokens,
        scale,
        visibility,
    });
}

struct Forward<'a> {
    scores: &'a mut [f32],
    tokens: usize,
    scale: f32,
    visibility: Visibility,
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self) {
        let rows = self.scores.chunks_exact_mut(self.tokens);
        for (row, scores) in rows.enumerate() {
            let seen = match self.visibility {
                Visibility::All => self.tokens,
                Visibility::Causal => row % self.tokens + 1,
            };
            let (scores, hidden) = scores.split_at_mut(seen);
            softmax(scores, self.scale);
            hidden.fill(0.0);
        }
    }
}

#[inline(always)]
fn softmax(row: &mut [f32], scale: f32) {
    let mut most = [f32::NEG_INFINITY; LANES];
    in_blocks(row, f32::NEG_INFINITY, |block| {
        for (most, &score) in most.iter_mut().zip(block.iter()) {
            *most = if score > *most { score } else { *most };
        }
    });
    let most = folded_max(most);
    let mut sums = [0.0; LANES];
    in_blocks(row, f32::NEG_INFINITY, |block| {
        for (sum, score) in sums.iter_mut().zip(block.iter_mut()) {
            let exponent = (*score - most) * scale;
            // what is not a number is not below
            let is_below = exponent < LIMIT;
            let power = exp(if is_below { LIMIT } else { exponent }, 0.0);
            *score = if is_below { 0.0 } else { power };
            *sum += *score;
        }
    });
    let factor = 1.0 / folded_sum(sums);
    for weight in row {
        *weight *= factor;
    }
}

/// Of the gradient of the weights that of the scores before the scale, in place: `scale w (g - sum(w g))` for each row.
pub(crate) fn backward(weights: &[f32], grad: &mut [f32], tokens: usize, scale: f32) {
    assert_eq!(weights.len(), grad.len(), "a gradient has the shape of its output");
    AutoArch::new().dispatch(Backward {
        weights,
        grad,
        tokens,
        scale,
    });
}

struct Backward<'a> {
    weights: &'a [f32],
    grad: &'a mut [f32],
    tokens: usize,
    scale: f32,
}

impl WithSimd for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self) {
        let rows = self.weights.chunks_exact(self.tokens);
        for (weights, grad) in rows.zip(self.grad.chunks_exact_mut(self.tokens)) {
            let mut sums = [0.0; LANES];
            over_blocks([weights, &*grad], [0.0; 2], |[weights, grad]| {
                for ((sum, weight), grad) in sums.iter_mut().zip(weights).zip(grad) {
                    *sum += weight * grad;
                }
            });
            let along = folded_sum(sums);
            for (grad, weight) in grad.iter_mut().zip(weights) {
                *grad = weight * (*grad - along) * self.scale;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected(row: &[f32], scale: f64) -> Vec<f64> {
        let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let powers: Vec<f64> = row
            .iter()
            .map(|&score| ((f64::from(score) - f64::from(most)) * scale).exp())
            .collect();
        let sum: f64 = powers.iter().sum();
        powers.iter().map(|power| power / sum).collect()
    }

    #[test]
    fn rows_of_any_length_are_those_of_f64() {
        for tokens in [1, 2, 15, 16, 17, 50, 77, 257] {
            let scores: Vec<f32> = (0..3 * tokens)
                .map(|index| ((index * 37 % 101) as f32 - 50.0) / 7.0)
                .collect();
            let mut weights = scores.clone();
            forward(&mut weights, tokens, 0.125, Visibility::All);
            for (row, weights) in scores.chunks(tokens).zip(weights.chunks(tokens)) {
                for (expected, &found) in expected(row, 0.125).into_iter().zip(weights) {
                    assert!(
                        (f64::from(found) - expected).abs() <= 4e-7 * expected,
                        "{found} is not {expected}"
                    );
                }
            }
        }
    }

    #[test]
    fn extreme_scores_are_zero_one_or_not_a_number() {
        let cases = [
            ([0.0, f32::NEG_INFINITY, -1e30], [1.0, 0.0, 0.0]),
            ([f32::MAX, f32::MIN, f32::MAX], [0.5, 0.0, 0.5]),
        ];
        for (mut row, expected) in cases {
            forward(&mut row, 3, 1.0, Visibility::All);
            assert_eq!(row, expected);
        }
        for mut row in [[f32::NAN, 0.0, 1.0], [f32::INFINITY, 0.0, 1.0], [f32::NEG_INFINITY; 3]] {
            forward(&mut row, 3, 1.0, Visibility::All);
            assert!(row.iter().any(|weight| weight.is_nan()), "{row:?}");
        }
    }

    #[test]
    fn a_query_sees_itself_and_what_came_before() {
        let mut scores = vec![0.0; 2 * 4 * 4];
        forward(&mut scores, 4, 1.0, Visibility::Causal);
        for matrix in scores.chunks(16) {
            for (query, row) in matrix.chunks(4).enumerate() {
                let seen = query + 1;
                assert!(
                    row[..seen]
                        .iter()
                        .all(|&weight| (weight - 1.0 / seen as f32).abs() < 1e-6)
                );
                assert!(row[seen..].iter().all(|&weight| weight == 0.0));
            }
        }
    }
}
