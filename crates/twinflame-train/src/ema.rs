//! Exponential moving average of the weights of a module.

use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId},
    tensor::{Tensor, container::TensorContainer},
};
use twinflame_kernels::moving_average;

/// A copy of `module` to average into: same values, no gradient, parameter ids of its own.
///
/// The ids matter: burn's optimiser finds gradients by id, so a plain clone beside its original would be trained.
/// The copy lives outside autodiff.
#[must_use]
pub fn averaged_copy<M: Module>(module: &M) -> M {
    module.valid().map(&mut FreshIds)
}

struct FreshIds;

impl ModuleMapper for FreshIds {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        Param::initialized(ParamId::new(), param.val().without_autodiff())
    }
}

/// One step of the average: `decay * average + (1 - decay) * module`, for weights and running statistics.
///
/// # Panics
/// If the two modules are not of the same structure.
#[must_use]
pub fn update_average<M: Module>(average: M, module: &M, decay: f64) -> M {
    let mut values = Values::default();
    module.visit(&mut values);
    let mut mapper = Blend {
        values: values.tensors,
        next: 0,
        decay,
    };
    let average = average.map(&mut mapper);
    assert_eq!(
        mapper.next, values.count,
        "the average and the module have different numbers of parameters"
    );
    average
}

/// The tensors of a module, numbered in the order of the visit.
#[derive(Default)]
struct Values {
    tensors: TensorContainer<usize>,
    count: usize,
}

impl ModuleVisitor for Values {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.tensors.register(self.count, param.val().without_autodiff());
        self.count += 1;
    }
}

struct Blend {
    values: TensorContainer<usize>,
    next: usize,
    decay: f64,
}

impl ModuleMapper for Blend {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let value: Option<Tensor<D>> = self.values.remove(&self.next);
        self.next += 1;
        match value {
            Some(value) => param.map(|average| moving_average(average.without_autodiff(), value, self.decay)),
            None => param,
        }
    }
}
