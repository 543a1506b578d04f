//! Export and reload: a trained CLIP as a folder of open_clip, and back from its weights file alone.
//!
//! ```console
//! cargo run --release -- train emoji-clip-transformer           # trains a model that open_clip can express
//! cargo run --release --example export -- runs/emoji-clip-transformer-1 exported
//! ```
//!
//! In Python, `open_clip.create_model_and_transforms("local-dir:exported")` then loads the same model.

#![allow(clippy::print_stdout, reason = "what it shows goes to the terminal")]

use std::path::Path;

use anyhow::{Context, bail};
use burn::tensor::{Int, Tensor, TensorData};
use twinflame::model::weights::{FileDType, load_open_clip, read_metadata};
use twinflame::model::{Clip, ModelConfig, normalize};
use twinflame::train::card::{CARD_KEY, Card};
use twinflame::train::export::{ExportFormat, Which, export};
use twinflame::train::run::{self, LoadedModel};

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [run_dir, out] = args.as_slice() else {
        bail!("usage: export RUN DIR");
    };
    let selected = twinflame::device::select("auto")?;
    let loaded = run::load(Path::new(run_dir), &selected.device)?;
    let out = Path::new(out);
    let report = export(&loaded, ExportFormat::OpenClip, Which::Best, FileDType::F32, out)?;
    println!(
        "{} tensors in {}: {}",
        report.tensors,
        out.display(),
        report.files.join(", ")
    );

    let weights = out.join("open_clip_model.safetensors");
    let metadata = read_metadata(&weights)?;
    let card: Card = serde_json::from_str(metadata.get(CARD_KEY).context("a file without a card")?)?;
    // Nothing but the file is needed: the card describes the model.
    let ModelConfig::Clip(config) = ModelConfig::from_json(&card.architecture.to_string())? else {
        bail!("a card of another kind of model");
    };
    let mut reloaded = config.init(1, &selected.device);
    load_open_clip(&mut reloaded, &weights)?;
    println!(
        "trained by `{}`, {} activation, {} ids",
        card.recipe, card.activation, card.tokenizer.vocab_size
    );

    let before = normalize(
        loaded
            .best_weights()
            .encode_text(tokens(&loaded), loaded.tokenizer.pad_id()),
    );
    let after = embed_text(&reloaded, &loaded);
    let difference: f32 = (before - after).abs().max().into_scalar();
    println!("largest difference of a text's features: {difference:e}");
    Ok(())
}

/// `[1, context_length]`.
fn tokens(loaded: &LoadedModel) -> Tensor<2, Int> {
    let length = loaded.recipe.model.context_length();
    let ids = loaded.tokenizer.encode("a red apple", length);
    let device = loaded.best_weights().device();
    Tensor::from_data(TensorData::new(ids, [1, length]), &device)
}

/// `[1, embed_dim]`, of length 1.
fn embed_text(clip: &Clip, loaded: &LoadedModel) -> Tensor<2> {
    normalize(clip.encode_text(tokens(loaded)))
}
