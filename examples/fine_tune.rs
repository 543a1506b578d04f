//! Fine-tuning: somebody's CLIP, trained on with other pictures, and back to open_clip.
//!
//! ```console
//! cargo run --release --example fine_tune -- open_clip_model.safetensors tuned            # on the embedded emoji
//! cargo run --release --example fine_tune -- clip-vit-base-patch32 tuned photos           # on photos/captions.csv
//! ```
//!
//! The checkpoint is anything that `twinflame import` reads. `tuned` gets the imported model, the run, and an `exported`
//! folder for `open_clip.create_model_and_transforms("local-dir:tuned/exported")`.

#![allow(clippy::print_stdout, reason = "what it shows goes to the terminal")]

use std::path::Path;

use anyhow::bail;
use burn::tensor::Device;
use twinflame::model::weights::FileDType;
use twinflame::train::eval::{Templates, TestPlan, TestSet, progress_bar, test_report};
use twinflame::train::export::{ExportFormat, Which, export};
use twinflame::train::recipe::ResolvedRecipe;
use twinflame::train::run::{self, ImportOptions, LoadedModel, RunOptions};

/// What a fine-tuning changes of the recipe that an import leaves: a learning rate a hundred times below that of training
/// from nothing, and what to train on.
const CHANGES: [&str; 5] = [
    "optim.lr=1e-5",
    "optim.warmup_steps=10",
    "loader.batch_size=32",
    "loader.batches_per_epoch=40", // of the one epoch: leave it out for all of the data
    "run.log_every_steps=10",
];

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (checkpoint, out, photos) = match args.as_slice() {
        [checkpoint, out] => (checkpoint, Path::new(out), None),
        [checkpoint, out, photos] => (checkpoint, Path::new(out), Some(photos)),
        _ => bail!("usage: fine_tune CHECKPOINT OUT [PHOTOS]"),
    };
    let selected = twinflame::device::select("auto")?;
    let device = &selected.device;

    let imported = out.join("imported");
    let read = run::import(Path::new(checkpoint), &imported, &ImportOptions::default(), device)?;
    println!("{} tensors of {}", read.report.loaded, read.file.display());

    let mut changes = CHANGES.map(str::to_owned).to_vec();
    // A path may have any character; a JSON string is one of TOML as well.
    changes.push(format!("init.model={}", serde_json::to_string(&imported)?));
    match photos {
        Some(photos) => {
            let folder = format!("{{kind = \"folder\", path = {}}}", serde_json::to_string(photos)?);
            changes.extend(["train", "test.photos"].map(|key| format!("data.{key}={folder}")));
        }
        None => changes.push("data.test.emoji={kind = \"emoji\", split = \"a\"}".to_owned()),
    }
    let recipe = ResolvedRecipe::load_file(&imported.join("recipe.toml"), &changes)?;
    let sets: Vec<TestSet> = recipe
        .recipe
        .data
        .test
        .iter()
        .map(|(name, config)| TestSet::open(name, config))
        .collect::<Result<_, _>>()?;

    print_recall("before", &run::load(&imported, device)?, &sets)?;
    let options = RunOptions {
        runs_dir: out.join("runs"),
        device_description: selected.description.clone(),
        ..RunOptions::default()
    };
    let summary = run::train(&recipe, device, &options)?;
    let tuned = run::load(&summary.run_dir, device)?;
    print_recall("after", &tuned, &sets)?;

    let exported = out.join("exported");
    let report = export(&tuned, ExportFormat::OpenClip, Which::Best, FileDType::F32, &exported)?;
    println!("{}: {}", exported.display(), report.files.join(", "));
    reloads(&exported, out, device)
}

fn print_recall(when: &str, loaded: &LoadedModel, sets: &[TestSet]) -> anyhow::Result<()> {
    let plan = TestPlan {
        sets: sets.to_vec(),
        class_folders: Vec::new(),
        templates: Templates::bare(),
        probe: None,
    };
    for set in test_report(loaded, &plan, &progress_bar("testing", 0))?.report.sets {
        let Some(retrieval) = set.retrieval else { continue };
        for (direction, report) in [
            ("image to text", &retrieval.image_to_text),
            ("text to image", &retrieval.text_to_image),
        ] {
            let recall: Vec<String> = report
                .recall
                .iter()
                .map(|recall| format!("R@{} {:.3}", recall.k, recall.value))
                .collect();
            println!("{when}: {}, {direction}: {}", set.set, recall.join(", "));
        }
    }
    Ok(())
}

/// The exported folder is a checkpoint like any other.
fn reloads(exported: &Path, out: &Path, device: &Device) -> anyhow::Result<()> {
    let again = run::import(exported, &out.join("reloaded"), &ImportOptions::default(), device)?;
    println!("reloaded: {} tensors", again.report.loaded);
    Ok(())
}
