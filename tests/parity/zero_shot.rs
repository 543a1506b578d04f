//! Zero-shot classification as open_clip's `build_zero_shot_classifier` does it.

use std::collections::HashMap;
use std::path::PathBuf;

use burn::tensor::{Device, Int, Tensor, TensorData};
use safetensors::SafeTensors;
use twinflame::model::weights::load_open_clip;
use twinflame::model::{Clip, ClipConfig, ImageInput, Pass, normalize};
use twinflame::train::eval::{ClassificationReport, ZeroShotClassifier};

/// Largest difference from the reference, over the reference's largest value (README of the fixtures).
const TOLERANCE: f32 = 1e-5;

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

fn tensors(file: &str) -> HashMap<String, TensorData> {
    let bytes = std::fs::read(fixtures().join("clip_zero_shot").join(file)).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let data = |view: &safetensors::tensor::TensorView<'_>| {
        let dtype = match view.dtype() {
            safetensors::Dtype::F32 => burn::tensor::DType::F32,
            safetensors::Dtype::I64 => burn::tensor::DType::I64,
            other => panic!("{other:?}"),
        };
        TensorData::from_bytes_vec(view.data().to_vec(), view.shape().to_vec(), dtype)
    };
    file.iter().map(|(name, view)| (name.to_owned(), data(&view))).collect()
}

fn clip(device: &Device) -> Clip {
    let config = std::fs::read_to_string(fixtures().join("clip_zero_shot/config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    let mut clip = ClipConfig::from_json(&config["model_cfg"].to_string())
        .unwrap()
        .init(0, device);
    load_open_clip(&mut clip, &fixtures().join("clip_vit_tiny/weights.safetensors")).unwrap();
    clip
}

fn assert_close<const D: usize>(name: &str, found: Tensor<D>, expected: &TensorData) {
    assert_eq!(found.shape(), expected.shape, "{name}");
    let found: Vec<f32> = found.into_data().iter().collect();
    let expected: Vec<f32> = expected.iter().collect();
    let scale = expected.iter().fold(0.0_f32, |max, value| max.max(value.abs()));
    let worst = std::iter::zip(&found, &expected).fold(0.0_f32, |max, (a, b)| max.max((a - b).abs()));
    assert!(
        worst <= TOLERANCE * scale,
        "{name}: off by {worst}, allowed {}",
        TOLERANCE * scale
    );
}

#[test]
fn classifier_logits_and_hits_are_open_clips() {
    let device = twinflame_tests::device();
    let clip = clip(&device);
    let mut inputs = tensors("inputs.safetensors");
    let outputs = tensors("outputs.safetensors");
    let text_ids = inputs.remove("text_ids").unwrap().convert::<i32>();
    let prompts = clip.encode_text(Tensor::<2, Int>::from_data(text_ids, &device));
    let pixels = Tensor::<4>::from_data(inputs.remove("image").unwrap(), &device);
    let input = ImageInput {
        pixels,
        keep_patches: None,
    };
    let images = normalize(clip.encode_image(input, Pass::Eval));

    let classifier = ZeroShotClassifier::new(prompts, 3);
    assert_close("classifier", classifier.classes().transpose(), &outputs["classifier"]);
    assert_close("image_features", images.clone(), &outputs["image_features"]);
    let logits = classifier.logits(images.clone());
    assert_close("logits", logits.clone(), &outputs["logits"]);
    let probs = burn::tensor::activation::softmax(logits, 1);
    assert_close("probs", probs, &outputs["probs"]);

    let labels: Vec<usize> = inputs["target"].iter::<i64>().map(|label| label as usize).collect();
    let names: Vec<String> = (0..5).map(|class| class.to_string()).collect();
    let report: ClassificationReport = classifier.evaluate(images, &labels, &names).unwrap();
    let right = outputs["correct_top1"].iter::<f32>().next().unwrap();
    assert!(
        (report.top_1 * 6.0 - f64::from(right)).abs() < 1e-9,
        "{report:?} {right}"
    );
    // Five classes: the right one is always among the first five.
    assert_eq!(report.top_5, 1.0);
}
