//! Linear layer.

use burn::{
    module::{Module, Param},
    tensor::{Tensor, module::linear as without_bias},
};
use twinflame_kernels::linear;

/// `x weight + bias`, by the fused kernel where there is a bias. Same parameters as burn's own module.
#[derive(Module, Debug)]
pub struct Linear {
    /// `[d_input, d_output]`.
    pub weight: Param<Tensor<2>>,
    /// `[d_output]`.
    pub bias: Option<Param<Tensor<1>>>,
}

impl Linear {
    /// `[.., d_input]` to `[.., d_output]`.
    ///
    /// # Panics
    /// If the last axis is not `d_input`.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        match &self.bias {
            Some(bias) => linear(x, self.weight.val(), bias.val()),
            None => without_bias(x, self.weight.val(), None),
        }
    }
}
