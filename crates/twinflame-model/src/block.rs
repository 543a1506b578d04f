//! The residual block of image encoders and of CLIP's text encoder.

use burn::{module::Module, tensor::Tensor};

use crate::{
    LayerNorm, Linear,
    activation::Activation,
    attention::{Attention, Visibility},
    init::{Init, Values},
};

/// Sizes and initial spread of a [`ResidualBlock`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockConfig {
    pub(crate) width: usize,
    pub(crate) d_ff: usize,
    pub(crate) n_heads: usize,
    pub(crate) activation: Activation,
    /// Added to the variance by the normalisations.
    pub(crate) norm_epsilon: f64,
    pub(crate) values: BlockValues,
}

/// Initial values of a block's weights and biases.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum BlockValues {
    /// PyTorch's defaults: open_clip's vision tower.
    Torch,
    /// Weights by depth and width, feed-forward biases as PyTorch has them: open_clip's text tower.
    Text(BlockStd),
    /// All weights with this standard deviation, biases zero: ALBEF's image encoder and BERT.
    Normal(f64),
}

/// Standard deviations of a text block's weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct BlockStd {
    pub(crate) attention: f64,
    pub(crate) output: f64,
    pub(crate) feed_forward: f64,
}

impl BlockStd {
    /// `width^-0.5`, `width^-0.5 (2 layers)^-0.5` and `(2 width)^-0.5`: open_clip's `init_parameters`, after GPT-2's
    /// scaling of residual branches.
    pub(crate) fn of_text(width: usize, layers: usize) -> Self {
        let width = width as f64;
        Self {
            attention: width.powf(-0.5),
            output: width.powf(-0.5) * (2.0 * layers as f64).powf(-0.5),
            feed_forward: (2.0 * width).powf(-0.5),
        }
    }
}

/// Two linear layers with a non-linearity between.
#[derive(Module, Debug)]
pub struct Mlp {
    /// `[width, d_ff]`.
    pub c_fc: Linear,
    /// `[d_ff, width]`.
    pub c_proj: Linear,
    /// Between the two.
    #[module(skip)]
    pub activation: Activation,
}

impl Mlp {
    pub(crate) fn new(init: &Init, config: &BlockConfig) -> Self {
        let BlockConfig { width, d_ff, .. } = *config;
        let defaults = [Values::torch_default(width), Values::torch_default(d_ff)];
        let [weights, biases] = match config.values {
            BlockValues::Torch => [defaults; 2],
            BlockValues::Text(std) => [[std.feed_forward, std.output].map(Values::Normal), defaults],
            BlockValues::Normal(std) => [[Values::Normal(std); 2], [Values::Constant(0.0); 2]],
        };
        Self {
            c_fc: init.linear(["c_fc.weight", "c_fc.bias"], [width, d_ff], weights[0], Some(biases[0])),
            c_proj: init.linear(
                ["c_proj.weight", "c_proj.bias"],
                [d_ff, width],
                weights[1],
                Some(biases[1]),
            ),
            activation: config.activation,
        }
    }

    /// `[.., width]` to `[.., width]`.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        self.c_proj.forward(self.activation.forward(self.c_fc.forward(x)))
    }
}

/// Pre-norm transformer block: `x += attention(norm(x)); x += mlp(norm(x))`.
#[derive(Module, Debug)]
pub struct ResidualBlock {
    /// Before attention.
    pub ln_1: LayerNorm,
    /// Self-attention.
    pub attn: Attention,
    /// Before the feed-forward layer.
    pub ln_2: LayerNorm,
    /// Feed-forward layer.
    pub mlp: Mlp,
}

impl ResidualBlock {
    pub(crate) fn new(init: &Init, config: &BlockConfig) -> Self {
        let BlockConfig { width, n_heads, .. } = *config;
        let std = match config.values {
            BlockValues::Torch => None,
            BlockValues::Text(std) => Some([std.attention, std.output]),
            BlockValues::Normal(std) => Some([std; 2]),
        };
        Self {
            ln_1: init.layer_norm(width, config.norm_epsilon),
            attn: Attention::new(&init.at("attn"), width, n_heads, std),
            ln_2: init.layer_norm(width, config.norm_epsilon),
            mlp: Mlp::new(&init.at("mlp"), config),
        }
    }

    /// `[batch, tokens, width]` to the same.
    pub fn forward(&self, x: Tensor<3>, visibility: Visibility) -> Tensor<3> {
        let x = x.clone() + self.attn.forward(self.ln_1.forward(x), visibility);
        x.clone() + self.mlp.forward(self.ln_2.forward(x))
    }

    /// The block's output for one token per sample, the one that `pick` takes.
    ///
    /// The other tokens are only looked at, so their queries and feed-forward layers are not computed: five sixths of
    /// the block's products.
    ///
    /// # Shapes
    /// - x: `[batch, tokens, width]`
    /// - pick: `[batch, tokens, width]` to `[batch, width]`
    /// - bias: see [`Attention::forward_one`]
    /// - output: `[batch, width]`
    pub fn forward_one(
        &self,
        x: Tensor<3>,
        pick: impl Fn(Tensor<3>) -> Tensor<2>,
        bias: Option<Tensor<2>>,
    ) -> Tensor<2> {
        let residual = pick(x.clone());
        let normed = self.ln_1.forward(x);
        let query = pick(normed.clone());
        let x = residual + self.attn.forward_one(normed, query, bias);
        x.clone() + self.mlp.forward(self.ln_2.forward(x))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_spread_is_the_papers() {
        let std = BlockStd::of_text(512, 12);
        assert!((std.attention - 0.044_194_2).abs() < 1e-7);
        assert!((std.output - 0.009_021_10).abs() < 1e-8);
        assert!((std.feed_forward - 0.03125).abs() < 1e-12);
    }
}
