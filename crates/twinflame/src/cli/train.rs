//! `twinflame train`: a run by a recipe, or the rest of one that was stopped.

use std::path::PathBuf;
use std::process::exit;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use clap::Args;

use super::args::DeviceArg;
use super::figures;
use crate::device;
use crate::train::eval::TestPlan;
use crate::train::recipe::{DEFAULT, ResolvedRecipe};
use crate::train::run::{self, Display, Interrupter, Outcome, RunFolder, RunOptions, RunSummary, restore_terminal};

/// Exit code of a process that Ctrl-C ended, by the convention of shells.
const EXIT_SIGINT: i32 = 130;

/// Arguments of `twinflame train`.
#[derive(Args, Debug)]
pub(super) struct TrainArgs {
    /// Name of an embedded recipe (`twinflame recipes` lists them) or path of a .toml file
    #[arg(default_value = DEFAULT, conflicts_with = "resume")]
    pub(super) recipe: String,
    /// Change a key of the recipe, the value written as in TOML: --set optim.lr=5e-4
    #[arg(long = "set", value_name = "KEY=VALUE", conflicts_with = "resume")]
    pub(super) set: Vec<String>,
    /// Continue the run in this folder after its last checkpoint
    #[arg(long, value_name = "RUN")]
    pub(super) resume: Option<PathBuf>,
    /// Folder for the folders of runs
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub(super) runs_dir: PathBuf,
    /// Print lines instead of showing the dashboard
    #[arg(long)]
    pub(super) plain: bool,
    #[command(flatten)]
    pub(super) device: DeviceArg,
}

/// Trains and says what came out; then judges it on the recipe's test sets, prints the figures, and writes them and
/// `retrieval.png` into the run's folder.
///
/// A run that was stopped is not tested.
///
/// # Errors
///
/// A recipe, device or data that is not right; a run that breaks; as `twinflame eval`.
pub(super) fn run(args: &TrainArgs) -> anyhow::Result<()> {
    let (summary, plan) = train(args)?;
    if summary.outcome == Outcome::Interrupted {
        return Ok(());
    }
    // Training has told which device this is.
    let selected = device::select(&args.device.device)?;
    let loaded = run::load(&summary.run_dir, &selected.device)?;
    if plan.sets.is_empty() {
        return Ok(());
    }
    let outcome = figures::test(&loaded, &plan)?;
    figures::print(&outcome.report);
    figures::save(&outcome, &summary.run_dir, "eval.json", "retrieval.png")
}

fn train(args: &TrainArgs) -> anyhow::Result<(RunSummary, TestPlan)> {
    // A mistake in the recipe is said before a device is looked for, and one in its test sets before hours of training.
    let recipe = match &args.resume {
        Some(folder) => ResolvedRecipe::load_file(&RunFolder::open(folder)?.recipe_file(), &[])?,
        None => ResolvedRecipe::load(&args.recipe, &args.set)?,
    };
    let plan = TestPlan::of_recipe(&recipe.recipe)?;
    let selected = args.device.select()?;
    let options = RunOptions {
        runs_dir: args.runs_dir.clone(),
        display: if args.plain { Display::Plain } else { Display::Auto },
        interrupter: stop_on_ctrl_c()?,
        device_description: selected.description.clone(),
        commit: option_env!("TWINFLAME_COMMIT").unwrap_or("unknown").to_owned(),
        notify: |note| eprintln!("note: {note}"),
        log_file: true,
    };
    let summary = match &args.resume {
        Some(folder) => run::resume(folder, &selected.device, &options),
        None => run::train(&recipe, &selected.device, &options),
    }?;
    report(&summary);
    Ok((summary, plan))
}

/// The first Ctrl-C stops after the step and saves; the second ends the program at once.
fn stop_on_ctrl_c() -> anyhow::Result<Interrupter> {
    let interrupter = Interrupter::new();
    let handle = interrupter.clone();
    let asked = AtomicBool::new(false);
    ctrlc::set_handler(move || {
        if asked.swap(true, Ordering::Relaxed) {
            restore_terminal();
            exit(EXIT_SIGINT);
        }
        eprintln!("\rstopping after this step and saving; Ctrl-C again ends at once");
        handle.stop(Some("Ctrl-C"));
    })
    .context("cannot listen for Ctrl-C")?;
    Ok(interrupter)
}

fn report(summary: &RunSummary) {
    let RunSummary {
        outcome,
        step,
        num_steps,
        ..
    } = summary;
    let run_dir = summary.run_dir.display();
    let secs = summary.elapsed.as_secs();
    match outcome {
        Outcome::Finished => println!("trained {step} steps in {secs}s: {run_dir}"),
        Outcome::StoppedEarly => {
            println!("stopped after {step} of {num_steps} steps, validation no longer improves: {run_dir}")
        }
        Outcome::Interrupted => println!(
            "stopped after {step} of {num_steps} steps and saved; `twinflame train --resume {run_dir}` continues"
        ),
    }
    if let Some(best) = &summary.best {
        println!("best validation: {:.2} after step {}", best.value, best.step);
    }
    for warning in &summary.warnings {
        println!("note: {warning}");
    }
}
