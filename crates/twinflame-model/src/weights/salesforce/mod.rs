//! Checkpoints of salesforce/ALBEF.

mod names;

use std::{
    collections::{HashMap, HashSet},
    path::Path,
};

use burn::{
    module::Param,
    tensor::{Int, Tensor, TensorData},
};

use super::{
    Allow, FileDType, LoadReport, NamedParam, WeightsError,
    file::read_file,
    named_params, save_tensors,
    tensors::{Loader, Writer, load_some, to_tensors},
};
use crate::{Albef, AlbefEncoders, FeatureQueue};

/// What a checkpoint of the reference holds, or a part of it.
#[derive(Clone, Copy, Debug)]
pub struct AlbefCheckpoint<'a> {
    /// What is trained.
    pub model: &'a Albef,
    /// Its momentum copy.
    pub momentum: Option<&'a AlbefEncoders>,
    /// The momentum copy's features of earlier batches.
    pub queue: Option<&'a FeatureQueue>,
}

impl AlbefCheckpoint<'_> {
    /// Names and shapes in the reference's state dict, tied tensors under both of their names, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<(String, Vec<usize>)> {
        let shapes = |params: Vec<NamedParam>| {
            let shape = |param: NamedParam| (param.name, param.layout.reference_shape(&param.shape));
            params.into_iter().map(shape).collect::<Vec<_>>()
        };
        let mut names = shapes(named_params(self.model));
        if let Some(momentum) = self.momentum {
            let momentum = shapes(named_params(momentum)).into_iter();
            names.extend(momentum.map(|(name, shape)| (momentum_name(&name), shape)));
        }
        names.extend(self.repeated(&names));
        names.extend(self.position_names().map(|name| (name, vec![1, self.positions()])));
        if let Some(queue) = self.queue {
            names.extend(shapes(named_params(queue)));
            names.push((QUEUE_POINTER.to_owned(), vec![1]));
            if !self.is_pretraining() {
                names.push((QUEUE_IDS.to_owned(), vec![1, queue.len()]));
            }
        }
        names.sort();
        names
    }

    /// All tensors under the reference's names, in its shapes and order of elements: f32, counters and ids 64-bit
    /// integers. Tied tensors come under both of their names. Sorted by name.
    ///
    /// # Errors
    /// If a value cannot be read from the device.
    pub fn tensors(&self) -> Result<Vec<(String, TensorData)>, WeightsError> {
        let mut tensors = to_tensors(self.model)?;
        if let Some(momentum) = self.momentum {
            let momentum = to_tensors(momentum)?.into_iter();
            tensors.extend(momentum.map(|(name, data)| (momentum_name(&name), data)));
        }
        tensors.extend(self.repeated(&tensors));
        let positions: Vec<i64> = (0..self.positions() as i64).collect();
        let positions = TensorData::new(positions, [1, self.positions()]);
        tensors.extend(self.position_names().map(|name| (name, positions.clone())));
        if let Some(queue) = self.queue {
            tensors.extend(to_tensors(queue)?);
            tensors.push((
                QUEUE_POINTER.to_owned(),
                integers(QUEUE_POINTER, &queue.next_row, vec![1])?,
            ));
            if !self.is_pretraining() {
                let ids = integers(QUEUE_IDS, &queue.image_ids, vec![1, queue.len()])?;
                tensors.push((QUEUE_IDS.to_owned(), ids));
            }
        }
        tensors.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(tensors)
    }

    /// Writes a safetensors file with the reference's names, all at once or not at all.
    ///
    /// # Errors
    /// If a value cannot be read from the device or the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), WeightsError> {
        save_tensors(path, self.tensors()?, FileDType::F32, HashMap::new())
    }

    /// Tied tensors once more, under the other name that PyTorch gives them.
    fn repeated<T: Clone>(&self, tensors: &[(String, T)]) -> Vec<(String, T)> {
        let find = |(again, original): (String, String)| {
            let found = tensors.iter().find(|(name, _)| *name == original);
            found.map(|(_, value)| (again, value.clone()))
        };
        TEXT_ENCODERS.into_iter().flat_map(ties).filter_map(find).collect()
    }

    /// Buffers in which the reference keeps 0, 1, 2, ..
    fn position_names(&self) -> impl Iterator<Item = String> {
        let bert = if self.is_pretraining() { "bert." } else { "" };
        let encoders = if self.momentum.is_some() { 2 } else { 1 };
        let names = TEXT_ENCODERS.into_iter().take(encoders);
        names.map(move |encoder| format!("{encoder}.{bert}embeddings.position_ids"))
    }

    fn positions(&self) -> usize {
        let [positions, _] = self
            .model
            .encoders
            .text_encoder
            .embeddings
            .position_embeddings
            .lazy_shape()
            .dims();
        positions
    }

    /// The reference's text encoder is another class in pre-training, which shows in the names.
    fn is_pretraining(&self) -> bool {
        self.model.encoders.text_encoder.mlm_head.is_some()
    }
}

/// Replaces weights by those of a file with the reference's names, of any kind that [`Archive`](super::Archive) reads.
///
/// A momentum copy or a queue that is not asked for is left in the file. A position table of another image size is
/// resampled as the reference does. A pre-training checkpoint fits a model without MLM head: the head is left out, as
/// the reference's fine-tuning does.
///
/// # Errors
/// If the file cannot be read, or does not hold all that is asked for, or more; everything is then unchanged.
pub fn load_albef(
    model: &mut Albef,
    momentum: Option<&mut AlbefEncoders>,
    queue: Option<&mut FeatureQueue>,
    path: &Path,
) -> Result<LoadReport, WeightsError> {
    let wanted = Wanted {
        head: model.encoders.text_encoder.mlm_head.is_some(),
        momentum: momentum.is_some(),
        queue: queue.is_some(),
    };
    let (tensors, ignored) = read_file(path, |name| wanted.ignores(name))?;
    let report = load_albef_tensors(model, momentum, queue, wanted.renamed(tensors))?;
    Ok(LoadReport { ignored, ..report })
}

/// Replaces the weights of a model by tensors of a checkpoint, but for those that may be missing or left over.
///
/// # Errors
/// As [`load_albef`].
pub(super) fn load_allowing(
    model: &mut Albef,
    tensors: HashMap<String, TensorData>,
    allow: &Allow,
) -> Result<LoadReport, WeightsError> {
    let wanted = Wanted {
        head: model.encoders.text_encoder.mlm_head.is_some(),
        momentum: false,
        queue: false,
    };
    let (ignored, tensors): (HashMap<_, _>, HashMap<_, _>) =
        tensors.into_iter().partition(|(name, _)| wanted.ignores(name));
    let tensors = wanted.renamed(tensors);
    load_some(model, tensors, &HashSet::new(), ignored.into_keys().collect(), allow)
}

/// Which parts of a checkpoint are asked for.
struct Wanted {
    head: bool,
    momentum: bool,
    queue: bool,
}

impl Wanted {
    fn ignores(&self, name: &str) -> bool {
        let is_momentum = name.split('.').next().is_some_and(|first| first.ends_with("_m"));
        let is_queue = ["image_queue", "text_queue", QUEUE_POINTER, QUEUE_IDS].contains(&name);
        name.ends_with(".position_ids")
            || name.contains(".cls.predictions.decoder.")
            || (is_momentum && !self.momentum)
            || (is_queue && !self.queue)
            || (name.contains(".cls.predictions.") && !self.head)
    }

    /// Names as the class without the head has them, if it is not wanted.
    fn renamed(&self, tensors: HashMap<String, TensorData>) -> HashMap<String, TensorData> {
        match self.head {
            true => tensors,
            false => {
                let renamed = |(name, data): (String, TensorData)| (name.replacen(".bert.", ".", 1), data);
                tensors.into_iter().map(renamed).collect()
            }
        }
    }
}

/// Replaces weights by tensors with the reference's names, each tied tensor under the first of its names.
///
/// # Errors
/// As [`load_albef`].
pub fn load_albef_tensors(
    model: &mut Albef,
    momentum: Option<&mut AlbefEncoders>,
    queue: Option<&mut FeatureQueue>,
    tensors: HashMap<String, TensorData>,
) -> Result<LoadReport, WeightsError> {
    let has_head = model.encoders.text_encoder.mlm_head.is_some();
    let mut loader = Loader::new(tensors);
    loader.take(&*model, str::to_owned)?;
    if let Some(momentum) = &momentum {
        loader.take(&**momentum, momentum_name)?;
    }
    let mut row = None;
    let mut ids = None;
    if let Some(queue) = &queue {
        loader.take(&**queue, str::to_owned)?;
        row = loader.take_one(QUEUE_POINTER);
        ids = if has_head { None } else { loader.take_one(QUEUE_IDS) };
    }
    let (values, report) = loader.finish()?;
    let mut writer = Writer::new(values);
    writer.replace(model);
    if let Some(momentum) = momentum {
        writer.replace(momentum);
    }
    if let Some(queue) = queue {
        writer.replace(queue);
        replace_integers(&mut queue.next_row, row);
        replace_integers(&mut queue.image_ids, ids);
    }
    Ok(report)
}

/// Position of the next entry in the queue.
const QUEUE_POINTER: &str = "queue_ptr";
/// Image ids of the entries, in fine-tuning for retrieval.
const QUEUE_IDS: &str = "idx_queue";
/// The text encoder and its momentum copy.
const TEXT_ENCODERS: [&str; 2] = ["text_encoder", "text_encoder_m"];

/// Names under which PyTorch repeats a tied tensor of a text encoder, each with the first name.
fn ties(encoder: &str) -> [(String, String); 2] {
    let tie = |again: &str, original: &str| (format!("{encoder}.{again}"), format!("{encoder}.{original}"));
    [
        tie(
            "cls.predictions.decoder.weight",
            "bert.embeddings.word_embeddings.weight",
        ),
        tie("cls.predictions.decoder.bias", "cls.predictions.bias"),
    ]
}

/// The name of an encoder's tensor in the momentum copy: `vision_proj.bias` to `vision_proj_m.bias`.
fn momentum_name(name: &str) -> String {
    match name.split_once('.') {
        Some((first, rest)) => format!("{first}_m.{rest}"),
        None => format!("{name}_m"),
    }
}

fn integers(name: &str, param: &Param<Tensor<1, Int>>, shape: Vec<usize>) -> Result<TensorData, WeightsError> {
    let values = param.val().try_into_vec_as::<i64>();
    let values = values.map_err(|reason| WeightsError::Device {
        name: name.to_owned(),
        reason: format!("{reason:?}"),
    })?;
    Ok(TensorData::new(values, shape))
}

fn replace_integers(param: &mut Param<Tensor<1, Int>>, data: Option<TensorData>) {
    if let Some(data) = data {
        let values: Vec<i64> = data.iter().collect();
        let data = TensorData::new(values, param.lazy_shape().to_vec());
        *param = Param::initialized(param.id, Tensor::from_data(data, &param.lazy_device()));
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::AlbefConfig;

    fn parts(config: &AlbefConfig, seed: u64) -> (Albef, AlbefEncoders, FeatureQueue) {
        let device = Device::flex();
        (
            config.init(seed, &device),
            config.init(seed + 100, &device).encoders,
            config.init_queue(seed, &device),
        )
    }

    fn checkpoint((model, momentum, queue): &(Albef, AlbefEncoders, FeatureQueue)) -> AlbefCheckpoint<'_> {
        AlbefCheckpoint {
            model,
            momentum: Some(momentum),
            queue: Some(queue),
        }
    }

    #[test]
    fn a_saved_checkpoint_loads_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("albef.safetensors");
        for mlm_head in [true, false] {
            let mut config = AlbefConfig::named("tiny-albef").unwrap();
            config.text_cfg.mlm_head = mlm_head;
            let saved = parts(&config, 1);
            let saved = checkpoint(&saved);
            saved.save(&path).unwrap();
            let mut loaded = parts(&config, 2);
            let report = load_albef(&mut loaded.0, Some(&mut loaded.1), Some(&mut loaded.2), &path).unwrap();
            let tensors = saved.tensors().unwrap();
            assert_eq!(report.loaded + report.ignored.len(), tensors.len());
            assert_eq!(tensors, checkpoint(&loaded).tensors().unwrap());
            let shapes: Vec<_> = tensors
                .into_iter()
                .map(|(name, data)| (name, data.shape().to_vec()))
                .collect();
            assert_eq!(shapes, saved.names());
        }
    }

    #[test]
    fn fine_tuning_starts_from_a_pre_trained_checkpoint_of_another_size() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("albef.safetensors");
        let mut config = AlbefConfig::named("tiny-albef").unwrap();
        let saved = parts(&config, 1);
        checkpoint(&saved).save(&path).unwrap();
        config.text_cfg.mlm_head = false;
        config.vision_cfg.image_size = 48;
        let mut model = config.init(2, &Device::flex());
        let report = load_albef(&mut model, None, None, &path).unwrap();
        assert_eq!(report.resized, ["visual_encoder.pos_embed"]);
        let words = |model: &Albef| {
            model
                .encoders
                .text_encoder
                .embeddings
                .word_embeddings
                .weight
                .val()
                .into_data()
        };
        assert_eq!(words(&model), words(&saved.0));
    }

    #[test]
    fn a_missing_tensor_is_named_and_changes_nothing() {
        let config = AlbefConfig::named("tiny-albef").unwrap();
        let mut model = config.init(0, &Device::flex());
        let before = to_tensors(&model).unwrap();
        let mut tensors: HashMap<_, _> = to_tensors(&config.init(1, &Device::flex()))
            .unwrap()
            .into_iter()
            .collect();
        tensors.remove("itm_head.weight");
        let error = load_albef_tensors(&mut model, None, None, tensors)
            .unwrap_err()
            .to_string();
        assert!(error.contains("`itm_head.weight`"), "{error}");
        assert_eq!(before, to_tensors(&model).unwrap());
    }
}
