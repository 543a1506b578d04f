use burn::{
    module::{Module, Param},
    tensor::Tensor,
};
use twinflame_kernels::linear_transposed;

use super::NORM_EPSILON;
use crate::{
    Activation, LayerNorm, Linear,
    init::{Init, Values},
};

/// Predicts the tokens behind masked ones (masked language modelling).
///
/// The matrix that turns states into scores of tokens is that of the word embeddings. It belongs to
/// [`BertEmbeddings`](super::BertEmbeddings) and is handed in: two parameters of one value would part at the first
/// step.
#[derive(Module, Debug)]
pub struct MlmHead {
    /// `[width, width]` with bias.
    pub dense: Linear,
    /// After the non-linearity.
    pub layer_norm: LayerNorm,
    /// `[vocab_size]`, added to the scores.
    pub bias: Param<Tensor<1>>,
}

impl MlmHead {
    pub(super) fn new(init: &Init, width: usize, vocab_size: usize, values: Values) -> Self {
        let zero = Values::Constant(0.0);
        Self {
            dense: init.linear(["dense.weight", "dense.bias"], [width, width], values, Some(zero)),
            layer_norm: init.layer_norm(width, NORM_EPSILON),
            bias: init.param("bias", [vocab_size], zero),
        }
    }

    /// # Shapes
    /// - states: `[batch, slots, width]`
    /// - word_embeddings: `[vocab_size, width]`
    /// - output: `[batch, slots, vocab_size]`, logits
    pub(super) fn forward(&self, states: Tensor<3>, word_embeddings: Tensor<2>) -> Tensor<3> {
        let x = self
            .layer_norm
            .forward(Activation::Gelu.forward(self.dense.forward(states)));
        linear_transposed(x, word_embeddings, self.bias.val())
    }
}
