//! ALBEF computes what salesforce/ALBEF computes: names, pre-training steps, retrieval.

mod check;
mod names;
mod pretrain;
mod retrieval;
mod step;

use std::collections::HashMap;

use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use serde_json::{Value, json};
use twinflame::model::{AlbefConfig, weights::load_albef};

use crate::fixture::Fixture;
use step::Parts;

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

/// Model, momentum copy and queue with the fixture's weights; every tensor of the file must have a place and the
/// reverse.
fn load(fixture: &Fixture, device: &Device) -> Parts {
    let config = albef_config(fixture);
    let mut parts = Parts {
        model: config.init(0, device),
        momentum: config.init(1, &device.clone().without_autodiff()).encoders,
        queue: config.init_queue(0, device),
    };
    let report = load_albef(
        &mut parts.model,
        Some(&mut parts.momentum),
        Some(&mut parts.queue),
        &fixture.path("weights"),
    )
    .unwrap();
    assert_eq!(report.loaded + report.ignored.len(), fixture.tensors("weights").len());
    assert!(report.resized.is_empty());
    parts
}

/// Texts of a batch.
struct Texts {
    ids: Tensor<2, Int>,
    mask_pad: Tensor<2, Bool>,
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

    fn images(&self) -> Tensor<4> {
        Tensor::from_data(self.data("image"), &self.device)
    }

    fn integers<const D: usize>(&self, name: &str) -> Tensor<D, Int> {
        Tensor::from_data(self.data(name).convert::<i32>(), &self.device)
    }

    fn texts(&self) -> Texts {
        let ids: Tensor<2, Int> = self.integers("input_ids");
        let mask_pad = ids.clone().equal_elem(PAD);
        let given: Tensor<2, Int> = self.integers("attention_mask");
        given
            .equal_elem(0)
            .into_data()
            .assert_eq(&mask_pad.clone().into_data(), true);
        Texts { ids, mask_pad }
    }
}
