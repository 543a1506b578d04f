//! Convolution without bias.

use burn::{
    module::{Module, Param},
    tensor::{Tensor, module::conv2d, ops::ConvOptions},
};

use crate::init::{Init, Values};

/// A square convolution without bias that keeps the size at stride 1.
#[derive(Module, Debug)]
pub struct Conv {
    /// `[channels_out, channels_in, size, size]`, `size` 1 or 3.
    pub weight: Param<Tensor<4>>,
    /// Distance between outputs, in pixels.
    pub stride: usize,
}

impl Conv {
    pub(crate) fn new(init: &Init, name: &str, channels: [usize; 2], size: usize, stride: usize) -> Self {
        let [channels_in, channels_out] = channels;
        Self {
            weight: init.param(
                &format!("{name}.weight"),
                [channels_out, channels_in, size, size],
                Values::torch_default(channels_in * size * size),
            ),
            stride,
        }
    }

    /// `[batch, channels_in, height, width]` to `[batch, channels_out, height / stride, width / stride]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let weight = self.weight.val();
        let [_, _, size, _] = weight.dims();
        let options = ConvOptions::new([self.stride; 2], [size / 2; 2], [1, 1], 1);
        conv2d(x, weight, None, options)
    }
}
