//! Low-precision compute with f32 master weights.

use burn::{
    module::{Module, ModuleMapper, Param},
    tensor::{Device, FloatDType, Tensor},
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Float type that the towers compute in. Master weights, optimiser, normalisation and losses stay in f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32 bits throughout.
    #[default]
    F32,
    /// bfloat16: the range of f32 with 8 bits of mantissa. The one to take where the device has it.
    Bf16,
    /// Half precision. There is no loss scaling: gradients below 6e-8 are lost.
    F16,
}

/// The device cannot compute in the precision that was asked for.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "precision = \"{}\" is not supported by this device; it supports {supported}",
    precision.name()
)]
pub struct PrecisionError {
    /// What was asked for.
    pub precision: Precision,
    /// What would be right, as a list of quoted names.
    pub supported: String,
}

impl Precision {
    /// All precisions.
    pub const ALL: [Self; 3] = [Self::F32, Self::Bf16, Self::F16];

    /// The name in a recipe.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        }
    }

    /// burn's name of the type.
    #[must_use]
    pub fn float_dtype(self) -> FloatDType {
        match self {
            Self::F32 => FloatDType::F32,
            Self::Bf16 => FloatDType::BF16,
            Self::F16 => FloatDType::F16,
        }
    }

    /// Checks that `device` computes in this precision.
    ///
    /// # Errors
    /// [`PrecisionError`] names the precisions that the device has.
    pub fn check(self, device: &Device) -> Result<(), PrecisionError> {
        // burn initialises in f32, so f32 needs no question.
        if self == Self::F32 || device.supports_dtype(self.float_dtype()) {
            return Ok(());
        }
        let supported: Vec<String> = Self::ALL
            .into_iter()
            .filter(|p| *p == Self::F32 || device.supports_dtype(p.float_dtype()))
            .map(|p| format!("\"{}\"", p.name()))
            .collect();
        Err(PrecisionError {
            precision: self,
            supported: supported.join(", "),
        })
    }

    /// The module with its parameters cast to this precision.
    ///
    /// The cast is part of the graph: backward through the result gives the gradients of `module` itself, in f32.
    /// In f32 this is a cheap clone. Running statistics stay as they are and shared: see
    /// [`RunningStat`](twinflame_model::RunningStat).
    #[must_use]
    pub fn cast<M: Module>(self, module: &M) -> M {
        let module = module.clone();
        match self {
            Self::F32 => module,
            _ => module.map(&mut Cast(self.float_dtype())),
        }
    }
}

struct Cast(FloatDType);

impl ModuleMapper for Cast {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|tensor| tensor.cast(self.0))
    }
}

#[cfg(test)]
mod tests {
    use burn::{module::ParamId, nn::LinearConfig, optim::GradientsParams, tensor::DType};

    use super::*;

    #[test]
    fn a_missing_type_is_named_with_what_is_there() {
        let error = PrecisionError {
            precision: Precision::Bf16,
            supported: "\"f32\", \"f16\"".to_owned(),
        };
        assert_eq!(
            error.to_string(),
            "precision = \"bf16\" is not supported by this device; it supports \"f32\", \"f16\""
        );
        assert_eq!(Precision::Bf16.check(&Device::flex()), Ok(()));
    }

    #[test]
    fn gradients_come_back_to_the_f32_master() {
        let device = Device::flex().autodiff();
        let master = LinearConfig::new(3, 2).init(&device);
        for precision in [Precision::Bf16, Precision::F16] {
            let low = precision.cast(&master);
            let dtype = DType::from(precision.float_dtype());
            assert_eq!(low.weight.val().dtype(), dtype);
            let x = Tensor::<2>::ones([4, 3], &device).cast(precision.float_dtype());
            let loss = low.forward(x).cast(FloatDType::F32).sum();
            let grads = GradientsParams::from_grads(loss.backward(), &master);
            let weight: ParamId = master.weight.id;
            let grad = grads.get::<2>(weight).expect("gradient of the master");
            assert_eq!(grad.dtype(), DType::F32);
            assert_eq!(grad.try_to_vec_as::<f32>().expect("readable"), [4.0; 6]);
            assert_eq!(master.weight.val().dtype(), DType::F32);
        }
    }
}
