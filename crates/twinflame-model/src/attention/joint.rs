//! Self-attention with a joint projection of queries, keys and values.

use burn::{
    module::Module,
    tensor::{Tensor, module::linear},
};
use twinflame_kernels::self_attention;

use super::{Projection, Visibility, attend_one};
use crate::Linear;
use crate::init::{Init, Values};

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
        self.out_proj
            .forward(self_attention(self.in_proj.forward(x), self.n_heads, visibility))
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
