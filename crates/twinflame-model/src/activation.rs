//! GELU and its sigmoid approximation.

use burn::tensor::Tensor;
use twinflame_kernels::{gelu, quick_gelu};

/// The non-linearity of a transformer's feed-forward layer.
///
/// OpenAI's weights were trained with [`Activation::QuickGelu`]; open_clip's own mostly with [`Activation::Gelu`].
/// Evaluating one with the other loses accuracy without any error, so the choice is part of the model's configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activation {
    /// `x * normal_cdf(x)`, exact (error function).
    #[default]
    Gelu,
    /// `x * sigmoid(1.702 x)`.
    QuickGelu,
}

impl Activation {
    /// Applies the function to every element.
    pub fn forward<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Gelu => gelu(x),
            Self::QuickGelu => quick_gelu(x),
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData, Tolerance};

    use super::*;

    const INPUT: [f32; 6] = [-2.0, -1.0, -0.5, 0.5, 1.0, 2.0];

    fn check(activation: Activation, expected: [f32; 6]) {
        let x = Tensor::<1>::from_floats(INPUT, &Device::flex());
        activation
            .forward(x)
            .into_data()
            .assert_approx_eq::<f32>(&TensorData::from(expected), Tolerance::absolute(2e-7));
    }

    #[test]
    fn reference_values() {
        check(
            Activation::QuickGelu,
            [
                -0.064_341_374,
                -0.154_204_23,
                -0.149_611_56,
                0.350_388_44,
                0.845_795_75,
                1.935_658_6,
            ],
        );
        check(
            Activation::Gelu,
            [
                -0.045_500_264,
                -0.158_655_26,
                -0.154_268_77,
                0.345_731_23,
                0.841_344_8,
                1.954_499_7,
            ],
        );
    }
}
