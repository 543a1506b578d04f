//! `twinflame bench`: what a training step of a named model costs here, and where its time goes.

mod measure;
mod memory;
mod profile;
mod report;
mod staged;
mod workload;

use std::path::PathBuf;

use anyhow::{Context, ensure};
use clap::{Args, value_parser};
use twinflame_model::ModelConfig;
use twinflame_train::precision::Precision;

use super::args::DeviceArg;
use crate::cli::figures;
use measure::Measurement;
use profile::{Breakdown, Earlier, Profile, ProfileFolder, Sampler};
use workload::Workload;

/// Arguments of `twinflame bench`.
#[derive(Args, Debug)]
pub(super) struct BenchArgs {
    /// Name of a configuration, as `twinflame models` lists them, or a .json file of one
    #[arg(value_name = "PRESET|FILE")]
    model: String,
    /// Pairs in a step
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = value_parser!(u32).range(2..))]
    batch_size: u32,
    /// Pairs on the device at a time, CLIP only; smaller than the batch, the whole step is timed but not its parts
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    micro_batch_size: Option<u32>,
    /// Steps to time, after two that warm up
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = value_parser!(u32).range(1..))]
    steps: u32,
    /// Float type of the towers: f32, bf16 or f16
    #[arg(long, value_name = "TYPE", default_value = "f32", value_parser = parse_precision)]
    precision: Precision,
    /// Compute every transformer block again in the backward pass, in place of keeping its activations
    #[arg(long)]
    recompute: bool,
    /// Sample where the CPU time goes (Linux and macOS, feature `profile`): prints it by operation and writes a flame graph,
    /// folded stacks and the report into this folder
    #[arg(long, value_name = "FOLDER")]
    profile: Option<PathBuf>,
    /// A folder of an earlier --profile, to show its operations beside those of this one
    #[arg(long, value_name = "FOLDER", requires = "profile")]
    profile_before: Option<PathBuf>,
    /// Print one JSON object in place of the table
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    device: DeviceArg,
}

/// Times training steps and prints the result.
///
/// # Errors
///
/// If there is no such model, file or device, the device lacks the precision, an ALBEF is asked to run in micro-batches, or a
/// profile is wanted that cannot be taken or written.
pub(super) fn run(args: &BenchArgs) -> anyhow::Result<()> {
    let config = configuration(&args.model)?;
    let mut profiling = Profiling::begin(args)?;
    let selected = args.device.select()?;
    let workload = Workload {
        config,
        batch_size: args.batch_size as usize,
        micro_batch_size: args.micro_batch_size.map(|size| size as usize),
        steps: args.steps as usize,
        precision: args.precision,
        recompute: args.recompute,
    };
    let sampler = profiling.as_mut().map(|profiling| &mut profiling.sampler);
    let measured = Measurement::take(&workload, &selected.device, sampler)?;
    let mut report = report::Report::new(&args.model, &selected, &workload, &measured);
    if let Some(profiling) = profiling {
        profiling.finish(&measured, &mut report)?;
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        println!("{}", report.table());
        if let Some(profile) = &report.profile {
            print(profile);
        }
    }
    Ok(())
}

/// What `--profile` needs, made before the work.
struct Profiling {
    sampler: Sampler,
    folder: ProfileFolder,
    before: Option<Earlier>,
}

impl Profiling {
    fn begin(args: &BenchArgs) -> anyhow::Result<Option<Self>> {
        let Some(path) = &args.profile else {
            return Ok(None);
        };
        ensure!(
            args.profile_before.as_ref() != Some(path),
            "--profile-before: {} is where --profile writes: give the new profile a folder of its own",
            path.display()
        );
        let sampler = Sampler::new()?;
        let before = args.profile_before.as_deref().map(Earlier::read).transpose()?;
        let folder = ProfileFolder::create(path)?;
        Ok(Some(Self {
            sampler,
            folder,
            before,
        }))
    }

    /// Writes the folder and puts the profile into the report.
    fn finish(self, measured: &Measurement, report: &mut report::Report) -> anyhow::Result<()> {
        let stacks = self.sampler.into_stacks();
        ensure!(
            !stacks.is_empty(),
            "--profile: the steps were over before the first sample: ask for more --steps or a larger --batch-size"
        );
        let breakdown = Breakdown::new(&stacks, &measured.stages());
        report.profile = Some(Profile::new(
            self.folder.path(),
            !measured.is_host,
            breakdown,
            self.before,
        ));
        let title = format!("{}: CPU time", report.workload());
        self.folder
            .write(&title, &stacks, &serde_json::to_string_pretty(report)?)
    }
}

fn print(profile: &Profile) {
    println!("\n{}", profile.heading());
    for table in profile.tables() {
        println!("\n{}", figures::render(&table));
    }
    println!("\nprofile: {}", profile.folder());
}

/// A preset, or what a file says, in open_clip's format or in ALBEF's.
fn configuration(model: &str) -> anyhow::Result<ModelConfig> {
    if !model.ends_with(".json") {
        return Ok(ModelConfig::named(model)?);
    }
    let text = std::fs::read_to_string(model).with_context(|| format!("cannot read {model}"))?;
    ModelConfig::from_json(&text).with_context(|| model.to_owned())
}

fn parse_precision(text: &str) -> Result<Precision, String> {
    Precision::ALL
        .into_iter()
        .find(|precision| precision.name() == text)
        .ok_or_else(|| "expected f32, bf16 or f16".to_owned())
}
