//! Initial values of parameters, drawn on the host.
//!
//! Every parameter has its own random stream, chosen by the seed and by the parameter's name. So a model
//! starts from the same values on every backend, whatever order its parameters are touched in, and a parameter whose
//! value is loaded from a file is never drawn at all.

use std::fmt::Display;

use burn::module::{Param, ParamId};
use burn::nn::Embedding;
use burn::tensor::{Device, Shape, Tensor, TensorData};
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};
use rand_distr::{Distribution, StandardNormal};

use crate::{LayerNorm, Linear};

/// What layer normalisation adds to the variance in CLIP (PyTorch's default).
pub(crate) const NORM_EPSILON: f64 = 1e-5;

/// Where the values of one parameter come from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Values {
    /// Every element is this value.
    Constant(f64),
    /// Normal with mean 0 and this standard deviation.
    Normal(f64),
    /// Uniform between minus and plus this bound.
    Uniform(f64),
    /// Directions without preference: normal, then rows of this many elements scaled to length 1.
    UnitRows(usize),
}

impl Values {
    /// PyTorch's default for the weight and bias of `Linear` and `Conv2d`: Kaiming uniform with `a = sqrt(5)`, which is
    /// uniform within `1 / sqrt(fan_in)`.
    pub(crate) fn torch_default(fan_in: usize) -> Self {
        Self::Uniform((fan_in as f64).powf(-0.5))
    }

    /// Xavier uniform, `sqrt(6 / (fan_in + fan_out))`: what PyTorch's multi-head attention gives its joint projection.
    pub(crate) fn xavier_uniform(fan_in: usize, fan_out: usize) -> Self {
        Self::Uniform((6.0 / (fan_in + fan_out) as f64).sqrt())
    }

    fn draw(self, count: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
        match self {
            Self::Constant(value) => vec![value as f32; count],
            Self::Normal(std) => StandardNormal
                .sample_iter(rng)
                .take(count)
                .map(|z: f64| (z * std) as f32)
                .collect(),
            Self::Uniform(bound) => (0..count)
                .map(|_| ((rng.random::<f64>() * 2.0 - 1.0) * bound) as f32)
                .collect(),
            Self::UnitRows(width) => {
                let values: Vec<f64> = StandardNormal.sample_iter(rng).take(count).collect();
                let rows = values.chunks(width).flat_map(|row| {
                    let length = row.iter().map(|v| v * v).sum::<f64>().sqrt();
                    row.iter().map(move |v| (v / length) as f32)
                });
                rows.collect()
            }
        }
    }
}

/// Makes the parameters below one point of the model.
#[derive(Clone, Debug)]
pub(crate) struct Init<'a> {
    seed: u64,
    prefix: String,
    device: &'a Device,
}

impl<'a> Init<'a> {
    pub(crate) fn new(seed: u64, device: &'a Device) -> Self {
        Self {
            seed,
            prefix: String::new(),
            device,
        }
    }

    pub(crate) fn device(&self) -> &Device {
        self.device
    }

    /// The same, one level down: `init.at("visual")`.
    pub(crate) fn at(&self, name: impl Display) -> Self {
        Self {
            seed: self.seed,
            prefix: format!("{}{name}.", self.prefix),
            device: self.device,
        }
    }

    pub(crate) fn param<const D: usize>(&self, name: &str, shape: [usize; D], values: Values) -> Param<Tensor<D>> {
        let seed = self.seed;
        let stream = stream_of(&format!("{}{name}", self.prefix));
        Param::uninitialized(
            ParamId::new(),
            move |device, require_grad| {
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                rng.set_stream(stream);
                let data = TensorData::new(values.draw(shape.iter().product(), &mut rng), shape);
                let tensor = device.memory_persistent_allocations(data, |data| Tensor::from_data(data, device));
                if require_grad { tensor.require_grad() } else { tensor }
            },
            self.device.clone(),
            true,
            Shape::new(shape),
        )
    }

    /// `[d_input, d_output]`, drawn under the name that open_clip gives the weight and bias.
    pub(crate) fn linear(
        &self,
        [weight_name, bias_name]: [&str; 2],
        [d_input, d_output]: [usize; 2],
        weight: Values,
        bias: Option<Values>,
    ) -> Linear {
        Linear {
            weight: self.param(weight_name, [d_input, d_output], weight),
            bias: bias.map(|values| self.param(bias_name, [d_output], values)),
        }
    }

    pub(crate) fn embedding(&self, name: &str, shape: [usize; 2], values: Values) -> Embedding {
        Embedding {
            weight: self.param(name, shape, values),
        }
    }

    /// Gain 1, bias 0.
    pub(crate) fn layer_norm(&self, d_model: usize, epsilon: f64) -> LayerNorm {
        LayerNorm {
            gamma: self.param("weight", [d_model], Values::Constant(1.0)),
            beta: self.param("bias", [d_model], Values::Constant(0.0)),
            epsilon,
        }
    }
}

/// FNV-1a, 64 bits: spreads names over ChaCha's streams.
fn stream_of(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(values: &[f32]) -> (f64, f64) {
        let count = values.len() as f64;
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
        let variance = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / count;
        (mean, variance.sqrt())
    }

    #[test]
    fn draws_have_the_requested_spread() {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let (mean, std) = moments(&Values::Normal(0.02).draw(100_000, &mut rng));
        assert!(mean.abs() < 0.02 * 0.02 && (std / 0.02 - 1.0).abs() < 0.01);

        let values = Values::torch_default(16).draw(100_000, &mut rng);
        let (mean, std) = moments(&values);
        assert!(mean.abs() < 0.005 && (std * 12f64.sqrt() / 0.5 - 1.0).abs() < 0.01);
        assert!(values.iter().all(|v| v.abs() <= 0.25));
    }

    #[test]
    fn a_value_depends_on_seed_and_name_only() {
        let device = Device::flex();
        let draw = |seed, name: &str| {
            Init::new(seed, &device)
                .at("visual")
                .param(name, [8], Values::Normal(1.0))
                .val()
                .into_data()
        };
        assert_eq!(draw(3, "proj"), draw(3, "proj"));
        assert_ne!(draw(3, "proj"), draw(4, "proj"));
        assert_ne!(draw(3, "proj"), draw(3, "conv1.weight"));
    }
}
