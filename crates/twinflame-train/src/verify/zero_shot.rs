//! Zero-shot classification as open_clip's `build_zero_shot_classifier` does it.

use burn::tensor::{Device, activation::softmax};
use indicatif::ProgressBar;
use twinflame_model::{ImageInput, Pass, normalize};

use super::{Check, Fixture, Rule, Tensors, VerifyError, clip, outputs::Outputs};
use crate::eval::{Chunking, Relevance, ZeroShotClassifier, ranks};

/// Computes the classifier and what it makes of the images.
///
/// # Errors
/// If the fixture cannot be computed.
pub(super) fn checks(fixture: &Fixture, device: &Device) -> Result<Vec<Check>, VerifyError> {
    let config = clip::config(fixture)?;
    let (classes, templates) = (fixture.size("classes")?, fixture.size("templates")?);
    let inputs = fixture.inputs("", device)?;
    let context = config.text_cfg.context_length;
    let prompts = inputs.ids("text_ids", context..=context, config.text_cfg.vocab_size)?;
    inputs.same_batch("text_ids", prompts.dims()[0], classes * templates)?;
    let pixels = inputs.images("image", config.vision_cfg.image_size)?;
    let [num_images, ..] = pixels.dims();
    let labels = inputs.integers("target", &[num_images], 0..classes as i64)?;
    let labels: Vec<usize> = labels.into_iter().map(|label| label as usize).collect();

    let model = clip::model(fixture, &device.clone().without_autodiff())?;
    let texts = model.encode_text(prompts);
    let images = normalize(model.encode_image(ImageInput::from(pixels), Pass::Eval));
    let classifier = ZeroShotClassifier::new(texts.clone(), templates);
    let logits = classifier.logits(images.clone());
    let mut tensors = Tensors::new();
    let mut outputs = Outputs {
        tensors: &mut tensors,
        prefix: "",
    };
    outputs.tensor("text_features", &normalize(texts))?;
    outputs.tensor("image_features", &images)?;
    outputs.tensor("classifier", &classifier.classes().transpose())?;
    outputs.tensor("logits", &logits)?;
    outputs.tensor("probs", &softmax(logits, 1))?;
    let relevance = Relevance::from_labels(&labels, classes);
    let bar = ProgressBar::hidden();
    let ranks = ranks(images, classifier.classes(), &relevance, Chunking::default(), &bar)?;
    for k in [1, 3] {
        let hits = ranks.iter().flatten().filter(|rank| **rank <= k).count();
        outputs.number(&format!("correct_top{k}"), hits as f32);
    }
    Ok(vec![Check::file("outputs", tensors, Rule::Output)])
}
