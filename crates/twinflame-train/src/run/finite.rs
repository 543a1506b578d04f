//! Whether a model's weights are still numbers.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;

/// Adds up every parameter on the device and reads one number back.
pub(super) fn weights_are_finite<M: Module>(module: &M) -> bool {
    let mut sums = Sums::default();
    module.visit(&mut sums);
    match sums.0 {
        Some(sum) => sum.into_data().iter::<f32>().all(f32::is_finite),
        None => true,
    }
}

/// 0 times every value: 0 if all are finite, else not a number. A plain sum could overflow.
#[derive(Default)]
struct Sums(Option<Tensor<1>>);

impl ModuleVisitor for Sums {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let sum = (param.val().without_autodiff() * 0.0).sum();
        self.0 = Some(match self.0.take() {
            Some(so_far) => so_far + sum,
            None => sum,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::nn::LinearConfig;
    use burn::tensor::Device;

    #[test]
    fn one_broken_weight_is_found() {
        let device = Device::flex();
        let linear = LinearConfig::new(3, 2).init(&device);
        assert!(weights_are_finite(&linear));
        let mut broken = linear;
        broken.weight = broken.weight.map(|weight| weight.clone() * f32::NAN);
        assert!(!weights_are_finite(&broken));
    }
}
