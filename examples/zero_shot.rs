//! Zero-shot classification: which of these texts describes this picture?
//!
//! ```console
//! cargo run --release                                  # trains the model once
//! cargo run --release --example zero_shot -- runs/emoji-clip-1 apple.png "a red apple" "a dog" "a clock"
//! ```

#![allow(clippy::print_stdout, reason = "what it shows goes to the terminal")]

use std::path::Path;

use anyhow::{Context, bail};
use burn::tensor::{Device, Int, Tensor, TensorData};
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use twinflame::data::decode::{DecodeLimits, decode};
use twinflame::model::{ImageInput, normalize};
use twinflame::train::eval::ZeroShotClassifier;
use twinflame::train::run::{self, LoadedModel};

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [run_dir, picture, texts @ ..] = args.as_slice() else {
        bail!("usage: zero_shot RUN PICTURE TEXT TEXT...");
    };
    if texts.is_empty() {
        bail!("give the texts to choose from after the picture");
    }
    let selected = twinflame::device::select("auto")?;
    let loaded = run::load(Path::new(run_dir), &selected.device)?;

    let classifier = ZeroShotClassifier::new(embed_texts(&loaded, texts, &selected.device), 1);
    let image = embed_picture(&loaded, Path::new(picture), &selected.device)?;
    let shares = burn::tensor::activation::softmax(classifier.logits(image), 1); // [1, texts]

    let shares: Vec<f32> = shares.into_data().iter::<f32>().collect();
    let mut ranked: Vec<(&String, f32)> = texts.iter().zip(shares).collect();
    ranked.sort_by(|left, right| right.1.total_cmp(&left.1));
    for (text, share) in ranked {
        println!("{:5.1} %  {text}", 100.0 * share);
    }
    Ok(())
}

/// `[texts, embed_dim]`, rows of length 1.
fn embed_texts(loaded: &LoadedModel, texts: &[String], device: &Device) -> Tensor<2> {
    let context_length = loaded.recipe.model.context_length();
    let ids: Vec<i32> = texts
        .iter()
        .flat_map(|text| loaded.tokenizer.encode(text, context_length))
        .collect();
    let tokens = Tensor::<2, Int>::from_data(TensorData::new(ids, [texts.len(), context_length]), device);
    normalize(loaded.best_weights().encode_text(tokens, loaded.tokenizer.pad_id()))
}

/// `[1, embed_dim]`, of length 1.
fn embed_picture(loaded: &LoadedModel, path: &Path, device: &Device) -> anyhow::Result<Tensor<2>> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let image = decode(&bytes, &DecodeLimits::default()).with_context(|| path.display().to_string())?;
    // The evaluation transform draws nothing, so the seed does not matter.
    let pixels = loaded.transform.apply(&image, &mut ChaCha8Rng::seed_from_u64(0));
    let normalized: Vec<f32> = (0..3)
        .flat_map(|channel| {
            let channel_bytes = pixels.pixels.iter().skip(channel).step_by(3);
            channel_bytes.map(move |byte| loaded.normalization.apply(channel, *byte))
        })
        .collect();
    let shape = [1, 3, pixels.size, pixels.size];
    let pixels = Tensor::<4>::from_data(TensorData::new(normalized, shape), device);
    let input = ImageInput {
        pixels,
        keep_patches: None,
    };
    Ok(normalize(loaded.best_weights().encode_image(input)))
}
