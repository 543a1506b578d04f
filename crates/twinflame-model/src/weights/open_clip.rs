//! open_clip's safetensors files.

use std::{collections::HashMap, fs, path::Path};

use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId},
    tensor::{DType, Tensor, TensorData},
};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use super::{NamedParam, WeightsError, named_params};
use crate::{
    Clip,
    pos_embed::{Resample, resize_grid, resize_sequence},
};

/// Entries of published state dicts that carry no weight: counters of PyTorch's batch normalisation, the causal mask,
/// and sizes that OpenAI's archives store.
const IGNORED: [&str; 5] = [
    "num_batches_tracked",
    "attn_mask",
    "input_resolution",
    "context_length",
    "vocab_size",
];

/// What a load did beyond copying.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Number of tensors copied.
    pub loaded: usize,
    /// Position tables of another size that were resampled.
    pub resized: Vec<String>,
    /// Entries of the file that carry no weight.
    pub ignored: Vec<String>,
}

/// Replaces the weights of `clip` by those of a safetensors file with open_clip's names.
///
/// Position tables of another image size or context length are resampled as open_clip does.
///
/// # Errors
/// If the file cannot be read, or does not hold exactly the tensors of this model; `clip` is then unchanged.
pub fn load_open_clip(clip: &mut Clip, path: &Path) -> Result<LoadReport, WeightsError> {
    let bytes = fs::read(path).map_err(|source| WeightsError::Read {
        path: path.to_owned(),
        source,
    })?;
    let file = SafeTensors::deserialize(&bytes).map_err(|source| WeightsError::Format {
        path: path.to_owned(),
        source,
    })?;
    let mut tensors = HashMap::new();
    let mut ignored = Vec::new();
    for (name, view) in file.iter() {
        if IGNORED.iter().any(|suffix| name.ends_with(suffix)) {
            ignored.push(name.to_owned());
        } else {
            tensors.insert(name.to_owned(), read(name, &view)?);
        }
    }
    ignored.sort();
    let report = load_open_clip_tensors(clip, tensors)?;
    Ok(LoadReport { ignored, ..report })
}

/// Replaces the weights of `clip` by tensors with open_clip's names, in f32.
///
/// # Errors
/// As [`load_open_clip`].
pub fn load_open_clip_tensors(
    clip: &mut Clip,
    mut tensors: HashMap<String, TensorData>,
) -> Result<LoadReport, WeightsError> {
    let params = named_params(clip);
    let mut report = LoadReport::default();
    let mut values = HashMap::with_capacity(params.len());
    let mut missing = Vec::new();
    for param in &params {
        let Some(tensor) = tensors.remove(&param.name) else {
            missing.push(param.name.clone());
            continue;
        };
        let tensor = fit(param, tensor, &mut report)?;
        values.insert(param.id, tensor);
    }
    if !missing.is_empty() || !tensors.is_empty() {
        let mut unexpected: Vec<_> = tensors.into_keys().collect();
        unexpected.sort();
        return Err(WeightsError::Names { missing, unexpected });
    }
    report.loaded = values.len();
    *clip = clip.clone().map(&mut Writer { values });
    Ok(report)
}

/// All weights with open_clip's names, shapes and order of elements, in f32, sorted by name.
///
/// # Errors
/// If a value cannot be read from the device.
pub fn to_open_clip_tensors(clip: &Clip) -> Result<Vec<(String, TensorData)>, WeightsError> {
    let mut reader = Reader {
        params: named_params(clip).into_iter(),
        tensors: Vec::new(),
    };
    clip.visit(&mut reader);
    let mut tensors = reader.tensors.into_iter().collect::<Result<Vec<_>, _>>()?;
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(tensors)
}

/// Writes a safetensors file that open_clip loads, all at once or not at all.
///
/// # Errors
/// If a value cannot be read from the device or the file cannot be written.
pub fn save_open_clip(clip: &Clip, path: &Path) -> Result<(), WeightsError> {
    let mut tensors = to_open_clip_tensors(clip)?;
    let counters: Vec<_> = tensors
        .iter()
        .filter_map(|(name, _)| name.strip_suffix("running_mean"))
        .map(|prefix| {
            let zero = TensorData::new(vec![0i64], [0usize; 0]);
            (format!("{prefix}num_batches_tracked"), zero)
        })
        .collect();
    tensors.extend(counters);
    let views = tensors
        .iter()
        .map(|(name, data)| {
            let dtype = if data.dtype() == DType::I64 {
                Dtype::I64
            } else {
                Dtype::F32
            };
            let view = TensorView::new(dtype, data.shape().to_vec(), data.as_bytes());
            view.map(|view| (name.as_str(), view)).map_err(WeightsError::Serialize)
        })
        .collect::<Result<Vec<_>, _>>()?;
    let bytes = safetensors::serialize(views, None).map_err(WeightsError::Serialize)?;
    let partial = path.with_extension("safetensors.partial");
    fs::write(&partial, bytes)
        .and_then(|()| fs::rename(&partial, path))
        .map_err(|source| WeightsError::Write {
            path: path.to_owned(),
            source,
        })
}

/// Any float type to f32.
fn read(name: &str, view: &TensorView<'_>) -> Result<TensorData, WeightsError> {
    let dtype = match view.dtype() {
        Dtype::F32 => DType::F32,
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        Dtype::F64 => DType::F64,
        other => {
            return Err(WeightsError::DType {
                name: name.to_owned(),
                dtype: format!("{other:?}"),
            });
        }
    };
    let data = TensorData::from_bytes_vec(view.data().to_vec(), view.shape().to_vec(), dtype);
    Ok(data.convert::<f32>())
}

/// open_clip's tensor in the shape and order that `param` has here.
fn fit(param: &NamedParam, tensor: TensorData, report: &mut LoadReport) -> Result<TensorData, WeightsError> {
    let found = tensor.shape().to_vec();
    let expected = param.layout.open_clip_shape(&param.shape);
    let mut values: Vec<f32> = tensor.iter().collect();
    if found != expected {
        values = resize(param, &values, &found).ok_or_else(|| WeightsError::Shape {
            name: param.name.clone(),
            found,
            expected,
        })?;
        report.resized.push(param.name.clone());
    }
    let values = param.layout.from_open_clip(values, &param.shape);
    Ok(TensorData::new(values, param.shape.clone()))
}

/// A position table of another length, resampled; `None` if it is no such table.
fn resize(param: &NamedParam, values: &[f32], found: &[usize]) -> Option<Vec<f32>> {
    let (&[from, from_width], &[to, width]) = (found, param.shape.as_slice()) else {
        return None;
    };
    if from_width != width {
        return None;
    }
    let side = |tokens: usize| {
        let side = tokens.checked_sub(1)?.isqrt();
        (side > 0 && side * side + 1 == tokens).then_some([side; 2])
    };
    match param.name.as_str() {
        "visual.positional_embedding" => Some(resize_grid(
            values,
            width,
            side(from)?,
            side(to)?,
            Resample::Antialiased,
        )),
        "positional_embedding" => Some(resize_sequence(values, width, to)),
        _ => None,
    }
}

struct Writer {
    values: HashMap<ParamId, TensorData>,
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
            let values = named.layout.to_open_clip(values, &named.shape);
            let shape = named.layout.open_clip_shape(&named.shape);
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

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::ClipConfig;

    fn clip(preset: &str, seed: u64) -> Clip {
        ClipConfig::named(preset).unwrap().init(seed, &Device::flex())
    }

    #[test]
    fn a_saved_model_loads_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        for preset in ["tiny-vit", "tiny-rn", "emoji-cbow"] {
            let path = dir.path().join("model.safetensors");
            let saved = clip(preset, 1);
            save_open_clip(&saved, &path).unwrap();
            let mut loaded = clip(preset, 2);
            let report = load_open_clip(&mut loaded, &path).unwrap();
            assert_eq!(report.loaded, named_params(&saved).len());
            assert_eq!(
                to_open_clip_tensors(&saved).unwrap(),
                to_open_clip_tensors(&loaded).unwrap()
            );
        }
        assert_eq!(dir.path().read_dir().unwrap().count(), 1, "no partial file is left");
    }

    #[test]
    fn loading_keeps_parameters_trainable_and_their_identity() {
        let device = Device::flex().autodiff();
        let config = ClipConfig::named("tiny-vit").unwrap();
        let mut clip = config.init(0, &device);
        let before = named_params(&clip);
        let tensors = to_open_clip_tensors(&clip).unwrap().into_iter().collect();
        load_open_clip_tensors(&mut clip, tensors).unwrap();
        let after = named_params(&clip);
        assert!(before.iter().zip(&after).all(|(a, b)| a.id == b.id));
        assert!(clip.logit_scale.val().is_require_grad());
    }

    #[test]
    fn misfits_are_named_and_change_nothing() {
        let mut model = clip("tiny-vit", 0);
        let before = to_open_clip_tensors(&model).unwrap();
        let tensors = |change: &dyn Fn(&mut HashMap<String, TensorData>)| {
            let mut tensors: HashMap<_, _> = before.clone().into_iter().collect();
            change(&mut tensors);
            tensors
        };
        let message = |error: WeightsError| error.to_string();

        let lost = tensors(&|t| drop(t.remove("visual.proj")));
        let error = message(load_open_clip_tensors(&mut model, lost).unwrap_err());
        assert!(
            error.contains("1 tensors are missing in the file: `visual.proj`"),
            "{error}"
        );

        let extra = tensors(&|t| drop(t.insert("odd".into(), TensorData::from([1.0f32]))));
        let error = message(load_open_clip_tensors(&mut model, extra).unwrap_err());
        assert!(error.contains("`odd`"), "{error}");

        let wrong = tensors(&|t| drop(t.insert("ln_final.bias".into(), TensorData::from([1.0f32, 2.0]))));
        let error = message(load_open_clip_tensors(&mut model, wrong).unwrap_err());
        assert!(
            error.contains("`ln_final.bias` has shape [2], the model needs [64]"),
            "{error}"
        );

        let file = message(load_open_clip(&mut model, Path::new("/nowhere/clip.safetensors")).unwrap_err());
        assert!(file.contains("/nowhere/clip.safetensors"), "{file}");
        assert_eq!(before, to_open_clip_tensors(&model).unwrap());
    }

    #[test]
    fn another_image_size_and_context_are_resampled() {
        let small = clip("tiny-vit", 0);
        let mut config = ClipConfig::named("tiny-vit").unwrap();
        config.vision_cfg.image_size = 48;
        config.text_cfg.context_length = 20;
        let mut large = config.init(1, &Device::flex());
        let tensors = to_open_clip_tensors(&small).unwrap().into_iter().collect();
        let report = load_open_clip_tensors(&mut large, tensors).unwrap();
        assert_eq!(report.resized, ["visual.positional_embedding", "positional_embedding"]);
    }
}
