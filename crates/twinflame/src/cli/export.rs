//! `twinflame export`: a trained model for other programs.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::args::DeviceArg;
use crate::model::weights::FileDType;
use crate::train::export::{ExportFormat, Which, export};
use crate::train::run;

/// Arguments of `twinflame export`.
#[derive(Args, Debug)]
pub(super) struct ExportArgs {
    /// Folder of a run (its last checkpoint), RUN/best, or folder of one checkpoint
    run: PathBuf,
    /// For which programs the folder is
    #[arg(long, value_name = "FORMAT")]
    format: Format,
    /// Type of the weights in the file
    #[arg(long, value_name = "DTYPE", default_value = "f32")]
    dtype: Dtype,
    /// Take the weights as trained where the recipe also averaged them
    #[arg(long)]
    raw: bool,
    /// Folder to write; it must not exist or be empty
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    #[command(flatten)]
    device: DeviceArg,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// open_clip's create_model_and_transforms("local-dir:DIR")
    #[value(name = "open_clip")]
    OpenClip,
    /// CLIPModel and CLIPProcessor of Hugging Face's transformers
    Hf,
    /// The names of salesforce/ALBEF
    Albef,
    /// Weights, configuration and recipe of Twinflame
    Safetensors,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Dtype {
    F32,
    F16,
    Bf16,
}

/// Writes the folder and says what is in it, and what to know about it.
///
/// # Errors
///
/// A run or device that is not right, a model that the format cannot express, a folder in use, a disk that refuses.
pub(super) fn run(args: &ExportArgs) -> anyhow::Result<()> {
    let selected = args.device.select()?;
    let loaded = run::load(&args.run, &selected.device)?;
    let format = match args.format {
        Format::OpenClip => ExportFormat::OpenClip,
        Format::Hf => ExportFormat::Hf,
        Format::Albef => ExportFormat::Albef,
        Format::Safetensors => ExportFormat::Safetensors,
    };
    let dtype = match args.dtype {
        Dtype::F32 => FileDType::F32,
        Dtype::F16 => FileDType::F16,
        Dtype::Bf16 => FileDType::Bf16,
    };
    let which = if args.raw { Which::Raw } else { Which::Best };
    let report = export(&loaded, format, which, dtype, &args.output)?;
    let weights = match loaded.ema.is_some() && !args.raw {
        true => "averaged weights",
        false => "weights",
    };
    println!(
        "{}: {weights} of step {}, {} tensors; {}",
        args.output.display(),
        loaded.checkpoint.state.step,
        report.tensors,
        report.files.join(", ")
    );
    for note in &report.notes {
        println!("note: {note}");
    }
    Ok(())
}
