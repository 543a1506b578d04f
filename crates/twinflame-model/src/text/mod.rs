//! Text encoders.

pub(crate) mod bert;
mod cbow;
mod pool;
mod transformer;

use burn::{
    module::Module,
    tensor::{Int, Tensor},
};

pub use bert::{Bert, BertAttention, BertEmbeddings, BertLayer, ImageMemory, MlmHead, Readout};
pub use cbow::Cbow;
pub use transformer::TextTransformer;

use crate::BlockOutput;

/// The text half of a CLIP.
#[derive(Module, Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "one value per model; boxing would add a level to every parameter path"
)]
pub enum TextEncoder {
    /// Causal transformer.
    Transformer(TextTransformer),
    /// Mean of token embeddings.
    Cbow(Cbow),
}

impl TextEncoder {
    /// Token ids `[batch, context_length]` to features in the joint space, `[batch, embed_dim]`, not normalised.
    pub fn forward(&self, tokens: Tensor<2, Int>) -> Tensor<2> {
        match self {
            Self::Transformer(transformer) => transformer.forward(tokens),
            Self::Cbow(cbow) => cbow.forward(tokens),
        }
    }

    /// The same features, computed without shortcuts, and what came out of every stage.
    pub fn forward_with_blocks(&self, tokens: Tensor<2, Int>) -> (Tensor<2>, Vec<BlockOutput>) {
        match self {
            Self::Transformer(transformer) => transformer.forward_with_blocks(tokens),
            Self::Cbow(cbow) => (cbow.forward(tokens), Vec::new()),
        }
    }
}
