use burn::{
    module::{Module, Param},
    nn::Embedding,
    tensor::{Int, Tensor},
};
use twinflame_kernels::embedding;

use super::NORM_EPSILON;
use crate::{
    LayerNorm,
    albef::BertConfig,
    init::{Init, Values},
};

/// What enters BERT's first layer: the sum of a token's, its position's and its segment's embedding, normalised.
#[derive(Module, Debug)]
pub struct BertEmbeddings {
    /// `[vocab_size, width]`; also the output matrix of the MLM head, which borrows it.
    pub word_embeddings: Embedding,
    /// `[max_positions, width]`.
    pub position_embeddings: Param<Tensor<2>>,
    /// `[2, width]`; a single text is segment 0 throughout.
    pub token_type_embeddings: Param<Tensor<2>>,
    /// Of the sum.
    pub layer_norm: LayerNorm,
}

/// Segments that BERT tells apart.
pub(crate) const TOKEN_TYPES: usize = 2;

impl BertEmbeddings {
    pub(super) fn new(init: &Init, config: &BertConfig, values: Values) -> Self {
        let width = config.width;
        Self {
            word_embeddings: init.embedding("word_embeddings", [config.vocab_size, width], values),
            position_embeddings: init.param("position_embeddings", [config.max_positions, width], values),
            token_type_embeddings: init.param("token_type_embeddings", [TOKEN_TYPES, width], values),
            layer_norm: init.layer_norm(width, NORM_EPSILON),
        }
    }

    /// `[batch, tokens]` ids to `[batch, tokens, width]`.
    ///
    /// # Panics
    /// If there are more tokens than positions.
    pub fn forward(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        let [_, tokens] = ids.dims();
        let positions = self.position_embeddings.val();
        let [max_positions, width] = positions.dims();
        assert!(
            tokens <= max_positions,
            "{tokens} tokens, but only {max_positions} positions"
        );
        let segment = self.token_type_embeddings.val().narrow(0, 0, 1);
        let added = positions.narrow(0, 0, tokens) + segment; // [tokens, width]
        let x = embedding(self.word_embeddings.weight.val(), ids) + added.reshape([1, tokens, width]);
        self.layer_norm.forward(x)
    }
}
