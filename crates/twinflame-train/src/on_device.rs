//! Optimiser state that is restored where its parameters are.

use burn::optim::{AdamW, DynOptimizer, DynState, LearningRate, StateSink, StateSource};
use burn::tensor::Device;
use burn::tensor::kind::BridgeTensor;

/// AdamW that loads its state onto a device of the caller's choice.
///
/// burn's `ModuleOptimizer::load_record` puts it onto `Device::default()` first. That is the best backend *compiled
/// in*, whether there is such a device or not: a binary with CUDA that trains on another backend would die there.
#[derive(Clone)]
pub(crate) struct OnDevice {
    optimizer: AdamW,
    device: Device,
}

impl OnDevice {
    /// The optimiser with its state on `device`.
    pub(crate) fn new(optimizer: AdamW, device: Device) -> Self {
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
