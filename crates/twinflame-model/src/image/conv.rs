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

    /// `[channels_in, batch, height, width]` to `[channels_out, batch, height / stride, width / stride]`.
    ///
    /// Channels come first so that a 1x1 convolution is one matrix product over the whole batch. Over images of a few
    /// pixels that is several times faster than one product per image, which is what convolutions are made of
    /// otherwise.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let weight = self.weight.val();
        let [channels_out, channels_in, size, _] = weight.dims();
        if size == 1 && self.stride == 1 {
            let [_, batch, height, width] = x.dims();
            let x = x.reshape([channels_in, batch * height * width]);
            let y = weight.reshape([channels_out, channels_in]).matmul(x);
            return y.reshape([channels_out, batch, height, width]);
        }
        let options = ConvOptions::new([self.stride; 2], [size / 2; 2], [1, 1], 1);
        conv2d(x.swap_dims(0, 1), weight, None, options).swap_dims(0, 1)
    }
}
