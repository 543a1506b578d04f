//! Causal text transformer.

use burn::{
    module::{Module, Param},
    nn::Embedding,
    tensor::{Int, Tensor, assert_shape},
};
use twinflame_kernels::embedding;

use super::pool::{end_of_text, positions};
use crate::{
    BlockOutput, LayerNorm, Linear, Recompute,
    activation::Activation,
    attention::Visibility,
    block::{BlockConfig, BlockStd, BlockValues, ResidualBlock},
    config::{TextConfig, TextPool},
    init::{Init, NORM_EPSILON, Values},
};

/// Standard deviation of token embeddings (OpenAI's `initialize_parameters`).
pub(super) const TOKEN_STD: f64 = 0.02;
/// Standard deviation of position embeddings (OpenAI's `initialize_parameters`).
const POSITION_STD: f64 = 0.01;

/// The text transformer of Radford et al. 2021, section 2.4, after GPT-2: causal, and read out at the end-of-text
/// token.
///
/// Padding needs no mask, because it comes after the token that is read.
#[derive(Module, Debug)]
pub struct TextTransformer {
    /// `[vocab_size, width]`.
    pub token_embedding: Embedding,
    /// `[context_length, width]`.
    pub positional_embedding: Param<Tensor<2>>,
    /// Transformer.
    pub blocks: Vec<ResidualBlock>,
    /// After the blocks.
    pub ln_final: LayerNorm,
    /// `[width, embed_dim]`, without bias.
    pub text_projection: Linear,
    /// Which token is read out.
    #[module(skip)]
    pub pool: TextPool,
    /// What a training step keeps of the blocks.
    #[module(skip)]
    pub recompute: Recompute,
}

impl TextTransformer {
    pub(crate) fn new(init: &Init, config: &TextConfig, embed_dim: usize, activation: Activation) -> Self {
        let width = config.width;
        let block = BlockConfig {
            width,
            d_ff: config.d_ff(),
            n_heads: config.heads,
            activation,
            norm_epsilon: NORM_EPSILON,
            values: BlockValues::Text(BlockStd::of_text(width, config.layers)),
        };
        Self {
            token_embedding: init.embedding(
                "token_embedding.weight",
                [config.vocab_size, width],
                Values::Normal(TOKEN_STD),
            ),
            positional_embedding: init.param(
                "positional_embedding",
                [config.context_length, width],
                Values::Normal(POSITION_STD),
            ),
            blocks: (0..config.layers)
                .map(|layer| ResidualBlock::new(&init.at(format_args!("transformer.resblocks.{layer}")), &block))
                .collect(),
            ln_final: init.layer_norm(width, NORM_EPSILON),
            text_projection: init.linear(
                ["text_projection", ""],
                [width, embed_dim],
                Values::Normal((width as f64).powf(-0.5)),
                None,
            ),
            pool: config.pool,
            recompute: Recompute::Nothing,
        }
    }

    /// Features, `[batch, embed_dim]`.
    ///
    /// # Panics
    /// If `tokens` is not `[batch, context_length]`.
    pub fn forward(&self, tokens: Tensor<2, Int>) -> Tensor<2> {
        let end = end_of_text(&tokens, self.pool);
        let mut x = self.embed(tokens.clone());
        let x = match self.blocks.split_last() {
            None => pick_rows(x, end),
            Some((last, blocks)) => {
                for block in blocks {
                    x = self
                        .recompute
                        .run(block, [x], |block, [x]| block.forward(x, Visibility::Causal));
                }
                let [batch, context, _] = x.dims();
                let later = positions(&tokens).greater(end.clone().expand([batch, context]));
                let bias =
                    Tensor::<2>::zeros([batch, context], (&x.device(), x.dtype())).mask_fill(later, f32::NEG_INFINITY);
                self.recompute.run(last, [x], move |last, [x]| {
                    last.forward_one(x, |x| pick_rows(x, end.clone()), Some(bias.clone()))
                })
            }
        };
        self.text_projection.forward(self.ln_final.forward(x))
    }

    /// The same with every token carried to the end, and open_clip's hook points, `[batch, context_length, width]`.
    pub fn forward_with_blocks(&self, tokens: Tensor<2, Int>) -> (Tensor<2>, Vec<BlockOutput>) {
        let end = end_of_text(&tokens, self.pool);
        let mut x = self.embed(tokens);
        let mut outputs = Vec::with_capacity(self.blocks.len() + 1);
        for (layer, block) in self.blocks.iter().enumerate() {
            x = block.forward(x, Visibility::Causal);
            outputs.push(BlockOutput::new(format!("transformer.resblocks.{layer}"), x.clone()));
        }
        let x = self.ln_final.forward(x);
        outputs.push(BlockOutput::new("ln_final", x.clone()));
        (self.text_projection.forward(pick_rows(x, end)), outputs)
    }

    fn embed(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        let positions = self.positional_embedding.val();
        let [context, width] = positions.dims();
        assert_shape!(tokens, [_, context]);
        embedding(self.token_embedding.weight.val(), tokens) + positions.reshape([1, context, width])
    }
}

/// One token per sample: `[batch, context, width]` at `end`, `[batch, 1]`, to `[batch, width]`.
fn pick_rows(x: Tensor<3>, end: Tensor<2, Int>) -> Tensor<2> {
    let [batch, context, width] = x.dims();
    let first = Tensor::<1, Int>::arange(0..batch as i64, (&end.device(), end.dtype())) * context as i64;
    let rows = first + end.reshape([batch]);
    x.reshape([batch * context, width]).select(0, rows)
}
