//! Attention in place of a network's final pooling.

use burn::{
    module::{Module, Param},
    tensor::{Tensor, assert_shape},
};

use crate::{
    Linear,
    attention::attend_one,
    init::{Init, Values},
};

/// One round of multi-head attention in which the mean of all positions asks and everything answers
/// (Radford et al. 2021, section 2.4).
#[derive(Module, Debug)]
pub struct AttentionPool {
    /// `[1 + positions, channels]`, the mean's first.
    pub positional_embedding: Param<Tensor<2>>,
    /// `[channels, channels]` with bias.
    pub k_proj: Linear,
    /// `[channels, channels]` with bias.
    pub q_proj: Linear,
    /// `[channels, channels]` with bias.
    pub v_proj: Linear,
    /// `[channels, embed_dim]` with bias.
    pub c_proj: Linear,
    /// Number of heads; divides the channels.
    pub n_heads: usize,
}

impl AttentionPool {
    pub(crate) fn new(init: &Init, grid: usize, channels: usize, n_heads: usize, embed_dim: usize) -> Self {
        let scale = Values::Normal((channels as f64).powf(-0.5));
        let linear = |name: &str, d_output: usize| {
            init.linear(
                [&format!("{name}.weight"), &format!("{name}.bias")],
                [channels, d_output],
                scale,
                Some(Values::torch_default(channels)),
            )
        };
        Self {
            positional_embedding: init.param("positional_embedding", [grid * grid + 1, channels], scale),
            k_proj: linear("k_proj", channels),
            q_proj: linear("q_proj", channels),
            v_proj: linear("v_proj", channels),
            c_proj: linear("c_proj", embed_dim),
            n_heads,
        }
    }

    /// `[channels, batch, height, width]` to `[batch, embed_dim]`.
    ///
    /// # Panics
    /// If `height width` differs from the number of positions in the table.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let [channels, batch, height, width] = x.dims();
        let tokens = 1 + height * width;
        let positions = self.positional_embedding.val();
        assert_shape!(positions, [tokens, channels]);

        let x = x.reshape([channels, batch, height * width]);
        let x = Tensor::cat(vec![x.clone().mean_dim(2), x], 2).permute([1, 2, 0]); // [batch, tokens, channels]
        let x = x + positions.reshape([1, tokens, channels]);
        let mean = x.clone().narrow(1, 0, 1).reshape([batch, channels]);
        let query = self.q_proj.forward(mean);
        let (key, value) = ((&self.k_proj).into(), (&self.v_proj).into());
        self.c_proj
            .forward(attend_one(x, query, key, value, None, self.n_heads))
    }
}
