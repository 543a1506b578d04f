//! Batch normalisation with PyTorch's statistics.

use burn::{
    module::{Module, Param},
    tensor::{DType, FloatDType, Tensor, assert_shape},
};
use twinflame_kernels::{Then, batch_norm};

use crate::{
    init::{Init, Values},
    running_stat::RunningStat,
};

/// Added to the variance (PyTorch's default, which open_clip keeps).
const EPSILON: f64 = 1e-5;
/// Weight of the newest batch in the running statistics (PyTorch's default).
const MOMENTUM: f64 = 0.1;

/// What a forward pass is for. Only layers that treat training and evaluation differently look at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// Normalise with the batch's statistics and move the running ones.
    Train,
    /// Normalise with the batch's statistics and leave the running ones: the pass without gradient that precedes the
    /// real one when a large batch is computed in pieces.
    Preview,
    /// Normalise with the running statistics.
    Eval,
}

/// Batch normalisation (Ioffe & Szegedy 2015, <https://arxiv.org/abs/1502.03167>) over all axes but the channels.
///
/// As in PyTorch, a batch is normalised by its biased variance and the running variance takes the unbiased one.
#[derive(Module, Debug)]
pub struct BatchNorm {
    /// Gain, `[channels]`.
    pub gamma: Param<Tensor<1>>,
    /// Offset, `[channels]`.
    pub beta: Param<Tensor<1>>,
    /// Running mean, `[channels]`.
    pub running_mean: RunningStat,
    /// Running unbiased variance, `[channels]`.
    pub running_var: RunningStat,
}

impl BatchNorm {
    pub(crate) fn new(init: &Init, channels: usize, gain: f64) -> Self {
        Self {
            gamma: init.param("weight", [channels], Values::Constant(gain)),
            beta: init.param("bias", [channels], Values::Constant(0.0)),
            running_mean: RunningStat::new(Tensor::zeros([channels], (init.device(), DType::F32))),
            running_var: RunningStat::new(Tensor::ones([channels], (init.device(), DType::F32))),
        }
    }

    /// Normalises, and does what follows; sums are taken in f32 whatever the input's type.
    ///
    /// # Shapes
    /// - x, output: `[channels, ..]`
    ///
    /// # Panics
    /// If `x` has another number of channels.
    pub fn forward<const D: usize>(&self, x: Tensor<D>, then: Then<D>, pass: Pass) -> Tensor<D> {
        let [channels] = self.gamma.lazy_shape().dims();
        assert_shape!(x, [channels, ..]);
        let dtype: FloatDType = x.dtype().into();
        if matches!(dtype, FloatDType::F32 | FloatDType::F64) {
            return self.normalize(x, then, pass);
        }
        self.normalize(x.cast(FloatDType::F32), then.cast(FloatDType::F32), pass)
            .cast(dtype)
    }

    fn normalize<const D: usize>(&self, x: Tensor<D>, then: Then<D>, pass: Pass) -> Tensor<D> {
        let dtype: FloatDType = x.dtype().into();
        let gamma = self.gamma.val().cast(dtype);
        let beta = self.beta.val().cast(dtype);
        if pass == Pass::Eval {
            // One multiplication and one addition per element.
            let mean = self.running_mean.value().cast(dtype);
            let var = self.running_var.value().cast(dtype);
            let scale = gamma / (var + EPSILON).sqrt();
            let shift = beta - mean * scale.clone();
            return then.apply(x * per_channel(scale) + per_channel(shift));
        }
        let [channels] = gamma.dims();
        let samples = x.shape().num_elements() / channels;
        let batch = batch_norm(x, gamma, beta, EPSILON, then);
        if pass == Pass::Train {
            self.update(batch.mean, batch.variance, samples);
        }
        batch.output
    }

    /// Moves the running statistics towards those of a batch with `samples` values per channel.
    fn update(&self, mean: Tensor<1>, biased_var: Tensor<1>, samples: usize) {
        let bessel = samples as f64 / (samples as f64 - 1.0).max(1.0);
        let step = |stat: &RunningStat, new: Tensor<1>, factor: f64| {
            let old = stat.value();
            let new = new.detach().cast(FloatDType::from(old.dtype()));
            stat.set(old * (1.0 - MOMENTUM) + new * (MOMENTUM * factor));
        };
        step(&self.running_mean, mean, 1.0);
        step(&self.running_var, biased_var, bessel);
    }
}

/// `[channels]` to `[channels, 1, ..]`.
fn per_channel<const D: usize>(x: Tensor<1>) -> Tensor<D> {
    let mut dims = [1; D];
    dims[0] = x.dims()[0];
    x.reshape(dims)
}

#[cfg(test)]
mod tests {
    use burn::{
        module::{ModuleMapper, ModuleVisitor, ParamId},
        tensor::{Device, TensorData, Tolerance},
    };

    use super::*;

    fn layer(device: &Device) -> BatchNorm {
        BatchNorm::new(&Init::new(0, device), 2, 1.0)
    }

    /// Channel 0: 1, 2, 3, 6; channel 1: four times 5.
    fn input(device: &Device) -> Tensor<3> {
        Tensor::from_floats([[[1.0, 2.0], [3.0, 6.0]], [[5.0, 5.0], [5.0, 5.0]]], device)
    }

    fn assert_close(actual: Tensor<1>, expected: [f32; 2]) {
        actual
            .into_data()
            .assert_approx_eq::<f32>(&TensorData::from(expected), Tolerance::absolute(1e-6));
    }

    #[test]
    fn training_normalises_by_the_batch_and_moves_the_running_statistics() {
        let device = Device::flex();
        let layer = layer(&device);
        let y = layer.forward(input(&device), Then::Nothing, Pass::Train);
        // Mean 3, biased variance 3.5.
        let expected = [-2.0f32, -1.0, 0.0, 3.0, 0.0, 0.0, 0.0, 0.0].map(|v| v / 3.50001f32.sqrt());
        y.into_data().assert_approx_eq::<f32>(
            &TensorData::new(expected.to_vec(), [2, 2, 2]),
            Tolerance::absolute(1e-6),
        );
        assert_close(layer.running_mean.value(), [0.3, 0.5]);
        // Unbiased variance 14 / 3 and 0.
        assert_close(layer.running_var.value(), [0.9 + 0.1 * 14.0 / 3.0, 0.9]);
    }

    #[test]
    fn preview_computes_as_training_but_remembers_nothing() {
        let device = Device::flex();
        let layer = layer(&device);
        let preview = layer.forward(input(&device), Then::Nothing, Pass::Preview).into_data();
        assert_close(layer.running_mean.value(), [0.0, 0.0]);
        assert_close(layer.running_var.value(), [1.0, 1.0]);
        assert_eq!(
            preview,
            layer.forward(input(&device), Then::Nothing, Pass::Train).into_data()
        );
    }

    #[test]
    fn evaluation_uses_the_running_statistics() {
        let device = Device::flex();
        let layer = layer(&device);
        layer.running_mean.set(Tensor::from_floats([1.0, 5.0], &device));
        layer.running_var.set(Tensor::from_floats([4.0, 1.0], &device));
        let y = layer.forward(input(&device), Then::Nothing, Pass::Eval);
        y.into_data().assert_approx_eq::<f32>(
            &TensorData::new(vec![0.0f32, 0.5, 1.0, 2.5, 0.0, 0.0, 0.0, 0.0], [2, 2, 2]),
            Tolerance::absolute(1e-5),
        );
    }

    struct Half;
    impl ModuleMapper for Half {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|tensor| tensor.cast(FloatDType::F16))
        }
    }

    struct Seven;
    impl ModuleMapper for Seven {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|tensor| tensor.full_like(7.0))
        }
    }

    #[derive(Default)]
    struct Ids(Vec<ParamId>);
    impl ModuleVisitor for Ids {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.push(param.id);
        }
    }

    #[test]
    fn a_low_precision_copy_collects_statistics_for_the_original() {
        let device = Device::flex();
        let layer = layer(&device);
        let copy = layer.clone().map(&mut Half);
        assert_eq!(copy.gamma.val().dtype(), DType::F16);
        let y = copy.forward(input(&device).cast(FloatDType::F16), Then::Nothing, Pass::Train);
        assert_eq!(y.dtype(), DType::F16);
        assert_eq!(layer.running_mean.value().dtype(), DType::F32);
        assert_close(layer.running_mean.value(), [0.3, 0.5]);
    }

    #[test]
    fn writing_into_a_mapped_clone_leaves_the_original() {
        let device = Device::flex();
        let layer = layer(&device);
        let other = layer.clone().map(&mut Seven);
        assert_close(other.running_var.value(), [7.0, 7.0]);
        assert_close(layer.running_var.value(), [1.0, 1.0]);
        let mut ids = (Ids::default(), Ids::default());
        layer.visit(&mut ids.0);
        other.visit(&mut ids.1);
        assert_eq!(ids.0.0, ids.1.0);
        assert_eq!(ids.0.0.len(), 4);
    }
}
