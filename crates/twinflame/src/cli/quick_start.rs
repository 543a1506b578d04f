//! `twinflame` without a verb: train the default recipe, test it, and draw what it finds.

use std::path::PathBuf;

use clap::Args;

use super::args::DeviceArg;
use super::figures;
use super::train::{self, TrainArgs};
use crate::device;
use crate::train::eval::TestPlan;
use crate::train::recipe::DEFAULT;
use crate::train::run::{self, Outcome};

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

/// Trains, prints the test figures, and writes them and `retrieval.png` into the run's folder.
///
/// A run that was stopped is not tested.
///
/// # Errors
///
/// As `twinflame train` and `twinflame eval`.
pub(super) fn run(args: QuickStartArgs) -> anyhow::Result<()> {
    let args = TrainArgs {
        recipe: DEFAULT.to_owned(),
        set: args.set,
        resume: None,
        runs_dir: args.runs_dir,
        plain: args.plain,
        device: args.device,
    };
    let summary = train::train(&args)?;
    if summary.outcome == Outcome::Interrupted {
        return Ok(());
    }
    // Training has told which device this is.
    let selected = device::select(&args.device.device)?;
    let loaded = run::load(&summary.run_dir, &selected.device)?;
    let outcome = figures::test(&loaded, &TestPlan::of_recipe(&loaded)?)?;
    figures::print(&outcome.report);
    figures::save(&outcome, &summary.run_dir, "eval.json", "retrieval.png")
}
