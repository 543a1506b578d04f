//! ALBEF computes what salesforce/ALBEF computes: names, pre-training steps, retrieval.

mod check;
mod names;
mod passes;
mod pretrain;
mod retrieval;

use std::collections::HashMap;

use burn::{
    optim::{GradientsParams, ModuleOptimizer},
    tensor::{DType, Device, Int, Tensor, TensorData},
};
use serde_json::{Value, json};
use twinflame::{
    data::Normalization,
    model::{
        Albef, AlbefConfig,
        albef::{BertConfig, MlmMasking},
        weights::{AlbefCheckpoint, load_albef},
    },
    train::{
        optim::{OptimConfig, adamw},
        task::{AlbefInputs, AlbefTask, AlbefTaskConfig, AlbefTexts, MaskedBatch, NegativeChoice},
    },
};

use crate::{
    compare::{floats, named_grads},
    fixture::Fixture,
};
use check::{Check, Kind};

/// Id of padding in the fixtures' vocabulary; the attention masks say the same.
const PAD: i64 = 0;

/// The configuration that a fixture describes in the reference's terms.
fn albef_config(fixture: &Fixture) -> AlbefConfig {
    let (albef, bert, vit) = (
        &fixture.config["albef_cfg"],
        &fixture.config["bert_config"],
        &fixture.config["vit"],
    );
    let number = |value: &Value| value.as_u64().unwrap();
    let ratio = number(&bert["intermediate_size"]) as f64 / number(&bert["hidden_size"]) as f64;
    let json = json!({
        "embed_dim": albef["embed_dim"],
        "queue_size": albef["queue_size"],
        "init_temp": albef["temp"],
        "vision_cfg": {
            "image_size": vit["img_size"],
            "patch_size": vit["patch_size"],
            "width": vit["embed_dim"],
            "layers": vit["depth"],
            "head_width": number(&vit["embed_dim"]) / number(&vit["num_heads"]),
            "mlp_ratio": vit["mlp_ratio"],
        },
        "text_cfg": {
            "context_length": bert["max_position_embeddings"],
            "max_positions": bert["max_position_embeddings"],
            "vocab_size": bert["vocab_size"],
            "width": bert["hidden_size"],
            "heads": bert["num_attention_heads"],
            "text_layers": bert["fusion_layer"],
            "fusion_layers": number(&bert["num_hidden_layers"]) - number(&bert["fusion_layer"]),
            "mlp_ratio": ratio,
            "dropout": bert["hidden_dropout_prob"],
            "mlm_head": fixture.config["name"] == "albef_pretrain_tiny",
        },
    });
    AlbefConfig::from_json(&json.to_string()).unwrap()
}

/// A task with the fixture's weights, momentum copy and queue; every tensor of the file must have a place and the
/// reverse.
fn load(fixture: &Fixture, device: &Device, task: AlbefTaskConfig) -> AlbefTask {
    let config = albef_config(fixture);
    let mut model = config.init(0, device);
    let mut momentum = config.init(1, &device.clone().without_autodiff()).encoders;
    let mut queue = config.init_queue(0, device);
    let file = fixture.path("weights");
    let report = load_albef(&mut model, Some(&mut momentum), Some(&mut queue), &file).unwrap();
    assert_eq!(report.loaded + report.ignored.len(), fixture.tensors("weights").len());
    assert!(report.resized.is_empty());
    // The fixture masks beforehand, and drops nothing.
    let BertConfig {
        context_length,
        vocab_size,
        ..
    } = config.text_cfg;
    let texts = AlbefTexts {
        pad_id: PAD as i32,
        masking: MlmMasking::new(task.mlm_probability, context_length, vocab_size, 4, [0, 2]),
        dropout: None,
    };
    let mut task = AlbefTask::new(model, queue, task, texts, Normalization::default(), 1).unwrap();
    task.momentum = momentum;
    task
}

/// Inputs of one step, whose names start with `prefix`.
struct Inputs<'a> {
    tensors: &'a HashMap<String, TensorData>,
    prefix: &'a str,
    device: Device,
}

impl Inputs<'_> {
    fn data(&self, name: &str) -> TensorData {
        self.tensors[&format!("{}{name}", self.prefix)].clone()
    }

    fn integers<const D: usize>(&self, name: &str) -> Tensor<D, Int> {
        Tensor::from_data(self.data(name).convert::<i32>(), &self.device)
    }

    /// As the task takes them, without dropout; every caption is another.
    fn of_task(
        &self,
        image_ids: Tensor<1, Int>,
        masked: Option<MaskedBatch>,
        negatives: NegativeChoice,
    ) -> AlbefInputs {
        let ids: Tensor<2, Int> = self.integers("input_ids");
        let mask_pad = ids.clone().equal_elem(PAD);
        let given: Tensor<2, Int> = self.integers("attention_mask");
        given
            .equal_elem(0)
            .into_data()
            .assert_eq(&mask_pad.clone().into_data(), true);
        let [batch, _] = ids.dims();
        AlbefInputs {
            pixels: Tensor::from_data(self.data("image"), &self.device),
            ids,
            mask_pad,
            image_ids,
            caption_ids: Tensor::arange(0..batch as i64, &self.device),
            masked,
            negatives,
            dropout: None,
        }
    }
}

/// The task's own optimiser with a fixture's settings, and the learning rate.
///
/// Betas and epsilon are left to the defaults for ALBEF, which are the fixture's.
fn optimizer(fixture: &Fixture, task: &AlbefTask) -> (ModuleOptimizer, f64) {
    let number = |key: &str| fixture.config["optimizer"][key].as_f64().unwrap();
    let config = OptimConfig {
        lr: number("lr"),
        weight_decay: number("weight_decay"),
        ..OptimConfig::default()
    };
    (adamw(&config, &task.model), config.lr)
}

/// Compares gradients with a file of the fixture: all of both.
fn check_grads(fixture: &Fixture, file: &str, model: &Albef, grads: &GradientsParams) {
    let actual = named_grads(model, grads);
    let golden = fixture.tensors(file);
    assert_eq!(actual.len(), golden.len());
    let mut check = Check::default();
    for (name, golden) in &golden {
        check.values(Kind::Gradient, name, &actual[name], &floats(golden));
    }
    check.finish(&format!("gradients of {file}"));
}

/// Weights, momentum copy and queue under the reference's names.
fn checkpoint(task: &AlbefTask) -> HashMap<String, TensorData> {
    let checkpoint = AlbefCheckpoint {
        model: &task.model,
        momentum: Some(&task.momentum),
        queue: Some(&task.queue),
    };
    checkpoint.tensors().unwrap().into_iter().collect()
}

/// What the reference stores after a step, with its momentum encoders one update further.
///
/// The reference's follow at the start of a step, before they see the batch; the task's at the end of the step before,
/// so that what a run saves is what its next step uses. Between two steps the task is therefore one update ahead.
fn followed(stored: HashMap<String, TensorData>) -> HashMap<String, TensorData> {
    let follow = |name: &String, value: &TensorData| {
        let online = stored.get(&name.replacen("_m.", ".", 1))?;
        let is_momentum = name.contains("_m.") && value.dtype() == DType::F32;
        is_momentum.then(|| {
            let pairs = floats(value).into_iter().zip(floats(online));
            let values = pairs.map(|(momentum, online)| 0.995 * momentum + 0.005 * online);
            TensorData::new(values.collect::<Vec<f32>>(), value.shape().clone())
        })
    };
    let followed: HashMap<String, TensorData> = stored
        .iter()
        .map(|(name, value)| (name.clone(), follow(name, value).unwrap_or_else(|| value.clone())))
        .collect();
    assert!(
        followed != stored,
        "the fixture stores no momentum encoder beside its online one"
    );
    followed
}
