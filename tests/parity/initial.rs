//! Fresh models have open_clip's numbers of parameters and its spread of initial values.

use std::collections::HashMap;

use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::Tensor,
};
use twinflame::model::{AlbefConfig, ClipConfig, Layers, weights::named_params};

#[test]
fn parameter_counts_of_open_clip() {
    let path = twinflame_tests::fixtures().join("param_counts_clip.json");
    let counts: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    for (name, expected) in counts.as_object().unwrap() {
        let config = ClipConfig::from_json(&expected["cfg"].to_string()).unwrap();
        assert_eq!(config, ClipConfig::named(name).unwrap(), "{name}");
        let count = config.num_params();
        assert_eq!(count.total, expected["total"].as_u64().unwrap(), "{name}");
        assert_eq!(count.image, expected["visual"].as_u64().unwrap(), "{name}");
        assert_eq!(count.text + 1, expected["text_and_scale"].as_u64().unwrap(), "{name}");

        let params = named_params(&config.init(0, &twinflame_tests::device()));
        let (buffers, params): (Vec<_>, Vec<_>) = params.into_iter().partition(|param| param.is_buffer);
        assert_eq!(
            params.len() as u64,
            expected["param_tensors"].as_u64().unwrap(),
            "{name}"
        );
        let elements: usize = buffers.iter().map(|buffer| buffer.shape[0]).sum();
        assert_eq!(
            elements as u64,
            expected["bn_buffers_float"].as_u64().unwrap(),
            "{name}"
        );
        // Gains, biases, scalars and the class token: what weight decay leaves alone.
        let no_decay: usize = params
            .iter()
            .filter(|param| param.shape.len() < 2)
            .map(|param| param.shape.iter().product::<usize>())
            .sum();
        assert_eq!(no_decay as u64, expected["no_decay"].as_u64().unwrap(), "{name}");
    }
}

/// Standard deviation and largest absolute value of each initial tensor.
#[derive(Default)]
struct Spread {
    path: Vec<String>,
    of: HashMap<String, (f64, f32)>,
}

impl ModuleVisitor for Spread {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }
    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let values: Vec<f32> = param.val().into_data().iter().collect();
        let mean_square = values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / values.len() as f64;
        let largest = values.iter().fold(0.0f32, |max, v| max.max(v.abs()));
        self.of.insert(self.path.join("."), (mean_square.sqrt(), largest));
    }
}

fn spread_of<M: Module>(model: &M) -> HashMap<String, (f64, f32)> {
    let mut spread = Spread::default();
    model.visit(&mut spread);
    spread.of
}

/// Within 2 %: `uniform` is the bound of a uniform distribution, whose deviation is a root of three smaller.
fn assert_spread(spread: &HashMap<String, (f64, f32)>, path: &str, normal: Option<f64>, uniform: Option<f64>) {
    let (std, largest) = spread[path];
    if let Some(expected) = normal {
        assert!(
            (std / expected - 1.0).abs() < 0.02,
            "{path}: {std} instead of {expected}"
        );
        assert!(f64::from(largest) > 2.5 * expected, "{path} is not normal");
    }
    if let Some(bound) = uniform {
        let expected = bound / 3f64.sqrt();
        assert!(
            (std / expected - 1.0).abs() < 0.02,
            "{path}: {std} instead of {expected}"
        );
        assert!(f64::from(largest) <= bound * (1.0 + 1e-6), "{path} is not uniform");
    }
}

#[test]
fn initial_spread_of_transformers() {
    // Widths of their own, so that a mixed-up dimension shows.
    let mut config = ClipConfig::named("tiny-vit").unwrap();
    config.vision_cfg.width = 192;
    config.text_cfg.width = 256;
    config.embed_dim = 96;
    config.vision_cfg.mlp_ratio = 3.0;
    let spread = spread_of(&config.init(5, &twinflame_tests::device()));
    let vision = 192f64.powf(-0.5);
    assert_spread(&spread, "image_encoder.Vit.positional_embedding", Some(vision), None);
    assert_spread(&spread, "image_encoder.Vit.proj.weight", Some(vision), None);
    assert_spread(&spread, "image_encoder.Vit.conv1.weight", None, Some(192f64.powf(-0.5)));
    let block = |name: &str| format!("image_encoder.Vit.blocks.1.{name}");
    let xavier = (6.0 / (4.0 * 192.0f64)).sqrt();
    assert_spread(&spread, &block("attn.in_proj.weight"), None, Some(xavier));
    assert_spread(&spread, &block("attn.out_proj.weight"), None, Some(vision));
    assert_spread(&spread, &block("mlp.c_fc.weight"), None, Some(vision));
    assert_spread(&spread, &block("mlp.c_proj.weight"), None, Some(576f64.powf(-0.5)));
    assert_eq!(spread[&block("attn.in_proj.bias")], (0.0, 0.0));
    assert_eq!(spread[&block("attn.out_proj.bias")], (0.0, 0.0));
    assert_eq!(spread[&block("ln_1.gamma")], (1.0, 1.0));
    assert!(spread[&block("mlp.c_fc.bias")].0 > 0.0);

    let text = 256f64.powf(-0.5);
    assert_spread(
        &spread,
        "text_encoder.Transformer.token_embedding.weight",
        Some(0.02),
        None,
    );
    assert_spread(
        &spread,
        "text_encoder.Transformer.positional_embedding",
        Some(0.01),
        None,
    );
    assert_spread(
        &spread,
        "text_encoder.Transformer.text_projection.weight",
        Some(text),
        None,
    );
    let block = |name: &str| format!("text_encoder.Transformer.blocks.0.{name}");
    assert_spread(&spread, &block("attn.in_proj.weight"), Some(text), None);
    assert_spread(&spread, &block("attn.out_proj.weight"), Some(text / 2.0), None);
    assert_spread(&spread, &block("mlp.c_fc.weight"), Some(512f64.powf(-0.5)), None);
    assert_spread(&spread, &block("mlp.c_proj.weight"), Some(text / 2.0), None);
    assert!((spread["logit_scale"].0 - 2.659_260_0).abs() < 1e-6);
}

#[test]
fn initial_spread_of_resnet() {
    let config = ClipConfig::named("emoji-rn").unwrap();
    let spread = spread_of(&config.init(5, &twinflame_tests::device()));
    let path = |name: &str| format!("image_encoder.ResNet.{name}");
    let channels = 512f64.powf(-0.5);
    for name in ["q_proj", "k_proj", "v_proj", "c_proj"] {
        assert_spread(&spread, &path(&format!("attnpool.{name}.weight")), Some(channels), None);
    }
    assert_spread(
        &spread,
        &path("layer4.0.conv2.weight"),
        None,
        Some((128.0 * 9.0f64).powf(-0.5)),
    );
    for stage in 1..=4 {
        assert_eq!(spread[&path(&format!("layer{stage}.0.bn3.gamma"))], (0.0, 0.0));
        assert_eq!(spread[&path(&format!("layer{stage}.0.bn2.gamma"))], (1.0, 1.0));
        assert_eq!(spread[&path(&format!("layer{stage}.0.bn3.running_var"))], (1.0, 1.0));
    }
    assert_eq!(spread[&path("bn3.gamma")], (1.0, 1.0));
}

#[test]
fn initial_spread_of_albef() {
    let mut config = AlbefConfig::named("emoji-albef").unwrap();
    // The reference's spread on a model with enough numbers to measure it by.
    config.init_std = AlbefConfig::named("albef-base").unwrap().init_std;
    (config.vision_cfg.patch_size, config.vision_cfg.layers) = (Some(8), Layers::Depth(4));
    (config.text_cfg.text_layers, config.text_cfg.vocab_size) = (2, 2048);
    (config.text_cfg.width, config.text_cfg.heads) = (128, 4);
    let spread = spread_of(&config.init(5, &twinflame_tests::device()));
    // Everything of DeiT and BERT is normal with 0.02, but for DeiT's patches.
    let image = |name: &str| format!("encoders.image_encoder.{name}");
    for name in [
        "positional_embedding",
        "blocks.0.attn.in_proj.weight",
        "blocks.1.attn.out_proj.weight",
        "blocks.2.mlp.c_fc.weight",
        "blocks.3.mlp.c_proj.weight",
    ] {
        assert_spread(&spread, &image(name), Some(0.02), None);
    }
    assert_spread(&spread, &image("conv1.weight"), None, Some(192f64.powf(-0.5)));
    let text = |name: &str| format!("encoders.text_encoder.{name}");
    for name in [
        "embeddings.word_embeddings.weight",
        "embeddings.position_embeddings",
        "layers.0.attention.attn.query.weight",
        "layers.2.cross_attention.attn.key.weight",
        "layers.3.cross_attention.attn.out_proj.weight",
        "layers.1.mlp.c_fc.weight",
        "layers.3.mlp.c_proj.weight",
        "mlm_head.dense.weight",
    ] {
        assert_spread(&spread, &text(name), Some(0.02), None);
    }
    for name in [
        image("blocks.0.attn.in_proj.bias"),
        image("blocks.0.mlp.c_fc.bias"),
        text("layers.2.cross_attention.attn.value.bias"),
        text("layers.0.mlp.c_proj.bias"),
        text("mlm_head.bias"),
    ] {
        assert_eq!(spread[&name], (0.0, 0.0), "{name}");
    }
    assert_eq!(spread[&text("layers.3.ln_mlp.gamma")], (1.0, 1.0));
    assert_eq!(spread[&text("embeddings.layer_norm.beta")], (0.0, 0.0));
    // The heads are PyTorch's linear layers.
    let bound = 128f64.powf(-0.5);
    for name in ["encoders.vision_proj.weight", "encoders.text_proj.weight"] {
        assert_spread(&spread, name, None, Some(bound));
    }
    assert!(spread["itm_head.weight"].0 > 0.0 && f64::from(spread["itm_head.weight"].1) <= bound);
    assert!((spread["temp"].0 - 0.07).abs() < 1e-8);
}
