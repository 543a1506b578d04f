//! `twinflame train`: a run by a recipe, or the rest of one that was stopped.

use std::path::{Path, PathBuf};
use std::process::exit;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use anyhow::Context;
use clap::Args;

use super::args::DeviceArg;
use super::figures;
use super::report::say;
use crate::device;
use crate::train::eval::TestPlan;
use crate::train::recipe::{DEFAULT, ResolvedRecipe};
use crate::train::run::{
    self, Display, Interrupter, Outcome, RunError, RunFolder, RunOptions, RunSummary, restore_terminal,
};

/// Exit code of a process that Ctrl-C ended, by the convention of shells.
const EXIT_SIGINT: i32 = 130;

/// Test figures of a run, in its folder.
const FIGURES: &str = "eval.json";

/// What a script can tell from the exit code.
const EXIT_CODES: &str = "Exit code: 0 when the run is done, and when Ctrl-C or SIGTERM stopped it and it was saved; 1 after \
                          an error; 130 when a second signal ended it at once.";

/// Arguments of `twinflame train`.
#[derive(Args, Debug)]
#[command(after_help = EXIT_CODES)]
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
/// A run that was stopped is not tested. One that is trained and was stopped before it was tested is tested when it is
/// resumed.
///
/// # Errors
///
/// A recipe, device or data that is not right; a run that breaks; as `twinflame eval`.
pub(super) fn run(args: &TrainArgs) -> anyhow::Result<()> {
    let stop = StopSignal::listen()?;
    let Some(trained) = train(args, &stop)? else {
        return Ok(());
    };
    if stop.asked_before_testing(&trained.run_dir) {
        return Ok(());
    }
    // Training has told which device this is.
    let selected = device::select(&args.device.device)?;
    let loaded = run::load(&trained.run_dir, &selected.device)?;
    if trained.plan.sets.is_empty() {
        return Ok(());
    }
    let outcome = figures::test(&loaded, &trained.plan)?;
    figures::print(&outcome.report);
    figures::save(&outcome, &trained.run_dir, FIGURES, "retrieval.png")
}

/// A run that has done its steps.
struct Trained {
    run_dir: PathBuf,
    /// What it is tested on.
    plan: TestPlan,
}

/// `None` if the run was stopped before.
fn train(args: &TrainArgs, stop: &StopSignal) -> anyhow::Result<Option<Trained>> {
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
        interrupter: stop.interrupter.clone(),
        device_description: selected.description.clone(),
        commit: option_env!("TWINFLAME_COMMIT").unwrap_or("unknown").to_owned(),
        notify: |note| eprintln!("note: {note}"),
        log_file: true,
    };
    let summary = match &args.resume {
        Some(folder) => match run::resume(folder, &selected.device, &options) {
            Err(RunError::Finished { .. } | RunError::NoBetter { .. }) if is_untested(folder, &plan) => {
                println!("{} is trained but was not tested", folder.display());
                let run_dir = folder.clone();
                return Ok(Some(Trained { run_dir, plan }));
            }
            summary => summary,
        },
        None => run::train(&recipe, &selected.device, &options),
    }?;
    report(&summary);
    Ok((summary.outcome != Outcome::Interrupted).then_some(Trained {
        run_dir: summary.run_dir,
        plan,
    }))
}

fn is_untested(run_dir: &Path, plan: &TestPlan) -> bool {
    !plan.sets.is_empty() && !run_dir.join(FIGURES).is_file()
}

/// Ctrl-C, or SIGTERM as schedulers send it. The first one stops after the step and saves, or ends at once what loses
/// nothing; the second ends the program.
struct StopSignal {
    interrupter: Interrupter,
    /// The run, once it is saved to its end.
    done: Arc<OnceLock<PathBuf>>,
}

impl StopSignal {
    fn listen() -> anyhow::Result<Self> {
        let stop = Self {
            interrupter: Interrupter::new(),
            done: Arc::default(),
        };
        let (interrupter, done) = (stop.interrupter.clone(), stop.done.clone());
        let asked = AtomicBool::new(false);
        ctrlc::set_handler(move || {
            if asked.swap(true, Ordering::Relaxed) {
                restore_terminal();
                exit(EXIT_SIGINT);
            }
            interrupter.stop(Some("Ctrl-C"));
            match done.get() {
                None => say("\rstopping after this step and saving; Ctrl-C again ends at once"),
                Some(run_dir) => {
                    say(&format!("\r{}", untested(run_dir)));
                    exit(0);
                }
            }
        })
        .context("cannot listen for Ctrl-C")?;
        Ok(stop)
    }

    /// From now on the run is saved and a signal need not wait; whether one came before.
    fn asked_before_testing(&self, run_dir: &Path) -> bool {
        let _ = self.done.set(run_dir.to_owned());
        let asked = self.interrupter.should_stop();
        if asked {
            say(&untested(run_dir));
        }
        asked
    }
}

fn untested(run_dir: &Path) -> String {
    let run_dir = run_dir.display();
    format!("stopped before it was tested; `twinflame train --resume {run_dir}` does that")
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
