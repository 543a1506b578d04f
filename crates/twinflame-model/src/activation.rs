//! GELU and its sigmoid approximation.

use std::f64::consts::FRAC_1_SQRT_2;
use std::sync::{Mutex, PoisonError};

use burn::tensor::{
    Device, FloatDType, Tensor,
    activation::{gelu, sigmoid},
};

/// `1.702`: the slope with which a sigmoid imitates the normal distribution function in QuickGELU
/// (Hendrycks & Gimpel 2016, <https://arxiv.org/abs/1606.08415>, section 2).
const QUICK_GELU_SLOPE: f64 = 1.702;

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
            Self::Gelu if x.is_autodiff() && !has_exact_gradient(&x.device()) => gelu_of_erf(x),
            Self::Gelu => gelu(x),
            Self::QuickGelu => x.clone() * sigmoid(x * QUICK_GELU_SLOPE),
        }
    }
}

/// GELU from differentiable parts: slower than burn's, and its gradient is right on every backend.
fn gelu_of_erf<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let cdf = (x.clone() * FRAC_1_SQRT_2).erf() * 0.5 + 0.5;
    x * cdf
}

/// Whether burn differentiates its GELU exactly on this device.
///
/// burn 0.22 falls back to the derivative of the tanh approximation wherever a backend has none of its own, which is
/// off by up to 9e-4; the value is exact everywhere. Which backends those are is asked of them, once per device.
fn has_exact_gradient(device: &Device) -> bool {
    static KNOWN: Mutex<Vec<(Device, bool)>> = Mutex::new(Vec::new());
    let find = |known: &[(Device, bool)]| known.iter().find(|(of, _)| of == device).map(|(_, exact)| *exact);
    if let Some(exact) = find(&KNOWN.lock().unwrap_or_else(PoisonError::into_inner)) {
        return exact;
    }
    let exact = gelu_gradient_error(device).is_some_and(|error| error < 1e-5);
    KNOWN
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push((device.clone(), exact));
    exact
}

/// Largest error of burn's gradient of GELU at a few points, `None` if the device cannot tell.
fn gelu_gradient_error(device: &Device) -> Option<f64> {
    /// Points, and `normal_cdf(x) + x normal_density(x)` at them.
    const POINTS: [f32; 4] = [-1.5, -0.75, 0.75, 1.5];
    const GRADIENTS: [f64; 4] = [-0.127_469_192, 0.000_774_278, 0.999_225_722, 1.127_469_192];
    let points = Tensor::<1>::from_floats(POINTS, &device.clone().autodiff()).cast(FloatDType::F32);
    let points = points.require_grad();
    let grads = gelu(points.clone()).sum().backward();
    let found: Vec<f32> = points.grad(&grads)?.try_into_vec_as().ok()?;
    let errors = GRADIENTS
        .iter()
        .zip(found)
        .map(|(exact, found)| (exact - f64::from(found)).abs());
    Some(errors.fold(0.0, f64::max))
}

#[cfg(test)]
mod tests {
    use burn::tensor::{TensorData, Tolerance};

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

    #[test]
    fn the_gradient_is_exact_by_either_way() {
        let device = Device::flex().autodiff();
        for function in [|x| Activation::Gelu.forward(x), gelu_of_erf::<1>] {
            let x = Tensor::<1>::from_floats(INPUT, &device).require_grad();
            let grads = function(x.clone()).sum().backward();
            let expected: [f32; 6] = [
                -0.085_231_8,
                -0.083_315_47,
                0.132_504_87,
                0.867_495_1,
                1.083_315_5,
                1.085_231_8,
            ];
            x.grad(&grads)
                .unwrap()
                .into_data()
                .assert_approx_eq::<f32>(&TensorData::from(expected), Tolerance::absolute(1e-6));
        }
    }
}
