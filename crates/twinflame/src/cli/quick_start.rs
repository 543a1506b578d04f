//! `twinflame` without a verb: train the default recipe, test it, and draw what it finds.

use std::path::PathBuf;

use clap::Args;

use super::args::DeviceArg;
use super::train::{self, TrainArgs};
use crate::train::recipe::DEFAULT;

/// Arguments of `twinflame` without a verb.
#[derive(Args, Debug)]
pub(super) struct QuickStartArgs {
    /// Change a key of the default recipe, the value written as in TOML: --set run.num_steps=600
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Folder for the folders of runs
    #[arg(long, value_name = "DIR", default_value = "runs")]
    runs_dir: PathBuf,
    /// Print lines instead of showing the dashboard
    #[arg(long)]
    plain: bool,
    #[command(flatten)]
    device: DeviceArg,
}

/// Trains and tests.
///
/// # Errors
///
/// As `twinflame train`.
pub(super) fn run(args: QuickStartArgs) -> anyhow::Result<()> {
    let args = TrainArgs {
        recipe: DEFAULT.to_owned(),
        set: args.set,
        resume: None,
        runs_dir: args.runs_dir,
        plain: args.plain,
        device: args.device,
    };
    train::run(&args)
}
