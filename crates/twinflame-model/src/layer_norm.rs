//! Layer normalisation.

use burn::{
    module::{Module, Param},
    tensor::Tensor,
};
use twinflame_kernels::layer_norm;

/// Layer normalisation (Ba et al. 2016, <https://arxiv.org/abs/1607.06450>) over the last axis, by the fused kernel.
///
/// burn's own module has the same parameters and keeps its `epsilon` to itself.
#[derive(Module, Debug)]
pub struct LayerNorm {
    /// Gain, `[d_model]`.
    pub gamma: Param<Tensor<1>>,
    /// Bias, `[d_model]`.
    pub beta: Param<Tensor<1>>,
    /// Added to the variance.
    pub epsilon: f64,
}

impl LayerNorm {
    /// `[.., d_model]` to the same.
    ///
    /// # Panics
    /// If the last axis is not `d_model`.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        layer_norm(x, self.gamma.val(), self.beta.val(), self.epsilon)
    }
}
