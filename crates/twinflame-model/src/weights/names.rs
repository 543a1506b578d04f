//! Names of this crate's tensors in the references.

use burn::{
    module::{Module, ModuleVisitor, Param, ParamId},
    tensor::Tensor,
};

use super::Layout;

/// One tensor of a module.
#[derive(Clone, Debug)]
pub struct NamedParam {
    /// Name in the reference's state dict, for example `visual.transformer.resblocks.0.attn.in_proj_weight`.
    pub name: String,
    /// Path in this crate, for example `image_encoder.Vit.blocks.0.attn.in_proj.weight`.
    pub path: String,
    /// Identity; gradients and optimiser state are found by it.
    pub id: ParamId,
    /// Shape here.
    pub shape: Vec<usize>,
    /// Relation to the reference's tensor.
    pub layout: Layout,
    /// Whether it is a running statistic or a queue, which no optimiser touches.
    pub is_buffer: bool,
}

/// A module whose tensors have names in a reference: open_clip's for [`Clip`](crate::Clip), salesforce/ALBEF's for
/// [`Albef`](crate::Albef) and its parts.
pub trait ReferenceNames: Module {
    /// Name and layout in the reference of the tensor at this place.
    fn reference(&self, place: &Place<'_>) -> (String, Layout);

    /// A tensor that has another shape in a file than here, resampled; `None` if that makes no sense.
    ///
    /// `values` and `found` are the file's, in the reference's order and shape.
    fn resize(_param: &NamedParam, _values: &[f32], _found: &[usize]) -> Option<Vec<f32>> {
        None
    }
}

/// Where a tensor is in a module.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Names of the fields from the module down to the tensor.
    pub path: &'a [String],
    /// Whether it is the weight of a linear layer, which PyTorch keeps transposed.
    pub is_linear_weight: bool,
}

/// All float tensors of a module, in the order in which a visitor sees them.
pub fn named_params<M: ReferenceNames>(module: &M) -> Vec<NamedParam> {
    let mut visitor = Names {
        module,
        path: Vec::new(),
        containers: Vec::new(),
        params: Vec::new(),
    };
    module.visit(&mut visitor);
    visitor.params
}

struct Names<'a, M> {
    module: &'a M,
    path: Vec<String>,
    containers: Vec<String>,
    params: Vec<NamedParam>,
}

impl<M: ReferenceNames> ModuleVisitor for Names<'_, M> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.push(name.to_owned());
        self.containers.push(container_type.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
        self.containers.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let container = self.containers.last().map(String::as_str);
        let place = Place {
            path: &self.path,
            is_linear_weight: container == Some("Struct:Linear") && D == 2,
        };
        let (name, layout) = self.module.reference(&place);
        self.params.push(NamedParam {
            is_buffer: [".running_mean", ".running_var", "_queue"]
                .iter()
                .any(|end| name.ends_with(end)),
            name,
            path: self.path.join("."),
            id: param.id,
            shape: param.lazy_shape().to_vec(),
            layout,
        });
    }
}
