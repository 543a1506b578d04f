//! Between a module and tensors with the reference's names.

use std::collections::{HashMap, HashSet};

use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId},
    tensor::{DType, Tensor, TensorData},
};

use super::{Allow, NamedParam, ReferenceNames, WeightsError, named_params};
use crate::pos_embed::{Resample, resize_grid};

/// What a load did beyond copying.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Number of tensors copied.
    pub loaded: usize,
    /// Position tables of another size that were resampled.
    pub resized: Vec<String>,
    /// Entries of the file that the model has no use for.
    pub ignored: Vec<String>,
    /// Tensors of the model that are not in the file and were allowed to stay as they are.
    pub missing: Vec<String>,
}

/// Collects the values of one or several modules, before any of them is changed.
pub(super) struct Loader {
    tensors: HashMap<String, TensorData>,
    values: HashMap<ParamId, TensorData>,
    missing: Vec<String>,
    report: LoadReport,
}

impl Loader {
    pub(super) fn new(tensors: HashMap<String, TensorData>) -> Self {
        Self {
            tensors,
            values: HashMap::new(),
            missing: Vec::new(),
            report: LoadReport::default(),
        }
    }

    /// Takes the tensors of a module, whose names in the file are the reference's after `rename`.
    pub(super) fn take<M: ReferenceNames>(
        &mut self,
        module: &M,
        rename: impl Fn(&str) -> String,
    ) -> Result<(), WeightsError> {
        self.take_where(module, rename, |_| true)
    }

    /// Takes the tensors of a module for whose own names `is_wanted` holds.
    fn take_where<M: ReferenceNames>(
        &mut self,
        module: &M,
        rename: impl Fn(&str) -> String,
        is_wanted: impl Fn(&str) -> bool,
    ) -> Result<(), WeightsError> {
        for param in named_params(module).into_iter().filter(|param| is_wanted(&param.name)) {
            let name = rename(&param.name);
            if let Some(tensor) = self.take_one(&name) {
                let tensor = fit::<M>(&param, &name, tensor, &mut self.report)?;
                self.values.insert(param.id, tensor);
            }
        }
        Ok(())
    }

    /// Takes a tensor as it is; a missing one is remembered.
    pub(super) fn take_one(&mut self, name: &str) -> Option<TensorData> {
        let tensor = self.tensors.remove(name);
        match tensor {
            Some(_) => self.report.loaded += 1,
            None => self.missing.push(name.to_owned()),
        }
        tensor
    }

    /// # Errors
    /// If a tensor was missing or is left over.
    pub(super) fn finish(self) -> Result<(HashMap<ParamId, TensorData>, LoadReport), WeightsError> {
        self.finish_allowing(&Allow::default())
    }

    /// # Errors
    /// If a tensor was missing or is left over that is not allowed to be.
    pub(super) fn finish_allowing(
        mut self,
        allow: &Allow,
    ) -> Result<(HashMap<ParamId, TensorData>, LoadReport), WeightsError> {
        let (allowed, missing) = self.missing.into_iter().partition(|name| allow.allows(name));
        self.report.missing = allowed;
        let mut left: Vec<_> = self.tensors.into_keys().collect();
        left.sort();
        let (allowed, unexpected): (Vec<_>, Vec<_>) = left.into_iter().partition(|name| allow.allows(name));
        self.report.ignored.extend(allowed);
        match (&missing, &unexpected) {
            (missing, unexpected) if missing.is_empty() && unexpected.is_empty() => Ok((self.values, self.report)),
            _ => Err(WeightsError::Names { missing, unexpected }),
        }
    }
}

/// The file's tensor in the shape and order that `param` has here.
fn fit<M: ReferenceNames>(
    param: &NamedParam,
    name: &str,
    tensor: TensorData,
    report: &mut LoadReport,
) -> Result<TensorData, WeightsError> {
    if tensor.dtype() != DType::F32 {
        return Err(WeightsError::DType {
            name: name.to_owned(),
            dtype: format!("{:?}", tensor.dtype()),
        });
    }
    let found = tensor.shape().to_vec();
    let expected = param.layout.reference_shape(&param.shape);
    let mut values: Vec<f32> = tensor.iter().collect();
    if found != expected {
        values = M::resize(param, &values, &found).ok_or_else(|| WeightsError::Shape {
            name: name.to_owned(),
            found,
            expected,
        })?;
        report.resized.push(name.to_owned());
    }
    let values = param.layout.from_reference(values, &param.shape);
    Ok(TensorData::new(values, param.shape.clone()))
}

impl NamedParam {
    /// The position table of an image encoder for another number of patches, both grids square; `None` if it is none.
    pub(super) fn resize_grid(&self, values: &[f32], found: &[usize], resample: Resample) -> Option<Vec<f32>> {
        let (&[.., from, from_width], &[to, width]) = (found, self.shape.as_slice()) else {
            return None;
        };
        let side = |tokens: usize| {
            let side = tokens.checked_sub(1)?.isqrt();
            (side > 0 && side * side + 1 == tokens).then_some([side; 2])
        };
        if from_width != width || from * width != values.len() {
            return None;
        }
        Some(resize_grid(values, width, side(from)?, side(to)?, resample))
    }
}

/// Replaces values by id; whatever else a parameter is stays.
pub(super) struct Writer {
    values: HashMap<ParamId, TensorData>,
}

impl Writer {
    pub(super) fn new(values: HashMap<ParamId, TensorData>) -> Self {
        Self { values }
    }

    pub(super) fn replace<M: Module>(&mut self, module: &mut M) {
        *module = module.clone().map(self);
    }
}

impl ModuleMapper for Writer {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(data) = self.values.remove(&param.id) else {
            return param;
        };
        let id = param.id;
        let tensor = Tensor::from_data(data, &param.lazy_device());
        param.transform_for_load(tensor, id)
    }
}

/// Replaces the tensors of a module that are not `untouched`; all of `tensors` must be among them.
///
/// # Errors
/// If one of them is missing, left over, or has an impossible shape; `module` is then unchanged.
pub(super) fn load_some<M: ReferenceNames>(
    module: &mut M,
    tensors: HashMap<String, TensorData>,
    untouched: &HashSet<String>,
    mut ignored: Vec<String>,
    allow: &Allow,
) -> Result<LoadReport, WeightsError> {
    let mut loader = Loader::new(tensors);
    loader.take_where(module, str::to_owned, |name| !untouched.contains(name))?;
    let (values, mut report) = loader.finish_allowing(allow)?;
    Writer::new(values).replace(module);
    ignored.append(&mut report.ignored);
    ignored.sort();
    Ok(LoadReport { ignored, ..report })
}

/// Gives a module the weights of another of its kind, which may be of another image size or text length, and may have
/// heads that it lacks.
///
/// # Errors
/// If the other lacks a weight, or has one of another size that cannot be resampled; `module` is then unchanged.
pub fn transfer<M: ReferenceNames>(module: &mut M, other: &M) -> Result<LoadReport, WeightsError> {
    // By path: what a reference calls a tensor may depend on the heads.
    let of_path: HashMap<String, String> = named_params(module)
        .into_iter()
        .map(|param| (param.path, param.name))
        .collect();
    let (mut tensors, mut ignored) = (HashMap::new(), Vec::new());
    for (param, (_, tensor)) in named_params(other).into_iter().zip(to_tensors(other)?) {
        match of_path.get(&param.path) {
            Some(name) => drop(tensors.insert(name.clone(), tensor)),
            None => ignored.push(param.name),
        }
    }
    let mut loader = Loader::new(tensors);
    loader.take(module, str::to_owned)?;
    let (values, report) = loader.finish()?;
    Writer::new(values).replace(module);
    Ok(LoadReport { ignored, ..report })
}

/// All weights of a module with the reference's names, shapes and order of elements, in f32.
///
/// # Errors
/// If a value cannot be read from the device.
pub fn to_tensors<M: ReferenceNames>(module: &M) -> Result<Vec<(String, TensorData)>, WeightsError> {
    let mut reader = Reader {
        params: named_params(module).into_iter(),
        tensors: Vec::new(),
    };
    module.visit(&mut reader);
    reader.tensors.into_iter().collect()
}

struct Reader {
    params: std::vec::IntoIter<NamedParam>,
    tensors: Vec<Result<(String, TensorData), WeightsError>>,
}

impl ModuleVisitor for Reader {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        // The same visit made the list, so it has the same order.
        let Some(named) = self.params.next() else {
            return;
        };
        let tensor = param.val().try_into_vec_as::<f32>().map(|values| {
            let values = named.layout.to_reference(values, &named.shape);
            let shape = named.layout.reference_shape(&named.shape);
            TensorData::new(values, shape)
        });
        self.tensors.push(match tensor {
            Ok(data) => Ok((named.name, data)),
            Err(reason) => Err(WeightsError::Device {
                name: named.name,
                reason: format!("{reason:?}"),
            }),
        });
    }
}
