//! Multi-head attention.

mod cross;
mod joint;

use burn::tensor::{
    Bool, FloatDType, Tensor, activation::softmax, assert_shape, module::attention, ops::AttentionModuleOptions,
};

pub use cross::{CrossAttention, KeysValues};
pub use joint::Attention;
pub use twinflame_kernels::Visibility;

use crate::Linear;
use crate::dropout::{Site, drop_at};

/// A linear layer's values.
pub(crate) struct Projection {
    /// `[input, output]`.
    pub(crate) weight: Tensor<2>,
    /// `[output]`.
    pub(crate) bias: Option<Tensor<1>>,
}

impl From<&Linear> for Projection {
    fn from(linear: &Linear) -> Self {
        Self {
            weight: linear.weight.val(),
            bias: linear.bias.as_ref().map(|bias| bias.val()),
        }
    }
}

/// Attention of one query per sample, without ever making keys and values.
///
/// With a single query it is cheaper to take the key projection to the query, `q (x K)' = (q K') x'`, and to project
/// the weighted sum instead of every token, `a (x V) = (a x) V`: no product grows with tokens times width squared.
///
/// # Shapes
/// - x: `[batch, tokens, channels]`, where keys and values come from
/// - query: `[batch, width]`, already projected
/// - key, value: `[channels, width]`
/// - bias: `[batch, tokens]`, added to the scores
/// - output: `[batch, width]`
pub(crate) fn attend_one(
    x: Tensor<3>,
    query: Tensor<2>,
    key: Projection,
    value: Projection,
    bias: Option<Tensor<2>>,
    n_heads: usize,
) -> Tensor<2> {
    let [batch, tokens, channels] = x.dims();
    assert_shape!(query, [batch, _]);
    let [_, width] = query.dims();
    let d_head = width / n_heads;
    let by_head = |weight: Tensor<2>| weight.reshape([channels, n_heads, d_head]).swap_dims(0, 1);

    let query = query * (d_head as f64).powf(-0.5);
    let query = query.reshape([batch, n_heads, d_head]).swap_dims(0, 1); // [heads, batch, d_head]
    let asked = query.clone().matmul(by_head(key.weight).swap_dims(1, 2)); // [heads, batch, channels]
    let mut scores = asked.swap_dims(0, 1).matmul(x.clone().swap_dims(1, 2)); // [batch, heads, tokens]
    if let Some(key_bias) = key.bias {
        // The same for all tokens, so the softmax does not see it; it is kept because it is a parameter.
        let offset = (query * key_bias.reshape([n_heads, 1, d_head])).sum_dim(2);
        scores = scores + offset.swap_dims(0, 1);
    }
    if let Some(bias) = bias {
        scores = scores + bias.reshape([batch, 1, tokens]);
    }
    let mixed = softmax(scores, 2).matmul(x); // [batch, heads, channels]
    let context = mixed.swap_dims(0, 1).matmul(by_head(value.weight)); // [heads, batch, d_head]
    let context = context.swap_dims(0, 1).reshape([batch, width]);
    match value.bias {
        Some(bias) => context + bias.reshape([1, width]),
        None => context,
    }
}

/// `[batch, tokens, width]` to a view `[1, batch, heads, tokens, width / heads]`.
///
/// The leading axis stays, because removing it from a view costs a copy on some backends.
fn split_heads(x: Tensor<3>, n_heads: usize) -> Tensor<5> {
    let [batch, tokens, width] = x.dims();
    x.reshape([1, batch, tokens, n_heads, width / n_heads])
        .permute([0, 1, 3, 2, 4])
}

/// What queries must not look at.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Hidden<'a> {
    /// Nothing.
    Nothing,
    /// Padding.
    Padding(&'a PaddingMask),
}

/// Added to the score of a padding token (BERT's value). After the softmax nothing is left of it.
const PADDING_BIAS: f32 = -1e4;

/// Which tokens of a batch are padding, in both forms that attention takes.
#[derive(Clone, Debug)]
pub(crate) struct PaddingMask {
    /// `[batch, 1, 1, tokens]`, true at padding.
    hidden: Tensor<4, Bool>,
    /// `[1, batch, 1, 1, tokens]`, added to the scores.
    bias: Tensor<5>,
}

impl PaddingMask {
    /// From `[batch, tokens]`, true at padding, for activations of this type.
    pub(crate) fn new(mask_pad: &Tensor<2, Bool>, dtype: FloatDType) -> Self {
        let [batch, tokens] = mask_pad.dims();
        let device = mask_pad.device().without_autodiff();
        let bias = Tensor::<2>::zeros([batch, tokens], (&device, dtype.into()));
        Self {
            hidden: mask_pad.clone().reshape([batch, 1, 1, tokens]),
            bias: bias
                .mask_fill(mask_pad.clone(), PADDING_BIAS)
                .reshape([1, batch, 1, 1, tokens]),
        }
    }
}

/// Attention of all heads: `[1, batch, heads, queries, d_head]` and keys and values `[1, batch, heads, tokens, d_head]`
/// to `[batch, queries, width]`.
///
/// Without a gradient and without dropout the backend may use its fused attention.
pub(crate) fn attend([q, k, v]: [Tensor<5>; 3], hidden: Hidden<'_>, dropout: Option<Site<'_>>) -> Tensor<3> {
    let [_, batch, n_heads, queries, d_head] = q.dims();
    let is_tracked = q.is_autodiff() || k.is_autodiff() || v.is_autodiff();
    let context = if is_tracked || dropout.is_some() {
        let bias = match hidden {
            Hidden::Nothing => None,
            Hidden::Padding(mask) => Some(mask.bias.clone()),
        };
        attend_differentiably([q, k, v], bias, dropout).reshape([batch, n_heads, queries, d_head])
    } else {
        attend_fused([q, k, v], hidden)
    };
    context.swap_dims(1, 2).reshape([batch, queries, n_heads * d_head])
}

/// `softmax(q k' / sqrt(d_head) + bias) v` with differentiable primitives.
///
/// burn's `attention` differentiates through the maximum of every row as well, which doubles the work of the softmax.
fn attend_differentiably([q, k, v]: [Tensor<5>; 3], bias: Option<Tensor<5>>, dropout: Option<Site<'_>>) -> Tensor<5> {
    let [.., d_head] = q.dims();
    let scores = (q * (d_head as f64).powf(-0.5)).matmul(k.swap_dims(3, 4)); // [1, batch, heads, queries, tokens]
    let scores = match bias {
        Some(bias) => scores + bias,
        None => scores,
    };
    drop_at(softmax(scores, 4), dropout).matmul(v)
}

/// The same by the backend's own kernel: `[batch, heads, queries, d_head]`.
fn attend_fused([q, k, v]: [Tensor<5>; 3], hidden: Hidden<'_>) -> Tensor<4> {
    let [_, batch, n_heads, queries, d_head] = q.dims();
    let [.., tokens, _] = k.dims();
    let mask = match hidden {
        Hidden::Padding(mask) => Some(mask.hidden.clone().expand([batch, n_heads, queries, tokens])),
        Hidden::Nothing => None,
    };
    let options = AttentionModuleOptions::default();
    let [k, v] = [k, v].map(|part| part.reshape([batch, n_heads, tokens, d_head]));
    attention(q.reshape([batch, n_heads, queries, d_head]), k, v, mask, None, options)
}
