//! Attention in place of a network's final pooling.

use burn::{
    module::{Module, Param},
    nn::Linear,
    tensor::{Tensor, activation::softmax, assert_shape},
};

use crate::init::{Init, Values};

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

    /// `[batch, channels, height, width]` to `[batch, embed_dim]`.
    ///
    /// # Panics
    /// If `height width` differs from the number of positions in the table.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let [batch, channels, height, width] = x.dims();
        let tokens = 1 + height * width;
        let positions = self.positional_embedding.val();
        assert_shape!(positions, [tokens, channels]);
        let heads = self.n_heads;
        let d_head = channels / heads;

        let x = x.reshape([batch, channels, height * width]).swap_dims(1, 2); // [batch, positions, channels]
        let mean = x.clone().mean_dim(1);
        let x = Tensor::cat(vec![mean, x], 1) + positions.reshape([1, tokens, channels]);

        let query = x.clone().narrow(1, 0, 1).reshape([batch, channels]);
        let q = self.q_proj.forward(query) * (d_head as f64).powf(-0.5);
        let q = q.reshape([batch, heads, 1, d_head]);
        let split = |y: Tensor<3>| y.reshape([batch, tokens, heads, d_head]).swap_dims(1, 2);
        let k = split(self.k_proj.forward(x.clone())); // [batch, heads, tokens, d_head]
        let v = split(self.v_proj.forward(x));
        let weights = softmax(q.matmul(k.swap_dims(2, 3)), 3); // [batch, heads, 1, tokens]
        self.c_proj.forward(weights.matmul(v).reshape([batch, channels]))
    }
}
