//! `twinflame embed`: images or texts to a file of embeddings.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use burn::tensor::Tensor;
use clap::Args;

use super::args::DeviceArg;
use crate::data::dataset::{ImageFiles, ImageList};
use crate::model::normalize;
use crate::train::eval::{EmbeddingFile, EmbeddingFormat, Encoder, EvalError, progress_bar};
use crate::train::run;

/// Arguments of `twinflame embed`.
#[derive(Args, Debug)]
pub(super) struct EmbedArgs {
    /// Folder of a run (its last checkpoint), RUN/best, or folder of one checkpoint
    run: PathBuf,
    #[command(flatten)]
    input: Input,
    /// File to write, ending in .npy or .safetensors; OUT.index.tsv says what each row is
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    /// Leave features as the model gives them instead of bringing them to length 1
    #[arg(long)]
    unnormalized: bool,
    #[command(flatten)]
    device: DeviceArg,
}

/// What is embedded.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct Input {
    /// Embed the images in this folder and the folders below it
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// Embed the lines of this file that are not empty
    #[arg(long, value_name = "FILE")]
    texts: Option<PathBuf>,
}

/// Embeds and says how many rows were written.
///
/// # Errors
///
/// A run, device, folder or file that is not right; a disk that refuses.
pub(super) fn run(args: &EmbedArgs) -> anyhow::Result<()> {
    // Mistakes in the arguments are said before a model is loaded.
    EmbeddingFormat::of(&args.output)?;
    let images = args.input.images.as_deref().map(ImageFiles::find).transpose()?;
    let texts = args.input.texts.as_deref().map(lines).transpose()?;
    let selected = args.device.select()?;
    let loaded = run::load(&args.run, &selected.device)?;
    let encoder = Encoder::new(&loaded, loaded.best_weights()).tolerant();
    let mut file = EmbeddingFile::create(&args.output, loaded.recipe.model.embed_dim())?;
    let finish = |features: Tensor<2>| match args.unnormalized {
        true => features,
        false => normalize(features),
    };
    if let Some(images) = images.map(Arc::new) {
        let bar = progress_bar("embedding images", images.num_images());
        let unreadable = encoder.encode_images(images.clone(), &bar, |rows, features| {
            let names: Vec<String> = rows.iter().map(|&row| images.image_name(row)).collect();
            push(&mut file, &names, finish(features))
        })?;
        bar.finish_and_clear();
        if unreadable.total() == images.num_images() {
            bail!("no image could be read: {unreadable}");
        }
        if unreadable.total() > 0 {
            eprintln!("note: {unreadable}");
        }
    }
    if let Some(texts) = texts {
        let bar = progress_bar("embedding texts", texts.len());
        encoder.encode_texts(&texts, &bar, |texts, features| push(&mut file, texts, finish(features)))?;
        bar.finish_and_clear();
    }
    let (rows, index) = file.finish()?;
    println!(
        "{rows} rows of {} values: {}, index {}",
        loaded.recipe.model.embed_dim(),
        args.output.display(),
        index.display()
    );
    Ok(())
}

fn push(file: &mut EmbeddingFile, sources: &[String], features: Tensor<2>) -> Result<(), EvalError> {
    let values: Vec<f32> = features.try_into_vec_as()?;
    file.push(sources, &values)
}

/// The lines of a file that are not empty.
fn lines(path: &Path) -> anyhow::Result<Vec<String>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let lines: Vec<String> = text
        .lines()
        .map(|line| line.trim().to_owned())
        .filter(|line| !line.is_empty())
        .collect();
    if lines.is_empty() {
        bail!("{}: no text in it; write one a line", path.display());
    }
    Ok(lines)
}
