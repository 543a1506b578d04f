//! Tensors as lists of numbers.

use std::collections::HashMap;

use burn::{
    module::{ModuleVisitor, Param, ParamId},
    optim::GradientsParams,
    tensor::{Tensor, TensorData},
};
use twinflame::model::weights::{NamedParam, ReferenceNames, named_params};

/// Tensors of a model or of its gradients in the reference's order of elements, by the reference's name.
struct Collect<'a> {
    params: HashMap<ParamId, NamedParam>,
    grads: &'a GradientsParams,
    found: HashMap<String, Vec<f32>>,
}

impl ModuleVisitor for Collect<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let named = &self.params[&param.id];
        if let Some(grad) = self.grads.get::<D>(param.id) {
            let values = grad.try_to_vec_as().unwrap();
            let values = named.layout.to_reference(values, &named.shape);
            self.found.insert(named.name.clone(), values);
        }
    }
}

/// Gradients by the reference's name.
pub(crate) fn named_grads<M: ReferenceNames>(model: &M, grads: &GradientsParams) -> HashMap<String, Vec<f32>> {
    let params = named_params(model).into_iter().map(|p| (p.id, p)).collect();
    let mut collect = Collect {
        params,
        grads,
        found: HashMap::new(),
    };
    model.visit(&mut collect);
    collect.found
}

pub(crate) fn floats(data: &TensorData) -> Vec<f32> {
    data.iter().collect()
}

pub(crate) fn scalar(tensor: Tensor<1>) -> f32 {
    tensor.try_to_vec_as::<f32>().unwrap()[0]
}

/// How far a weight may be off after Adam's first step, `lr * g / (|g| + eps)`, when its gradient may be off by 1e-5 of
/// the largest one of its tensor: nothing to speak of, except where the gradient itself is smaller than that, so that
/// the sign of the step is open. An exact zero stays exact.
pub(crate) fn first_step_error(optimizer: &serde_json::Value, gradient: f32, largest: f32) -> f32 {
    let number = |key: &str| optimizer[key].as_f64().unwrap() as f32;
    let step = |g: f32| number("lr") * g / (g.abs() + number("eps"));
    let error = if gradient == 0.0 { 0.0 } else { 1e-5 * largest };
    let off = |g: f32| (step(g) - step(gradient)).abs();
    off(gradient + error).max(off(gradient - error))
}
