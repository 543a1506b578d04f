//! Weights trained here, read by open_clip and transformers.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use burn::tensor::{Int, Tensor, TensorData};
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use serde_json::Value;
use twinflame::data::decode::{DecodeLimits, decode};
use twinflame::model::normalize;
use twinflame::model::weights::{FileDType, save_tensors};
use twinflame::train::run::{self, LoadedModel};

use super::{TOLERANCE, device, python};

/// Runs the binary in `folder`.
pub(super) fn twinflame(folder: &Path, args: &[&str]) {
    let output = Command::new(env!("CARGO_BIN_EXE_twinflame"))
        .args(args)
        .arg("--device=cpu")
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
#[ignore = "needs Python packages: .ci/run peers"]
fn an_exported_model_is_the_same_in_open_clip_and_transformers() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // A Vision Transformer and a text transformer over a cut vocabulary, averaged weights included.
    let steps = ["--plain", "--set=run.num_steps=60", "--set=seed=5"];
    twinflame(folder, &[&["train", "tiny"][..], &steps].concat());
    twinflame(
        folder,
        &["export", "runs/tiny-1", "--format=open_clip", "-o", "open_clip"],
    );
    twinflame(folder, &["export", "runs/tiny-1", "--format=hf", "-o", "hf"]);
    python("pictures.py", &folder.join("pictures"));
    twinflame(folder, &["eval", "runs/tiny-1", "--data", "pictures", "-o", "figures"]);
    let loaded = run::load(&folder.join("runs/tiny-1"), &device()).unwrap();
    write_ours(&loaded, folder);

    let found: Value = serde_json::from_str(&python("exported.py", folder)).unwrap();
    let ours = recall_of_eval(&folder.join("figures/eval-pictures.json"), "pictures");
    for (peer, found) in found.as_object().unwrap() {
        let figure = |name: &str| found[name].as_f64().unwrap();
        println!(
            "{peer}: images within {:.1e} and texts within {:.1e} of the maximum, pixels within {:.1e}, rankings equal: {}",
            figure("images"),
            figure("texts"),
            figure("pixels"),
            found["rankings_equal"]
        );
        if let Some(default) = found.get("default_pixels") {
            println!("{peer}: pixels of the default image processor, torchvision's: within {default}");
        }
        assert!(
            figure("images") <= TOLERANCE && figure("texts") <= TOLERANCE,
            "{peer}: {found}"
        );
        // One of 255 levels is 0.015 here.
        assert!(figure("pixels") <= 1e-6, "{peer}: {found}");
        assert_eq!(found["different_ids"], 0, "{peer}");
        assert_eq!(found["rankings_equal"], true, "{peer}");
        for direction in ["image_to_text", "text_to_image"] {
            let theirs: Vec<f64> = serde_json::from_value(found["recall"][direction].clone()).unwrap();
            println!(
                "{peer}: {direction} recall {theirs:?}, twinflame eval {:?}",
                ours[direction]
            );
            assert_eq!(theirs, ours[direction], "{peer}");
        }
    }
}

/// Recall at 1, 5 and 10 of a set by direction: of the averaged weights if there are any, else of the trained ones.
pub(super) fn recall_of_eval(path: &Path, name: &str) -> HashMap<&'static str, Vec<f64>> {
    let json: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let sets = json["sets"].as_array().unwrap();
    let of_weights = |weights: &str| sets.iter().find(|set| set["set"] == name && set["weights"] == weights);
    let set = of_weights("ema").or_else(|| of_weights("raw")).unwrap();
    let recall = |direction: &'static str| {
        let recall = set["retrieval"][direction]["recall"].as_array().unwrap();
        let values: Vec<f64> = recall.iter().map(|entry| entry["value"].as_f64().unwrap()).collect();
        assert_eq!(values.len(), 3);
        (direction, values)
    };
    ["image_to_text", "text_to_image"].map(recall).into_iter().collect()
}

/// What Twinflame makes of the pictures and captions, from files to features.
fn write_ours(loaded: &LoadedModel, folder: &Path) {
    let table = fs::read_to_string(folder.join("pictures/captions.csv")).unwrap();
    let rows: Vec<(&str, &str)> = table
        .lines()
        .skip(1)
        .map(|line| line.split_once(',').unwrap())
        .collect();
    let context_length = loaded.recipe.model.context_length();
    let (mut pixels, mut ids) = (Vec::new(), Vec::new());
    for (name, caption) in &rows {
        let bytes = fs::read(folder.join("pictures").join(name)).unwrap();
        let image = decode(&bytes, &DecodeLimits::default()).unwrap();
        // The evaluation transform draws nothing.
        let rgb = loaded.transform.apply(&image, &mut ChaCha8Rng::seed_from_u64(0));
        for channel in 0..3 {
            let bytes = rgb.pixels.iter().skip(channel).step_by(3);
            pixels.extend(bytes.map(|byte| loaded.normalization.apply(channel, *byte)));
        }
        ids.extend(loaded.tokenizer.encode(caption.trim_matches('"'), context_length));
    }
    let size = loaded.recipe.model.image_size();
    let pixels = TensorData::new(pixels, [rows.len(), 3, size, size]);
    let model = loaded.best_weights();
    let images = normalize(model.encode_image(Tensor::<4>::from_data(pixels.clone(), &device())));
    let ids64: Vec<i64> = ids.iter().map(|id| i64::from(*id)).collect();
    let tokens = TensorData::new(ids64, [rows.len(), context_length]);
    let texts = normalize(model.encode_text(
        Tensor::<2, Int>::from_data(TensorData::new(ids, [rows.len(), context_length]), &device()),
        loaded.tokenizer.pad_id(),
    ));
    let tensors = vec![
        ("pixels".to_owned(), pixels),
        ("tokens".to_owned(), tokens),
        ("images".to_owned(), images.into_data()),
        ("texts".to_owned(), texts.into_data()),
    ];
    save_tensors(
        &folder.join("ours.safetensors"),
        tensors,
        FileDType::F32,
        HashMap::new(),
    )
    .unwrap();
}
