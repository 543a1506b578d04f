//! Zero-shot classification as open_clip's `build_zero_shot_classifier` does it.

use burn::tensor::activation::softmax;
use burn::tensor::{Int, Tensor};
use twinflame::model::{ImageInput, Pass, normalize};
use twinflame::train::eval::ZeroShotClassifier;

use crate::fixture::{Fixture, assert_close};

/// Prompts of a class in the fixture.
const NUM_TEMPLATES: usize = 3;

#[test]
fn classifier_logits_and_hits_are_open_clips() {
    let device = twinflame_tests::device();
    let fixture = Fixture::new("clip_zero_shot");
    // The fixture is made with the weights of another one.
    let clip = Fixture::new("clip_vit_tiny").clip(&device);
    let mut inputs = fixture.tensors("inputs");
    let outputs = fixture.tensors("outputs");
    let text_ids = inputs.remove("text_ids").unwrap().convert::<i32>();
    let prompts = clip.encode_text(Tensor::<2, Int>::from_data(text_ids, &device));
    let input = ImageInput {
        pixels: Tensor::from_data(inputs.remove("image").unwrap(), &device),
        keep_patches: None,
    };
    let images = normalize(clip.encode_image(input, Pass::Eval));
    let check = |name: &str, found: Tensor<2>| {
        assert_eq!(found.dims().as_slice(), outputs[name].shape().as_slice(), "{name}");
        assert_close(name, found.into_data(), &outputs[name]);
    };

    let classifier = ZeroShotClassifier::new(prompts, NUM_TEMPLATES);
    check("classifier", classifier.classes().transpose());
    check("image_features", images.clone());
    let logits = classifier.logits(images.clone());
    check("logits", logits.clone());
    check("probs", softmax(logits, 1));

    let labels: Vec<usize> = inputs["target"].iter::<i64>().map(|label| label as usize).collect();
    let names: Vec<String> = (0..5).map(|class| class.to_string()).collect();
    let report = classifier.evaluate(images, &labels, &names).unwrap();
    let num_right = outputs["correct_top1"].iter::<f64>().next().unwrap();
    assert!(
        (report.top_1 * labels.len() as f64 - num_right).abs() < 1e-9,
        "{report:?}, {num_right} right"
    );
    // Of five classes, the right one is always among the first five.
    assert_eq!(report.top_5, 1.0);
}
