//! Continuous bag of words.

use burn::{
    module::Module,
    nn::Embedding,
    tensor::{Int, Tensor},
};
use twinflame_kernels::embedding;

use super::{
    pool::{end_of_text, positions},
    transformer::TOKEN_STD,
};
use crate::{
    Linear,
    config::{TextConfig, TextPool},
    init::{Init, Values},
};

/// The mean of the embeddings of a text's tokens, projected into the joint space: the text encoder that Radford et al.
/// 2021 (section 2.3, table 1) start from, after Mikolov et al. 2013, <https://arxiv.org/abs/1301.3781>.
///
/// The mean is over the real tokens, from the first up to and including the first end-of-text token. There is no
/// position, no block and no normalisation: the features are normalised when they are compared, which makes a
/// normalisation of the mean nearly redundant, and without it the encoder is linear in its embeddings, so that a word's
/// contribution can be read off. Parameters have the names of the transformer's.
#[derive(Module, Debug)]
pub struct Cbow {
    /// `[vocab_size, width]`.
    pub token_embedding: Embedding,
    /// `[width, embed_dim]`, without bias.
    pub text_projection: Linear,
    /// Which token ends a text.
    #[module(skip)]
    pub pool: TextPool,
}

impl Cbow {
    pub(crate) fn new(init: &Init, config: &TextConfig, embed_dim: usize) -> Self {
        let width = config.width;
        Self {
            token_embedding: init.embedding(
                "token_embedding.weight",
                [config.vocab_size, width],
                Values::Normal(TOKEN_STD),
            ),
            text_projection: init.linear(
                ["text_projection", ""],
                [width, embed_dim],
                Values::Normal((width as f64).powf(-0.5)),
                None,
            ),
            pool: config.pool,
        }
    }

    /// Features, `[batch, embed_dim]`.
    pub fn forward(&self, tokens: Tensor<2, Int>) -> Tensor<2> {
        let [batch, context] = tokens.dims();
        let end = end_of_text(&tokens, self.pool); // [batch, 1]
        let real = positions(&tokens).lower_equal(end.clone().expand([batch, context]));
        let x = embedding(self.token_embedding.weight.val(), tokens); // [batch, context, width]
        let [_, _, width] = x.dims();
        let count = (end + 1).float().cast(burn::tensor::FloatDType::from(x.dtype())); // [batch, 1]
        let weights = Tensor::<2>::zeros([batch, context], (&x.device(), x.dtype())).mask_fill(real, 1.0) / count;
        let mean = weights.reshape([batch, 1, context]).matmul(x).reshape([batch, width]);
        self.text_projection.forward(mean)
    }
}
