//! The files of a fixture.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use serde_json::Value;
use twinflame_model::{ConfigError, weights::read_tensors};

use super::VerifyError;
use crate::optim::OptimConfig;

/// Tensors by name: floats in f32, integers in 64 bits, pixels in bytes.
pub type Tensors = BTreeMap<String, TensorData>;

/// Name of a fixture's configuration.
pub(super) const CONFIG: &str = "config.json";

/// A folder with `config.json` and files of tensors, each `NAME.safetensors`.
#[derive(Clone, Debug)]
pub struct Fixture {
    dir: PathBuf,
    config: Value,
    weights: Option<PathBuf>,
}

impl Fixture {
    /// Reads the configuration of the fixture in a folder.
    ///
    /// # Errors
    /// If there is none, or it is not JSON.
    pub fn open(dir: &Path) -> Result<Self, VerifyError> {
        let path = dir.join(CONFIG);
        if !path.exists() {
            let what = "it describes the model and the step";
            return Err(VerifyError::Missing { path, what });
        }
        let json = fs::read_to_string(&path).map_err(|source| VerifyError::read(&path, source))?;
        let config = serde_json::from_str(&json).map_err(|source| VerifyError::Json { path, source })?;
        Ok(Self {
            dir: dir.to_owned(),
            config,
            weights: None,
        })
    }

    /// The same with the weights of this file.
    #[must_use]
    pub fn with_weights(mut self, weights: Option<PathBuf>) -> Self {
        self.weights = weights;
        self
    }

    /// The folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What `config.json` says.
    #[must_use]
    pub fn config(&self) -> &Value {
        &self.config
    }

    /// Path of a file of tensors.
    #[must_use]
    pub fn path(&self, file: &str) -> PathBuf {
        self.dir.join(format!("{file}.safetensors"))
    }

    /// The tensors of a file; none at all if there is no such file.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn tensors_if_any(&self, file: &str) -> Result<Option<Tensors>, VerifyError> {
        let path = self.path(file);
        match path.exists() {
            true => Ok(Some(read_tensors(&path)?)),
            false => Ok(None),
        }
    }

    /// The tensors of a file.
    ///
    /// # Errors
    /// If the file is missing or cannot be read.
    pub fn tensors(&self, file: &str) -> Result<Tensors, VerifyError> {
        self.tensors_if_any(file)?.ok_or_else(|| VerifyError::Missing {
            path: self.path(file),
            what: "the fixture cannot be computed without it",
        })
    }

    /// The file of the weights: the one given, or the fixture's own, or the one that its description names as
    /// `Weights = PATH`.
    ///
    /// # Errors
    /// If there is none of them.
    pub fn weights_path(&self) -> Result<PathBuf, VerifyError> {
        if let Some(path) = &self.weights {
            return Ok(path.clone());
        }
        let own = self.path("weights");
        if own.exists() {
            return Ok(own);
        }
        let about = self.config["about"].as_str().unwrap_or_default();
        let named = about
            .split_once("Weights = ")
            .and_then(|(_, rest)| rest.split_once(".safetensors"))
            .map(|(path, _)| self.dir.join(format!("{path}.safetensors")));
        match named {
            Some(path) if path.exists() => Ok(path),
            named => Err(VerifyError::Missing {
                path: named.unwrap_or(own),
                what: "the fixture needs weights; --weights FILE takes them from elsewhere",
            }),
        }
    }

    /// The value of a key, for example `optimizer.lr` or `albef.0`; null where there is none.
    pub(super) fn value<'a>(&'a self, key: &str) -> &'a Value {
        let part = |value: &'a Value, part: &str| match part.parse::<usize>() {
            Ok(index) => &value[index],
            Err(_) => &value[part],
        };
        key.split('.').fold(&self.config, part)
    }

    /// How far the tensors of a file are from what the reference computes in float64, over their largest magnitudes: what
    /// `f64_check` says, 0 if it says nothing.
    pub(super) fn reference_error(&self, file: &str) -> f32 {
        let check = self.value("f64_check");
        let of_outputs = || {
            let worst = check["outputs_worst"].as_array().into_iter().flatten();
            let worst = worst.filter_map(|entry| entry[1].as_f64()).fold(0.0, f64::max);
            check["outputs"]["rel"].as_f64().unwrap_or(worst)
        };
        let error = match file.starts_with("outputs") {
            true => of_outputs(),
            false => check[file]["rel_excl_zero"].as_f64().unwrap_or(0.0),
        };
        error as f32
    }

    /// The number under a key.
    pub(super) fn number(&self, key: &str) -> Result<f64, VerifyError> {
        self.value(key).as_f64().ok_or_else(|| self.wrong(key, "a number"))
    }

    /// The whole number under a key.
    pub(super) fn size(&self, key: &str) -> Result<usize, VerifyError> {
        let size = self.value(key).as_u64().and_then(|size| usize::try_from(size).ok());
        size.filter(|size| *size > 0)
            .ok_or_else(|| self.wrong(key, "a whole number of at least 1"))
    }

    /// The list under a key.
    pub(super) fn list(&self, key: &str) -> Result<&[Value], VerifyError> {
        let list = self.value(key).as_array();
        list.map(Vec::as_slice).ok_or_else(|| self.wrong(key, "a list"))
    }

    /// The error for a key that does not hold what is expected.
    pub(super) fn wrong(&self, key: &str, expected: &'static str) -> VerifyError {
        VerifyError::Key {
            path: self.dir.join(CONFIG),
            key: key.to_owned(),
            found: match self.value(key) {
                Value::Null => "missing".to_owned(),
                value => value.to_string(),
            },
            expected,
        }
    }

    /// The error for a fixture that is not computed here.
    pub(super) fn unsupported(&self) -> VerifyError {
        VerifyError::Unsupported {
            path: self.dir.join(CONFIG),
            name: self.config["name"].as_str().unwrap_or("without a name").to_owned(),
        }
    }

    /// Files of tensors that the reference computed, without their ending, sorted.
    pub(super) fn reference_files(&self) -> Result<Vec<String>, VerifyError> {
        let entries = fs::read_dir(&self.dir).and_then(|entries| {
            let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
            names.collect::<std::io::Result<Vec<String>>>()
        });
        let names = entries.map_err(|source| VerifyError::read(&self.dir, source))?;
        let stems = names.iter().filter_map(|name| name.strip_suffix(".safetensors"));
        let is_reference = |stem: &&str| {
            ["outputs", "grads", "after_step"]
                .iter()
                .any(|start| stem.starts_with(start))
        };
        let mut files: Vec<String> = stems.filter(is_reference).map(str::to_owned).collect();
        files.sort();
        Ok(files)
    }

    /// The error for a model that there cannot be.
    pub(super) fn no_model(&self, source: ConfigError) -> VerifyError {
        VerifyError::Model {
            path: self.dir.join(CONFIG),
            source,
        }
    }

    /// The optimiser of a step; `None` if the configuration has none.
    ///
    /// # Errors
    /// If a number is missing or out of range.
    pub fn optimizer(&self) -> Result<Option<OptimConfig>, VerifyError> {
        if self.value("optimizer").is_null() {
            return Ok(None);
        }
        let config = OptimConfig {
            lr: self.number("optimizer.lr")?,
            beta_1: self.number("optimizer.beta1")?,
            beta_2: Some(self.number("optimizer.beta2")?),
            epsilon: Some(self.number("optimizer.eps")?),
            weight_decay: self.number("optimizer.weight_decay")?,
            ..OptimConfig::default()
        };
        config.validate()?;
        Ok(Some(config))
    }

    /// The inputs whose names start with `prefix`, for a device.
    ///
    /// # Errors
    /// If the file is missing or cannot be read.
    pub fn inputs(&self, prefix: &str, device: &Device) -> Result<Inputs, VerifyError> {
        Ok(Inputs {
            path: self.path("inputs"),
            tensors: self.tensors("inputs")?,
            prefix: prefix.to_owned(),
            device: device.clone().without_autodiff(),
        })
    }
}

/// Inputs that are checked before a model sees them: whatever a file holds, no model panics.
#[derive(Clone, Debug)]
pub struct Inputs {
    path: PathBuf,
    tensors: Tensors,
    prefix: String,
    device: Device,
}

impl Inputs {
    /// Whether there is a tensor of this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(&self.full(name))
    }

    /// A tensor as it is in the file.
    ///
    /// # Errors
    /// If there is none of this name.
    pub fn data(&self, name: &str) -> Result<&TensorData, VerifyError> {
        let tensor = self.tensors.get(&self.full(name));
        tensor.ok_or_else(|| self.wrong(name, "is missing", "be there"))
    }

    /// Images, `[batch, 3, size, size]` with at least one.
    ///
    /// # Errors
    /// If there are none, or they have another shape or type.
    pub fn images(&self, name: &str, size: usize) -> Result<Tensor<4>, VerifyError> {
        let data = self.data(name)?;
        match data.shape()[..] {
            [batch, 3, height, width] if batch > 0 && [height, width] == [size; 2] => {}
            _ => return Err(self.wrong_shape(name, format!("[at least 1, 3, {size}, {size}]"))?),
        }
        if data.dtype() != DType::F32 {
            return Err(self.wrong(name, "has another type", "be of floats"));
        }
        Ok(Tensor::from_data(data.clone(), &self.device))
    }

    /// Integers of this shape in a range, on the host.
    ///
    /// # Errors
    /// If there are none, or they have another shape, type or range.
    pub fn integers(&self, name: &str, shape: &[usize], range: std::ops::Range<i64>) -> Result<Vec<i64>, VerifyError> {
        let data = self.data(name)?;
        if data.shape()[..] != *shape {
            return Err(self.wrong_shape(name, format!("{shape:?}"))?);
        }
        if data.dtype() != DType::I64 {
            return Err(self.wrong(name, "has another type", "be of integers"));
        }
        let values: Vec<i64> = data.iter().collect();
        match values.iter().find(|value| !range.contains(value)) {
            None => Ok(values),
            Some(value) => {
                let expected = format!("hold numbers from {} to {}", range.start, range.end - 1);
                Err(self.wrong(name, &format!("holds {value}"), &expected))
            }
        }
    }

    /// Token ids, `[batch, tokens]`, on the device. `tokens` is a range because a BERT takes shorter texts.
    ///
    /// # Errors
    /// If there are none, or they have another shape or type, or are in no vocabulary of this size.
    pub fn ids(
        &self,
        name: &str,
        tokens: std::ops::RangeInclusive<usize>,
        vocab_size: usize,
    ) -> Result<Tensor<2, Int>, VerifyError> {
        let data = self.data(name)?;
        let [batch, columns] = match data.shape()[..] {
            [batch, columns] if batch > 0 && tokens.contains(&columns) => [batch, columns],
            _ => {
                let expected = match tokens.start() == tokens.end() {
                    true => format!("[at least 1, {}]", tokens.start()),
                    false => format!("[at least 1, {} to {}]", tokens.start(), tokens.end()),
                };
                return Err(self.wrong_shape(name, expected)?);
            }
        };
        let ids = self.integers(name, &[batch, columns], 0..vocab_size as i64)?;
        Ok(self.upload(&ids, [batch, columns]))
    }

    /// Integers on the device.
    pub(super) fn upload<const D: usize>(&self, values: &[i64], shape: [usize; D]) -> Tensor<D, Int> {
        let values: Vec<i32> = values.iter().map(|&value| value as i32).collect();
        Tensor::from_data(TensorData::new(values, shape), &self.device)
    }

    /// An error unless a tensor has as many rows as the images.
    ///
    /// # Errors
    /// If it has not.
    pub(super) fn same_batch(&self, name: &str, rows: usize, batch: usize) -> Result<(), VerifyError> {
        match rows == batch {
            true => Ok(()),
            false => Err(self.wrong(
                name,
                &format!("has {rows} rows"),
                &format!("have {batch}, one for each image"),
            )),
        }
    }

    /// The device of the inputs, without autodiff.
    pub(super) fn device(&self) -> &Device {
        &self.device
    }

    fn full(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn wrong_shape(&self, name: &str, expected: String) -> Result<VerifyError, VerifyError> {
        let found = format!("has shape {:?}", &self.data(name)?.shape()[..]);
        Ok(self.wrong(name, &found, &format!("have shape {expected}")))
    }

    pub(super) fn wrong(&self, name: &str, found: &str, expected: &str) -> VerifyError {
        VerifyError::Input {
            path: self.path.clone(),
            name: self.full(name),
            found: found.to_owned(),
            expected: expected.to_owned(),
        }
    }
}
