//! Random weights of open_clip, read here.

use std::fs;

use twinflame::model::weights::{Allow, import};
use twinflame::model::{Model, ModelConfig, Pass};

use super::{TOLERANCE, device, floats, integers, python, relative_error};

#[test]
#[ignore = "needs Python packages: .ci/run peers"]
fn random_models_of_open_clip_compute_the_same_here() {
    let folder = tempfile::tempdir().unwrap();
    let models = folder.path().join("models");
    python("random_models.py", &models);
    let mut checked = 0;
    for entry in fs::read_dir(&models).unwrap() {
        let dir = entry.unwrap().path();
        let config = ModelConfig::from_json(&fs::read_to_string(dir.join("model.json")).unwrap()).unwrap();
        let file = dir.join("model.safetensors");
        let imported = import(&file, Some(&config), &Allow::default(), &device()).unwrap();
        let Model::Clip(clip) = imported.model else {
            panic!("{} is no CLIP", dir.display());
        };
        let [inputs, outputs] =
            ["inputs", "outputs"].map(|name| fs::read(dir.join(format!("{name}.safetensors"))).unwrap());
        let (images, tokens) = (floats::<4>(&inputs, "images"), integers::<2>(&inputs, "tokens"));
        let forward = clip.forward(images.clone(), tokens.clone(), Pass::Eval);
        let mut logits = forward.image_embeds.matmul(forward.text_embeds.transpose());
        logits = logits * forward.logit_scale.exp().reshape([1, 1]);
        if let Some(bias) = forward.logit_bias {
            logits = logits + bias.reshape([1, 1]);
        }
        for (name, ours) in [
            ("image_features", clip.encode_image(images, Pass::Eval)),
            ("text_features", clip.encode_text(tokens)),
            ("logits", logits),
        ] {
            let error = relative_error(ours, floats(&outputs, name));
            let model = dir.file_name().unwrap().to_string_lossy();
            println!(
                "{model}, {} tensors: {name} within {error:.1e} of the maximum",
                imported.report.loaded
            );
            assert!(error <= TOLERANCE, "{model}: {name} differs by {error:e}");
        }
        checked += 1;
    }
    assert_eq!(checked, 4);
}
