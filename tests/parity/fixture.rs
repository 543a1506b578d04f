//! Reading fixtures and comparing with them.

use std::{collections::HashMap, path::PathBuf};

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use safetensors::{Dtype, SafeTensors};
use twinflame::model::{
    Clip, ClipConfig,
    weights::{load_open_clip, named_params},
};

/// Largest difference from the reference, over the reference's largest value (README of the fixtures).
const TOLERANCE: f32 = 1e-5;

/// A folder below `tests/fixtures`.
pub(crate) struct Fixture {
    dir: PathBuf,
    pub(crate) config: serde_json::Value,
}

impl Fixture {
    pub(crate) fn new(name: &str) -> Self {
        let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
        let json = std::fs::read_to_string(dir.join("config.json")).unwrap();
        Self {
            config: serde_json::from_str(&json).unwrap(),
            dir,
        }
    }

    /// A file of tensors.
    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.dir.join(format!("{file}.safetensors"))
    }

    pub(crate) fn tensors(&self, file: &str) -> HashMap<String, TensorData> {
        let bytes = std::fs::read(self.path(file)).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        file.iter()
            .map(|(name, view)| {
                let dtype = match view.dtype() {
                    Dtype::F32 => DType::F32,
                    Dtype::I64 => DType::I64,
                    other => panic!("{name}: {other:?}"),
                };
                let data = TensorData::from_bytes_vec(view.data().to_vec(), view.shape().to_vec(), dtype);
                (name.to_owned(), data)
            })
            .collect()
    }

    pub(crate) fn clip_config(&self) -> ClipConfig {
        ClipConfig::from_json(&self.config["model_cfg"].to_string()).unwrap()
    }

    /// The model with the fixture's weights; every tensor of the file must have a place and the reverse.
    pub(crate) fn clip(&self, device: &Device) -> Clip {
        let mut clip = self.clip_config().init(0, device);
        let report = load_open_clip(&mut clip, &self.path("weights")).unwrap();
        assert_eq!(report.loaded, named_params(&clip).len());
        assert!(report.resized.is_empty());
        assert!(report.ignored.iter().all(|name| name.ends_with("num_batches_tracked")));
        clip
    }

    pub(crate) fn inputs(&self, device: &Device) -> (Tensor<4>, Tensor<2, Int>) {
        let mut inputs = self.tensors("inputs");
        let text = inputs.remove("text").unwrap().convert::<i32>();
        let image = inputs.remove("image").unwrap();
        (Tensor::from_data(image, device), Tensor::from_data(text, device))
    }
}

pub(crate) fn assert_close(name: &str, actual: TensorData, expected: &TensorData) {
    let actual: Vec<f32> = actual.iter().collect();
    let expected: Vec<f32> = expected.iter().collect();
    assert_eq!(actual.len(), expected.len(), "{name}");
    let scale = expected.iter().fold(0.0f32, |max, v| max.max(v.abs()));
    let worst = actual
        .iter()
        .zip(&expected)
        .fold(0.0f32, |max, (a, b)| max.max((a - b).abs()));
    assert!(
        worst <= TOLERANCE * scale,
        "{name}: off by {worst}, allowed {}",
        TOLERANCE * scale
    );
}
