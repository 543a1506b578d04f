//! AdamW as the runs use it: one pass over a parameter, and state that is restored where its parameters are.

use burn::optim::{
    AdamWState, AdaptiveMomentumState, DynOptimizer, DynState, LearningRate, Optimizer, StateSink, StateSource,
};
use burn::tensor::kind::BridgeTensor;
use burn::tensor::{Device, Tensor};
use twinflame_kernels::{AdamWStep, Moments, adamw};

/// AdamW by the fused kernel. Its record is that of burn's `AdamW`, and so are its steps.
#[derive(Clone, Debug)]
pub(crate) struct FusedAdamW {
    /// Decay of the first moment.
    pub(crate) beta_1: f32,
    /// Decay of the second moment.
    pub(crate) beta_2: f32,
    /// Added to the root of the second moment.
    pub(crate) epsilon: f32,
    /// Decoupled weight decay.
    pub(crate) weight_decay: f32,
}

impl Optimizer for FusedAdamW {
    type State<const D: usize> = AdamWState<D>;

    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<AdamWState<D>>,
    ) -> (Tensor<D>, Option<AdamWState<D>>) {
        let (time, moments) = match state.map(|state| state.momentum) {
            Some(momentum) => {
                let moments = Moments {
                    first: momentum.moment_1,
                    second: momentum.moment_2,
                };
                (momentum.time + 1, Some(moments))
            }
            None => (1, None),
        };
        let step = AdamWStep {
            lr,
            beta_1: self.beta_1,
            beta_2: self.beta_2,
            epsilon: self.epsilon,
            weight_decay: self.weight_decay,
            time,
        };
        let (tensor, Moments { first, second }) = adamw(tensor, grad, moments, step);
        let momentum = AdaptiveMomentumState::new(time, first, second);
        (tensor, Some(AdamWState { momentum }))
    }

    fn to_device<const D: usize>(mut state: AdamWState<D>, device: &Device) -> AdamWState<D> {
        state.momentum.moment_1 = state.momentum.moment_1.to_device(device);
        state.momentum.moment_2 = state.momentum.moment_2.to_device(device);
        state
    }
}

/// An optimiser that loads its state onto a device of the caller's choice.
///
/// burn's `ModuleOptimizer::load_record` puts it onto `Device::default()` first. That is the best backend *compiled
/// in*, whether there is such a device or not: a binary with CUDA that trains on another backend would die there.
#[derive(Clone, Debug)]
pub(crate) struct OnDevice {
    optimizer: FusedAdamW,
    device: Device,
}

impl OnDevice {
    /// The optimiser with its state on `device`.
    pub(crate) fn new(optimizer: FusedAdamW, device: Device) -> Self {
        Self { optimizer, device }
    }
}

impl DynOptimizer for OnDevice {
    fn step_dyn(
        &self,
        rank: usize,
        lr: LearningRate,
        tensor: BridgeTensor,
        grad: BridgeTensor,
        state: Option<DynState>,
    ) -> (BridgeTensor, Option<DynState>) {
        self.optimizer.step_dyn(rank, lr, tensor, grad, state)
    }

    fn to_device_dyn(&self, state: DynState, device: &Device) -> DynState {
        self.optimizer.to_device_dyn(state, device)
    }

    fn state_flatten(&self, prefix: &str, state: &DynState, out: &mut StateSink) {
        self.optimizer.state_flatten(prefix, state, out);
    }

    fn state_unflatten(
        &self,
        rank: usize,
        prefix: &str,
        source: &mut StateSource,
        _default: &Device,
    ) -> Option<DynState> {
        DynOptimizer::state_unflatten(&self.optimizer, rank, prefix, source, &self.device)
    }
}

#[cfg(test)]
mod tests {
    use burn::optim::AdamWConfig;

    use super::*;

    /// Ten steps beside burn's, on a parameter that the caller still holds and on one that he does not.
    #[test]
    fn steps_are_burns_to_the_bit() {
        let device = Device::flex();
        let burns = AdamWConfig::new()
            .with_beta_1(0.9)
            .with_beta_2(0.98)
            .with_epsilon(1e-6)
            .with_weight_decay(0.2);
        let fused = FusedAdamW {
            beta_1: 0.9,
            beta_2: 0.98,
            epsilon: 1e-6,
            weight_decay: 0.2,
        };
        let burns = burns.build();
        let values = |scale: f32| {
            let values: Vec<f32> = (0..35).map(|index| (index * 13 % 35) as f32 * scale - 0.1).collect();
            Tensor::<2>::from_data(burn::tensor::TensorData::new(values, [5, 7]), &device)
        };
        let (mut expected, mut found) = ((values(0.01), None), (values(0.01), None));
        for step in 1..=10 {
            let grad = values(0.1 / step as f32);
            let held = (step % 2 == 0).then(|| found.0.clone());
            expected = burns.step(1e-2, expected.0, grad.clone(), expected.1);
            found = fused.step(1e-2, found.0, grad, found.1);
            expected.0.to_data().assert_eq(&found.0.to_data(), true);
            drop(held);
        }
        let [expected, found] = [expected.1, found.1].map(|state| state.expect("a state").momentum);
        assert_eq!(expected.time, found.time);
        expected.moment_1.to_data().assert_eq(&found.moment_1.to_data(), true);
        expected.moment_2.to_data().assert_eq(&found.moment_2.to_data(), true);
    }
}
