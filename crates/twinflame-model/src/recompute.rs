//! What a training step keeps of a transformer block.

use burn::{module::Module, tensor::Tensor};
use twinflame_kernels::recomputed;

/// Whether the backward pass computes a block again, from its inputs, or finds what the forward pass kept.
///
/// Chen et al. 2016, <https://arxiv.org/abs/1604.06174>; open_clip's `--grad-checkpointing`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Recompute {
    /// All activations are kept.
    #[default]
    Nothing,
    /// Of every transformer block the inputs are kept. Losses and gradients are the same numbers, for one more forward pass.
    Blocks,
}

impl Recompute {
    /// `forward(block, inputs)`. What `forward` captures gets no gradient, and it computes the same every time.
    pub(crate) fn run<M, const INPUTS: usize, const D: usize, const E: usize>(
        self,
        block: &M,
        inputs: [Tensor<D>; INPUTS],
        forward: impl Fn(&M, [Tensor<D>; INPUTS]) -> Tensor<E> + Send + 'static,
    ) -> Tensor<E>
    where
        M: Module + 'static,
    {
        match self {
            Self::Nothing => forward(block, inputs),
            Self::Blocks => recomputed(block, inputs, forward),
        }
    }
}
