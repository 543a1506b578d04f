//! The kernels for f32. A thread computes one head of one sample at a time: its scores lie in that thread's cache, and no others
//! exist.

use burn::backend::{Flex, TensorMetadata, tensor::FloatTensor};
use burn::tensor::{DType, Shape};
use rayon::prelude::*;

use super::bodies::{self, Sizes};
use super::{AttentionKernel, AttentionPasses, Visibility};
use crate::flex::elementwise::{tensor, values};
use crate::flex::gemm::{Matrix, product_into};
use crate::flex::{heads, softmax};

type FlexTensor = FloatTensor<Flex>;

impl AttentionPasses for Flex {
    fn self_attention_forward(qkv: FlexTensor, n_heads: usize, visibility: Visibility) -> FlexTensor {
        if qkv.dtype() != DType::F32 {
            let bias = bodies::bias_of::<Self>(&qkv, visibility);
            return bodies::forward::<Self>(qkv, n_heads, bias);
        }
        let sizes = Sizes::of(&qkv.shape(), n_heads);
        let qkv = values(&qkv);
        let attended = by_head::<1>(sizes, |index, scratch, output| {
            let [weights, _] = scratch;
            let [q, k, v] = heads_of(&qkv, index, sizes);
            compute_weights(q, k, sizes, visibility, weights);
            product_into(Matrix::dense(weights, sizes.tokens), v, output);
        });
        let merged = heads::merge::<1>(&attended, sizes.into());
        tensor(merged, Shape::from(vec![sizes.batch, sizes.tokens, sizes.width()]))
    }

    fn self_attention_backward(
        qkv: FlexTensor,
        n_heads: usize,
        visibility: Visibility,
        grad: FlexTensor,
    ) -> FlexTensor {
        if qkv.dtype() != DType::F32 {
            let bias = bodies::bias_of::<Self>(&qkv, visibility);
            return bodies::backward::<Self>(qkv, n_heads, bias, grad);
        }
        let sizes = Sizes::of(&qkv.shape(), n_heads);
        let (qkv, grad) = (values(&qkv), values(&grad));
        let grads = by_head::<3>(sizes, |index, scratch, output| {
            let [weights, of_scores] = scratch;
            let [q, k, v] = heads_of(&qkv, index, sizes);
            let grad = part_of(&grad, index, 0, 1, sizes);
            compute_weights(q, k, sizes, visibility, weights);
            product_into(grad, v.transposed(), of_scores);
            softmax::backward(weights, of_scores, sizes.tokens, sizes.scale() as f32);
            let [weights, of_scores] = [weights, of_scores].map(|square| Matrix::dense(square, sizes.tokens));
            let (of_q, rest) = output.split_at_mut(sizes.tokens * sizes.d_head);
            let (of_k, of_v) = rest.split_at_mut(sizes.tokens * sizes.d_head);
            product_into(of_scores, k, of_q);
            product_into(of_scores.transposed(), q, of_k);
            product_into(weights.transposed(), grad, of_v);
        });
        let merged = heads::merge::<3>(&grads, sizes.into());
        tensor(merged, Shape::from(vec![sizes.batch, sizes.tokens, 3 * sizes.width()]))
    }
}

/// The same bits with and without a tape.
impl AttentionKernel for Flex {
    fn fused_self_attention(qkv: FlexTensor, n_heads: usize, visibility: Visibility) -> FlexTensor {
        Self::self_attention_forward(qkv, n_heads, visibility)
    }
}

impl From<Sizes> for heads::Layout {
    fn from(sizes: Sizes) -> Self {
        Self {
            n_heads: sizes.n_heads,
            tokens: sizes.tokens,
            d_head: sizes.d_head,
        }
    }
}

/// `[batch, heads, PARTS, tokens, d_head]`: `work` for every head of every sample, which gets its number among them, two squares
/// `[tokens, tokens]` to compute in, and its part of the output.
fn by_head<const PARTS: usize>(sizes: Sizes, work: impl Fn(usize, [&mut [f32]; 2], &mut [f32]) + Sync) -> Vec<f32> {
    let part = PARTS * sizes.tokens * sizes.d_head;
    let square = sizes.tokens * sizes.tokens;
    let mut output = vec![0.0; sizes.batch * sizes.n_heads * part];
    let heads = output.par_chunks_exact_mut(part).enumerate();
    heads.for_each_init(
        || vec![0.0; 2 * square],
        |scratch, (index, output)| {
            let (first, second) = scratch.split_at_mut(square);
            work(index, [first, second], output);
        },
    );
    output
}

/// Queries, keys and values of a head, `[tokens, d_head]` each.
fn heads_of(qkv: &[f32], index: usize, sizes: Sizes) -> [Matrix<'_>; 3] {
    std::array::from_fn(|part| part_of(qkv, index, part, 3, sizes))
}

/// The matrix `[tokens, d_head]` of one of `parts` of a head in `[batch, tokens, parts, heads, d_head]`.
fn part_of(values: &[f32], index: usize, part: usize, parts: usize, sizes: Sizes) -> Matrix<'_> {
    let [sample, head] = [index / sizes.n_heads, index % sizes.n_heads];
    let row = parts * sizes.width();
    let start = sample * sizes.tokens * row + part * sizes.width() + head * sizes.d_head;
    Matrix::with_stride(&values[start..], [sizes.tokens, sizes.d_head], row)
}

fn compute_weights(q: Matrix<'_>, k: Matrix<'_>, sizes: Sizes, visibility: Visibility, weights: &mut [f32]) {
    product_into(q, k.transposed(), weights);
    softmax::forward(weights, sizes.tokens, sizes.scale() as f32, visibility);
}
