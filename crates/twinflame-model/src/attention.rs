//! Multi-head attention with a joint projection of queries, keys and values.

use burn::{
    module::Module,
    nn::Linear,
    tensor::{
        Device, FloatDType, Tensor, activation::softmax, assert_shape, module::attention, module::linear,
        ops::AttentionModuleOptions,
    },
};

use crate::init::{Init, Values};

/// Which positions a query may look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// All of them.
    All,
    /// Its own and the earlier ones.
    Causal,
}

/// Multi-head self-attention (Vaswani et al. 2017, <https://arxiv.org/abs/1706.03762>) as PyTorch's
/// `MultiheadAttention` computes it.
///
/// The columns of `in_proj` are queries, keys and values, in that order; head `i` owns the `i`-th of `n_heads` equal
/// slices of each.
#[derive(Module, Debug)]
pub struct Attention {
    /// `[width, 3 width]` with bias.
    pub in_proj: Linear,
    /// `[width, width]` with bias.
    pub out_proj: Linear,
    /// Number of heads; divides the width.
    pub n_heads: usize,
}

impl Attention {
    /// Initial values as `MultiheadAttention` sets them, unless a standard deviation is given for the two weights.
    pub(crate) fn new(init: &Init, width: usize, n_heads: usize, std: Option<[f64; 2]>) -> Self {
        let [in_values, out_values] = match std {
            Some([in_std, out_std]) => [Values::Normal(in_std), Values::Normal(out_std)],
            None => [Values::xavier_uniform(width, 3 * width), Values::torch_default(width)],
        };
        let zero = Some(Values::Constant(0.0));
        Self {
            in_proj: init.linear(["in_proj_weight", "in_proj_bias"], [width, 3 * width], in_values, zero),
            out_proj: init.linear(["out_proj.weight", "out_proj.bias"], [width, width], out_values, zero),
            n_heads,
        }
    }

    /// Every position attends.
    ///
    /// # Shapes
    /// - x, output: `[batch, tokens, width]`
    pub fn forward(&self, x: Tensor<3>, visibility: Visibility) -> Tensor<3> {
        let [batch, tokens, width] = x.dims();
        let qkv = self.in_proj.forward(x); // [batch, tokens, 3 width]
        let context = if qkv.is_autodiff() {
            let [q, k, v] = split_heads(qkv, self.n_heads);
            let bias = match visibility {
                Visibility::All => None,
                Visibility::Causal => Some(causal_bias(tokens, &q.device(), q.dtype().into())),
            };
            attend(q, k, v, bias).reshape([batch, self.n_heads, tokens, width / self.n_heads])
        } else {
            // Without a gradient the backend may use its fused attention.
            let dims = [batch, self.n_heads, tokens, width / self.n_heads];
            let [q, k, v] = split_heads(qkv, self.n_heads).map(|part| part.reshape(dims));
            let options = AttentionModuleOptions {
                is_causal: visibility == Visibility::Causal,
                ..Default::default()
            };
            attention(q, k, v, None, None, options)
        };
        let context = context.swap_dims(1, 2).reshape([batch, tokens, width]);
        self.out_proj.forward(context)
    }

    /// One query per sample attends to all tokens of its sample.
    ///
    /// Equal to one row of [`Attention::forward`], at a fraction of the work: the last block of a tower that keeps one
    /// token needs no more.
    ///
    /// # Shapes
    /// - x: `[batch, tokens, width]`
    /// - query: `[batch, width]`, the row of `x` that asks
    /// - bias: `[batch, tokens]`, added to the scores: minus infinity where the query must not look
    /// - output: `[batch, width]`
    pub fn forward_one(&self, x: Tensor<3>, query: Tensor<2>, bias: Option<Tensor<2>>) -> Tensor<2> {
        let [_, _, width] = x.dims();
        let weight = self.in_proj.weight.val();
        let in_bias = self.in_proj.bias.as_ref().map(|bias| bias.val());
        let [q, key, value] = std::array::from_fn(|part| Projection {
            weight: weight.clone().narrow(1, part * width, width),
            bias: in_bias.clone().map(|bias| bias.narrow(0, part * width, width)),
        });
        let query = linear(query, q.weight, q.bias);
        self.out_proj
            .forward(attend_one(x, query, key, value, bias, self.n_heads))
    }
}

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

/// `[batch, tokens, PARTS * width]` to `PARTS` views `[1, batch, heads, tokens, width / heads]`.
///
/// The leading axis stays, because removing it from a view costs a copy on some backends.
fn split_heads<const PARTS: usize>(x: Tensor<3>, n_heads: usize) -> [Tensor<5>; PARTS] {
    let [batch, tokens, columns] = x.dims();
    let d_head = columns / PARTS / n_heads;
    let x = x
        .reshape([batch, tokens, PARTS, n_heads, d_head])
        .permute([2, 0, 3, 1, 4]);
    std::array::from_fn(|part| x.clone().narrow(0, part, 1))
}

/// `softmax(q k' / sqrt(d_head) + bias) v` with differentiable primitives.
///
/// burn's `attention` differentiates through the maximum of every row as well, which doubles the work of the softmax.
fn attend(q: Tensor<5>, k: Tensor<5>, v: Tensor<5>, bias: Option<Tensor<5>>) -> Tensor<5> {
    let [.., d_head] = q.dims();
    let scores = (q * (d_head as f64).powf(-0.5)).matmul(k.swap_dims(3, 4)); // [1, batch, heads, queries, tokens]
    let scores = match bias {
        Some(bias) => scores + bias,
        None => scores,
    };
    softmax(scores, 4).matmul(v)
}

/// Zero where query `i` may look at key `j <= i`, minus infinity elsewhere: `[1, 1, 1, tokens, tokens]`.
fn causal_bias(tokens: usize, device: &Device, dtype: FloatDType) -> Tensor<5> {
    let hidden = Tensor::<2, burn::tensor::Bool>::tril_mask([tokens, tokens], 0, device);
    Tensor::<2>::zeros([tokens, tokens], (device, dtype.into()))
        .mask_fill(hidden, f32::NEG_INFINITY)
        .reshape([1, 1, 1, tokens, tokens])
}
