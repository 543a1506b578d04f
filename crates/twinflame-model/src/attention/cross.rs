//! Attention with separate projections of queries, keys and values.

use burn::{
    module::Module,
    tensor::{Int, Tensor},
};

use super::{Hidden, attend, split_heads};
use crate::{
    Linear,
    dropout::Site,
    init::{Init, Values},
};

/// Multi-head attention (Vaswani et al. 2017, <https://arxiv.org/abs/1706.03762>) in which queries come from one
/// sequence, keys and values from another, or from the same.
///
/// Keys and values are a step of their own ([`CrossAttention::keys_values`]), because several queries may share them.
#[derive(Module, Debug)]
pub struct CrossAttention {
    /// `[width, width]` with bias.
    pub query: Linear,
    /// `[context_width, width]` with bias.
    pub key: Linear,
    /// `[context_width, width]` with bias.
    pub value: Linear,
    /// `[width, width]` with bias.
    pub out_proj: Linear,
    /// Number of heads; divides the width.
    pub n_heads: usize,
}

/// Keys and values of a sequence, before they are split among heads.
#[derive(Clone, Debug)]
pub struct KeysValues {
    /// `[batch, tokens, width]`.
    keys: Tensor<3>,
    /// `[batch, tokens, width]`.
    values: Tensor<3>,
}

impl KeysValues {
    /// Keys and values, of one shape.
    pub(crate) fn from_parts([keys, values]: [Tensor<3>; 2]) -> Self {
        Self { keys, values }
    }

    /// Keys and values.
    pub(crate) fn into_parts(self) -> [Tensor<3>; 2] {
        [self.keys, self.values]
    }

    /// Those of some samples, in this order; a sample may come several times.
    ///
    /// # Shapes
    /// - rows: `[selected]`
    #[must_use]
    pub fn select(&self, rows: Tensor<1, Int>) -> Self {
        Self {
            keys: self.keys.clone().select(0, rows.clone()),
            values: self.values.clone().select(0, rows),
        }
    }
}

impl CrossAttention {
    /// Weights from a normal distribution, biases zero.
    pub(crate) fn new(init: &Init, width: usize, context_width: usize, n_heads: usize, std: f64) -> Self {
        let linear = |name: &str, d_input: usize| {
            init.linear(
                [&format!("{name}.weight"), &format!("{name}.bias")],
                [d_input, width],
                Values::Normal(std),
                Some(Values::Constant(0.0)),
            )
        };
        Self {
            query: linear("query", width),
            key: linear("key", context_width),
            value: linear("value", context_width),
            out_proj: linear("out_proj", width),
            n_heads,
        }
    }

    /// Keys and values of a sequence.
    ///
    /// # Shapes
    /// - context: `[batch, tokens, context_width]`
    pub fn keys_values(&self, context: Tensor<3>) -> KeysValues {
        KeysValues {
            keys: self.key.forward(context.clone()),
            values: self.value.forward(context),
        }
    }

    /// Every position of `x` attends.
    ///
    /// # Shapes
    /// - x, output: `[batch, queries, width]`
    pub(crate) fn forward(
        &self,
        x: Tensor<3>,
        context: &KeysValues,
        hidden: Hidden<'_>,
        dropout: Option<Site<'_>>,
    ) -> Tensor<3> {
        let parts = [self.query.forward(x), context.keys.clone(), context.values.clone()];
        let [q, k, v] = parts.map(|part| split_heads(part, self.n_heads));
        self.out_proj.forward(attend([q, k, v], hidden, dropout))
    }
}
