//! Gradients under the reference's names.

use std::collections::HashMap;

use burn::{
    module::{ModuleVisitor, Param, ParamId},
    optim::GradientsParams,
    tensor::{Tensor, TensorData},
};
use twinflame_model::weights::{NamedParam, ReferenceNames, named_params};

use super::{Tensors, VerifyError};

/// Gradients of a model under the reference's names, in its shapes and order of elements.
///
/// # Errors
/// If a value cannot be read from the device.
pub fn named_gradients<M: ReferenceNames>(model: &M, grads: &GradientsParams) -> Result<Tensors, VerifyError> {
    let mut reader = Reader {
        params: by_id(model),
        grads,
        found: Ok(Tensors::new()),
    };
    model.visit(&mut reader);
    reader.found
}

/// The reverse: gradients for an optimiser, of those tensors of the model that have one here.
#[must_use]
pub fn from_named_gradients<M: ReferenceNames>(model: &M, named: &Tensors) -> GradientsParams {
    let mut writer = Registrar {
        params: by_id(model),
        named,
        grads: GradientsParams::new(),
    };
    model.visit(&mut writer);
    writer.grads
}

fn by_id<M: ReferenceNames>(model: &M) -> HashMap<ParamId, NamedParam> {
    named_params(model).into_iter().map(|param| (param.id, param)).collect()
}

struct Reader<'a> {
    params: HashMap<ParamId, NamedParam>,
    grads: &'a GradientsParams,
    found: Result<Tensors, VerifyError>,
}

impl ModuleVisitor for Reader<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let (Some(named), Some(grad)) = (self.params.get(&param.id), self.grads.get::<D>(param.id)) else {
            return;
        };
        match (&mut self.found, grad.try_into_vec_as::<f32>()) {
            (Ok(found), Ok(values)) => {
                let values = named.layout.to_reference(values, &named.shape);
                let shape = named.layout.reference_shape(&named.shape);
                found.insert(named.name.clone(), TensorData::new(values, shape));
            }
            (Ok(_), Err(error)) => self.found = Err(error.into()),
            (Err(_), _) => {}
        }
    }
}

struct Registrar<'a> {
    params: HashMap<ParamId, NamedParam>,
    named: &'a Tensors,
    grads: GradientsParams,
}

impl ModuleVisitor for Registrar<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(named) = self.params.get(&param.id) else {
            return;
        };
        let fits = |data: &&TensorData| data.num_elements() == named.shape.iter().product::<usize>();
        if let Some(data) = self.named.get(&named.name).filter(fits) {
            let values = named.layout.from_reference(data.iter().collect(), &named.shape);
            let data = TensorData::new(values, named.shape.clone());
            let device = param.lazy_device().without_autodiff();
            self.grads.register(param.id, Tensor::<D>::from_data(data, &device));
        }
    }
}
