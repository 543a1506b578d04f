//! Average pooling.

use burn::tensor::{Tensor, TensorData};
use twinflame_kernels::matmul;

/// Average over squares of 2 x 2: `[.., .., height, width]` to `[.., .., height / 2, width / 2]`.
///
/// Two rows of pixels times a constant matrix: one product forwards, one backwards, over memory as it lies. burn's
/// pooling walks the windows one by one.
///
/// # Panics
/// If height or width is odd.
pub(super) fn halve(x: Tensor<4>) -> Tensor<4> {
    let [first, second, height, width] = x.dims();
    assert!(
        height.is_multiple_of(2) && width.is_multiple_of(2),
        "{height} x {width} pixels cannot be halved"
    );
    let out = [first, second, height / 2, width / 2];
    let pairs = x.reshape([first * second * height / 2, 2 * width]);
    let pooled = if width == 2 {
        pairs.mean_dim(1)
    } else {
        let weights = TensorData::new(pairing(width), [2 * width, width / 2]);
        let weights = Tensor::from_data(weights, (&pairs.device(), pairs.dtype()));
        matmul(pairs, weights)
    };
    pooled.reshape(out)
}

/// `[2 width, width / 2]`: a quarter where the input pixel of two rows belongs to the output pixel.
fn pairing(width: usize) -> Vec<f32> {
    let mut weights = vec![0.0; width * width];
    for pixel in 0..2 * width {
        weights[pixel * (width / 2) + pixel % width / 2] = 0.25;
    }
    weights
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution, Tolerance, module::avg_pool2d, ops::AvgPoolOptions};

    use super::*;

    #[test]
    fn equals_burns_pooling() {
        let device = Device::flex();
        for [height, width] in [[2, 2], [4, 2], [2, 4], [6, 8]] {
            let x = Tensor::<4>::random([3, 2, height, width], Distribution::Default, &device);
            let expected = avg_pool2d(x.clone(), AvgPoolOptions::new([2, 2])).into_data();
            halve(x)
                .into_data()
                .assert_approx_eq::<f32>(&expected, Tolerance::absolute(1e-6));
        }
    }
}
