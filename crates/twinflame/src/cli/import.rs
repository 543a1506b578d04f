//! `twinflame import`: a checkpoint of another program becomes a run.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

use super::args::DeviceArg;
use crate::model::ModelConfig;
use crate::model::weights::{CheckpointLayout, Imported};
use crate::train::run::{self, ImportOptions};

/// Names of a list that are printed.
const SHOWN: usize = 8;

/// Arguments of `twinflame import`.
#[derive(Args, Debug)]
pub(super) struct ImportArgs {
    /// File of weights (.pt, .pth, .bin, .safetensors) of open_clip, OpenAI or salesforce/ALBEF, or a folder with one,
    /// such as Hugging Face's
    checkpoint: PathBuf,
    /// Configuration: a name (`twinflame models` lists them) or a JSON file; default: what the shapes say
    #[arg(long, value_name = "NAME|JSON")]
    config: Option<String>,
    /// Let this tensor be missing or left over; * and ? stand for any text and any character; repeatable
    #[arg(long, value_name = "NAME|GLOB")]
    allow: Vec<String>,
    /// Change a key of the recipe in the folder: --set tokenizer.kind=file --set tokenizer.path=tokenizer.json
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Folder to make; `eval`, `embed`, `search` and init.model take it for a run
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    #[command(flatten)]
    device: DeviceArg,
}

/// Imports and says what was loaded and what was not.
///
/// # Errors
///
/// A checkpoint that is damaged, of another kind, or not what the configuration says; a folder that exists.
pub(super) fn run(args: &ImportArgs) -> anyhow::Result<()> {
    let config = args.config.as_deref().map(config).transpose()?;
    let selected = args.device.select()?;
    let options = ImportOptions {
        config,
        allow: args.allow.clone(),
        set: args.set.clone(),
        commit: option_env!("TWINFLAME_COMMIT").unwrap_or("unknown").to_owned(),
        device_description: selected.description.clone(),
    };
    let imported = run::import(&args.checkpoint, &args.output, &options, &selected.device)?;
    report(&imported);
    println!("written: {}", args.output.display());
    Ok(())
}

/// A JSON file, or the name of a configuration.
fn config(text: &str) -> anyhow::Result<ModelConfig> {
    let path = Path::new(text);
    if path.extension().is_none_or(|ending| ending != "json") && !path.is_file() {
        return Ok(ModelConfig::named(text)?);
    }
    let json = std::fs::read_to_string(path).with_context(|| format!("cannot read {text}"))?;
    ModelConfig::from_json(&json).with_context(|| format!("{text} is no configuration"))
}

fn report(imported: &Imported) {
    let layout = match imported.layout {
        CheckpointLayout::OpenClip => "open_clip's or OpenAI's names",
        CheckpointLayout::HuggingFaceClip => "Hugging Face's CLIPModel",
        CheckpointLayout::Albef => "salesforce/ALBEF's names",
        CheckpointLayout::Vit => "timm's names",
        CheckpointLayout::Bert => "Hugging Face's BERT",
    };
    let report = &imported.report;
    println!("{}: {layout}", imported.file.display());
    println!("loaded:    {} tensors", report.loaded);
    for (what, names) in [
        ("resized:  ", &report.resized),
        ("missing:  ", &report.missing),
        ("left over:", &report.ignored),
    ] {
        println!("{what} {}", list(names));
    }
    if imported.assumed_activation {
        println!(
            "note: whether these weights were trained with GELU or QuickGELU does not show; GELU is taken. For QuickGELU \
             give --config with a name that ends in -quickgelu, or a JSON file"
        );
    }
}

/// The names, or how many there are and the first.
fn list(names: &[String]) -> String {
    match names.len() {
        0 => "none".to_owned(),
        few if few <= SHOWN => names.join(", "),
        many => format!("{many} tensors: {}, ..", names[..SHOWN].join(", ")),
    }
}
