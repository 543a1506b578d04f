//! Convolution without bias.

use burn::{
    module::{Module, Param},
    tensor::{Int, Tensor, TensorData, module::conv2d, ops::ConvOptions},
};
use twinflame_kernels::matmul;

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
            let y = matmul(weight.reshape([channels_out, channels_in]), x);
            return y.reshape([channels_out, batch, height, width]);
        }
        let [_, _, height, width] = x.dims();
        if self.stride == 1 && height <= 2 && width <= 2 {
            return all_to_all(x, weight);
        }
        let options = ConvOptions::new([self.stride; 2], [size / 2; 2], [1, 1], 1);
        conv2d(x.swap_dims(0, 1), weight, None, options).swap_dims(0, 1)
    }
}

/// A 3x3 convolution over at most 2 x 2 pixels, where every pixel sees every other: one product over the whole batch.
fn all_to_all(x: Tensor<4>, weight: Tensor<4>) -> Tensor<4> {
    let [channels_in, batch, height, width] = x.dims();
    let [channels_out, ..] = weight.dims();
    let pixels = height * width;
    // For each input pixel and each output pixel, the tap of the kernel that joins them.
    let taps: Vec<i32> = (0..pixels)
        .flat_map(|from| (0..pixels).map(move |to| (from, to)))
        .map(|(from, to)| (3 * (1 + from / width - to / width) + 1 + from % width - to % width) as i32)
        .collect();
    let taps = Tensor::<1, Int>::from_data(TensorData::new(taps, [pixels * pixels]), &weight.device());
    let weight = weight
        .reshape([channels_out * channels_in, 9])
        .select(1, taps)
        .reshape([channels_out, channels_in, pixels, pixels])
        .permute([1, 2, 0, 3]) // [channels_in, from, channels_out, to]
        .reshape([channels_in * pixels, channels_out * pixels]);
    let x = x.swap_dims(0, 1).reshape([batch, channels_in * pixels]);
    matmul(x, weight)
        .reshape([batch, channels_out, height, width])
        .swap_dims(0, 1)
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution, Tolerance};

    use super::*;

    #[test]
    fn shortcuts_equal_the_convolution() {
        let device = Device::flex();
        let init = Init::new(0, &device);
        for (size, height, width) in [(1, 3, 2), (3, 2, 2), (3, 1, 2), (3, 2, 1), (3, 1, 1)] {
            let conv = Conv::new(&init, "conv", [3, 5], size, 1);
            let x = Tensor::<4>::random([3, 4, height, width], Distribution::Default, &device);
            let options = ConvOptions::new([1; 2], [size / 2; 2], [1, 1], 1);
            let expected = conv2d(x.clone().swap_dims(0, 1), conv.weight.val(), None, options);
            let actual = conv.forward(x).swap_dims(0, 1);
            actual
                .into_data()
                .assert_approx_eq::<f32>(&expected.into_data(), Tolerance::absolute(1e-6));
        }
    }
}
