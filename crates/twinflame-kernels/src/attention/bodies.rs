//! Both passes made of burn's primitives, for any backend.

use burn::backend::{Backend, TensorMetadata, get_device_settings, tensor::FloatTensor};
use burn::tensor::{IntDType, Shape, Slice, ops::AttentionModuleOptions};

use super::Visibility;

/// `[1, batch, heads, tokens, d_head]`, as all parts here. The leading axis stays: removing it from a view costs a copy on some
/// backends.
const RANK: usize = 5;

/// Sizes of a joint projection `[batch, tokens, 3 width]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) batch: usize,
    pub(super) tokens: usize,
    pub(super) n_heads: usize,
    pub(super) d_head: usize,
}

impl Sizes {
    pub(super) fn of(qkv: &Shape, n_heads: usize) -> Self {
        Self {
            batch: qkv[0],
            tokens: qkv[1],
            n_heads,
            d_head: qkv[2] / 3 / n_heads,
        }
    }

    pub(super) fn width(self) -> usize {
        self.n_heads * self.d_head
    }

    /// What scores are multiplied by.
    pub(super) fn scale(self) -> f64 {
        (self.d_head as f64).powf(-0.5)
    }
}

/// `bias` is added to the scores: `[1, 1, 1, tokens, tokens]`.
pub(crate) fn forward<B: Backend>(qkv: FloatTensor<B>, n_heads: usize, bias: Option<FloatTensor<B>>) -> FloatTensor<B> {
    let sizes = Sizes::of(&qkv.shape(), n_heads);
    let [q, k, v] = split_heads::<B>(qkv, sizes);
    let attended = B::float_matmul(weights::<B>(q, k, sizes, bias), v);
    let by_token = B::float_permute(attended, &[0, 1, 3, 2, 4]);
    B::float_reshape(by_token, Shape::from(vec![sizes.batch, sizes.tokens, sizes.width()]))
}

/// Of the gradient of the output, `[batch, tokens, width]`, that of `qkv`.
pub(super) fn backward<B: Backend>(
    qkv: FloatTensor<B>,
    n_heads: usize,
    bias: Option<FloatTensor<B>>,
    grad: FloatTensor<B>,
) -> FloatTensor<B> {
    let sizes = Sizes::of(&qkv.shape(), n_heads);
    let [q, k, v] = split_heads::<B>(qkv, sizes);
    let grad = by_head::<B>(grad, sizes);
    let weights = weights::<B>(q.clone(), k.clone(), sizes, bias);
    let of_v = B::float_matmul(transposed::<B>(weights.clone()), grad.clone());
    let of_weights = B::float_matmul(grad, transposed::<B>(v));
    let along = B::float_sum_dim(B::float_mul(of_weights.clone(), weights.clone()), RANK - 1);
    let of_scores = B::float_mul(weights, B::float_sub(of_weights, along));
    let of_scores = B::float_mul_scalar(of_scores, sizes.scale().into());
    let of_q = B::float_matmul(of_scores.clone(), k);
    let of_k = B::float_matmul(transposed::<B>(of_scores), q);
    let parts = B::float_cat(vec![of_q, of_k, of_v], 0);
    let by_token = B::float_permute(parts, &[1, 3, 0, 2, 4]);
    B::float_reshape(
        by_token,
        Shape::from(vec![sizes.batch, sizes.tokens, 3 * sizes.width()]),
    )
}

/// Views of queries, keys and values.
fn split_heads<B: Backend>(qkv: FloatTensor<B>, sizes: Sizes) -> [FloatTensor<B>; 3] {
    let Sizes {
        batch,
        tokens,
        n_heads,
        d_head,
    } = sizes;
    let by_token = B::float_reshape(qkv, Shape::from(vec![batch, tokens, 3, n_heads, d_head]));
    let parts = B::float_permute(by_token, &[2, 0, 3, 1, 4]);
    std::array::from_fn(|part| {
        let mut slices = vec![Slice::full(); RANK];
        slices[0] = Slice::from(part..part + 1);
        B::float_slice(parts.clone(), &slices)
    })
}

/// A view of `[batch, tokens, width]`.
fn by_head<B: Backend>(x: FloatTensor<B>, sizes: Sizes) -> FloatTensor<B> {
    let Sizes {
        batch,
        tokens,
        n_heads,
        d_head,
    } = sizes;
    let by_token = B::float_reshape(x, Shape::from(vec![1, batch, tokens, n_heads, d_head]));
    B::float_permute(by_token, &[0, 1, 3, 2, 4])
}

/// The last two axes exchanged.
fn transposed<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    B::float_swap_dims(x, RANK - 2, RANK - 1)
}

fn weights<B: Backend>(
    q: FloatTensor<B>,
    k: FloatTensor<B>,
    sizes: Sizes,
    bias: Option<FloatTensor<B>>,
) -> FloatTensor<B> {
    let q = B::float_mul_scalar(q, sizes.scale().into());
    let scores = B::float_matmul(q, transposed::<B>(k));
    let scores = match bias {
        Some(bias) => B::float_add(scores, bias),
        None => scores,
    };
    B::softmax(scores, RANK - 1)
}

/// The bias that hides what a query must not look at: zero where query `i` may look at key `j <= i`, minus infinity elsewhere.
pub(crate) fn bias_of<B: Backend>(qkv: &FloatTensor<B>, visibility: Visibility) -> Option<FloatTensor<B>> {
    if visibility == Visibility::All {
        return None;
    }
    let (tokens, device) = (qkv.shape()[1], qkv.device());
    let square = Shape::from(vec![1, 1, 1, tokens, tokens]);
    let numbers = |shape: Vec<usize>| {
        let numbers = B::int_arange(0..tokens as i64, &device, IntDType::I32);
        B::int_expand(B::int_reshape(numbers, Shape::from(shape)), square.clone())
    };
    let hidden = B::int_lower(
        numbers(vec![1, 1, 1, tokens, 1]),
        numbers(vec![1, 1, 1, 1, tokens]),
        get_device_settings::<B>(&device).bool_dtype,
    );
    let zeros = B::float_zeros(square.clone(), &device, qkv.dtype().into());
    Some(B::float_mask_fill(zeros, hidden, f32::NEG_INFINITY.into()))
}

/// burn's own attention, which backends have kernels for. burn differentiates it through the maximum of every row as well, which
/// doubles the work of the softmax: not for a tape of burn's.
pub(crate) fn by_burn<B: Backend>(qkv: FloatTensor<B>, n_heads: usize, visibility: Visibility) -> FloatTensor<B> {
    let sizes = Sizes::of(&qkv.shape(), n_heads);
    let of_heads = Shape::from(vec![sizes.batch, sizes.n_heads, sizes.tokens, sizes.d_head]);
    let [q, k, v] = split_heads::<B>(qkv, sizes).map(|part| B::float_reshape(part, of_heads.clone()));
    let options = AttentionModuleOptions {
        is_causal: visibility == Visibility::Causal,
        ..Default::default()
    };
    let attended = B::attention(q, k, v, None, None, options);
    let by_token = B::float_swap_dims(attended, 1, 2);
    B::float_reshape(by_token, Shape::from(vec![sizes.batch, sizes.tokens, sizes.width()]))
}
