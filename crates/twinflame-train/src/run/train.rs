//! From a resolved recipe, or the folder of a run, to a trained model.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use burn::tensor::Device;
use burn::train::renderer::MetricsRenderer;
use burn::train::{ApplicationLoggerInstaller, Learner, SupervisedTraining, TrainingStrategy};

use super::checkpoint::CheckpointError;
use super::error::RunError;
use super::folder::RunFolder;
use super::log_file::LogFile;
use super::mailbox::{Mailbox, WhenAsked};
use super::options::{Display, Outcome, RunOptions, RunSummary};
use super::parts::Parts;
use super::plan::{End, Plan};
use super::quiet::QuietRenderer;
use super::replay::ReplayList;
use super::state::RunState;
use super::strategy::StepStrategy;
use super::terminal;
use crate::card::Card;
use crate::logger::{self, JsonlLogger, LogFault, PlainRenderer, TensorBoardLogger};
use crate::metric::{Scores, set};
use crate::recipe::ResolvedRecipe;
use crate::task::Task;
use crate::watchdog::Watchdog;

/// Trains by a recipe in a new folder `<runs_dir>/<name>-<n>`.
///
/// The device decides where; with the same recipe, seed, device and number of threads the result is the same to the
/// last bit on the CPU backends.
///
/// # Errors
/// Anything that [`RunError`] names. Data, model and device are checked before the folder is made.
pub fn train(recipe: &ResolvedRecipe, device: &Device, options: &RunOptions) -> Result<RunSummary, RunError> {
    let parts = Parts::build(recipe, device)?.started(recipe, device)?;
    let folder = RunFolder::create(&options.runs_dir, &recipe.recipe.name)?;
    if let Err(error) = folder.write_origin(recipe, &options.commit, &options.device_description) {
        // Without a recipe it is of no use; the error that led here is the one to report.
        let _ = fs::remove_dir_all(folder.path());
        return Err(error);
    }
    launch(recipe, parts, &folder, RunState::start(recipe.recipe.seed), options)
}

/// Continues the run in `run_dir` after its last checkpoint, with the recipe in the folder; from the beginning if it was
/// stopped before its first checkpoint.
///
/// # Errors
/// Anything that [`RunError`] names; [`RunError::Finished`] or [`RunError::NoBetter`] if nothing is left to do.
pub fn resume(run_dir: &Path, device: &Device, options: &RunOptions) -> Result<RunSummary, RunError> {
    let folder = RunFolder::open(run_dir)?;
    let recipe = ResolvedRecipe::load_file(&folder.recipe_file(), &[])?;
    let run = &recipe.recipe.run;
    let (parts, state) = match folder.checkpoints(run.keep_last).latest()? {
        Some(checkpoint) => {
            something_is_left(&folder, &checkpoint.state, run.stop_after_validations)?;
            let parts = Parts::build(&recipe, device)?.restored(&recipe, &checkpoint)?;
            (parts, checkpoint.state)
        }
        None => {
            (options.notify)(&format!(
                "{} has no checkpoint yet: from the beginning",
                run_dir.display()
            ));
            let parts = Parts::build(&recipe, device)?.started(&recipe, device)?;
            (parts, RunState::start(recipe.recipe.seed))
        }
    };
    let metrics = folder.metrics_file();
    logger::keep_lines(&metrics, |step, split| state.has_logged(step, split)).map_err(RunError::io(&metrics))?;
    launch(&recipe, parts, &folder, state, options)
}

fn something_is_left(folder: &RunFolder, state: &RunState, limit: Option<usize>) -> Result<(), RunError> {
    let path = folder.path().to_owned();
    if state.finished {
        return Err(RunError::Finished {
            path,
            steps: state.step,
        });
    }
    match state.stopped_early(limit) {
        true => Err(RunError::NoBetter {
            path,
            validations: state.validations_since_best,
        }),
        false => Ok(()),
    }
}

/// Hands everything to burn's trainer and waits for the end.
fn launch(
    recipe: &ResolvedRecipe,
    parts: Parts,
    folder: &RunFolder,
    start: RunState,
    options: &RunOptions,
) -> Result<RunSummary, RunError> {
    let started = Instant::now();
    for note in &parts.notes {
        (options.notify)(note);
    }
    let (mailbox, posts) = Mailbox::new();
    let watchdog = Arc::new(watchdog(&parts));
    let scores = Scores::default();
    let log_fault = LogFault::default();
    let mut replay = ReplayList::open(folder, vec![parts.train.clone(), parts.valid.clone()])?;
    replay.save()?;
    let end = Arc::new(Mutex::new(None));
    let num_steps = parts.num_steps;
    let strategy = StepStrategy {
        plan: Plan {
            num_steps,
            batches_per_epoch: parts.train.num_batches(),
            config: recipe.recipe.run.clone(),
            validates: recipe.recipe.data.valid.is_some(),
            recipe_toml: recipe.to_toml(),
            card_json: Card {
                commit: (options.commit != "unknown").then(|| options.commit.clone()),
                ..parts.card
            }
            .to_json(),
            start: start.clone(),
            folder: folder.clone(),
            checkpoints: folder.checkpoints(recipe.recipe.run.keep_last),
        },
        mailbox,
        watchdog: watchdog.clone(),
        scores: scores.clone(),
        log_fault: log_fault.clone(),
        replay: Mutex::new(replay),
        end: end.clone(),
    };
    parts.train.start_at(start.epoch, start.batch);
    let train_loader = parts.train.clone();
    tracing::info!("{}", train_loader.epoch_in_words());
    let epochs = num_steps.div_ceil(parts.train.num_batches().max(1));
    let metrics = folder.metrics_file();
    let events = folder.tensorboard_dir();
    let mut training = SupervisedTraining::<Task>::new(folder.path(), Arc::new(parts.train), Arc::new(parts.valid))
        .num_epochs(epochs)
        .label(&recipe.recipe.name)
        .with_interrupter(options.interrupter.clone())
        .with_application_logger(application_logger(folder, options)?)
        .with_metric_logger(JsonlLogger::append(&metrics, start.step, &log_fault).map_err(RunError::io(&metrics))?)
        .with_metric_logger(TensorBoardLogger::create(&events, start.step, &log_fault).map_err(RunError::io(&events))?)
        .with_custom_checkpointers(posts.model, posts.optim, posts.scheduler)
        .with_checkpointing_strategy(WhenAsked)
        .with_training_strategy(TrainingStrategy::Custom(custom(strategy)));
    let plain = logger::Plan {
        first_step: start.step,
        num_steps,
        epoch: train_loader.epoch_in_words(),
        log_every_steps: recipe.recipe.run.log_every_steps,
        watchdog: watchdog.clone(),
    };
    training = set::register(training, &parts.task, &watchdog, &scores);
    training = training.renderer(renderer(plain, &start, options));
    let learner = Learner::new(parts.task, parts.optim, parts.schedule);
    run_to_the_end(training, learner)?;
    let end = end.lock().unwrap_or_else(PoisonError::into_inner).take();
    let end = end.ok_or_else(|| RunError::Training("the training loop left no result".into()))?;
    let mut warnings: Vec<String> = watchdog.hint().into_iter().collect();
    let bad = train_loader.bad_samples();
    if bad.total() > 0 {
        warnings.push(format!("unreadable training samples were replaced: {bad}"));
    }
    let listed = folder.replay_list();
    if listed.is_file() {
        let listed = listed.display();
        warnings.push(format!("what could not be used of the data is listed in {listed}"));
    }
    summary(end, folder, num_steps, started, warnings)
}

fn summary(
    end: End,
    folder: &RunFolder,
    num_steps: usize,
    started: Instant,
    warnings: Vec<String>,
) -> Result<RunSummary, RunError> {
    let outcome: Outcome = end.outcome?;
    let checkpoint = end.checkpoint.ok_or_else(|| CheckpointError::Missing {
        path: folder.path().to_owned(),
    })?;
    Ok(RunSummary {
        outcome,
        run_dir: folder.path().to_owned(),
        checkpoint: checkpoint.dir,
        step: end.state.step,
        num_steps,
        best: end.state.best,
        pairs_seen: end.state.pairs_seen,
        elapsed: started.elapsed(),
        warnings,
    })
}

/// Runs burn's trainer and drops its result, which closes the dashboard.
fn run_to_the_end(training: SupervisedTraining<Task>, learner: Learner<Task>) -> Result<(), RunError> {
    // "Kill" in the dashboard is a panic in burn's threads; to the user it is a choice and no fault.
    let launched = catch_unwind(AssertUnwindSafe(|| drop(training.launch(learner))));
    launched.or_else(|panic| match is_kill(panic.as_ref()) {
        true => Err(RunError::Killed),
        false => resume_unwind(panic),
    })
}

fn is_kill(panic: &(dyn std::any::Any + Send)) -> bool {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text == Some("Killing training from user input.")
}

#[allow(
    clippy::arc_with_non_send_sync,
    reason = "burn asks for an Arc and uses it in this thread only"
)]
fn custom(strategy: StepStrategy) -> burn::train::CustomLearningStrategy<Task> {
    Arc::new(strategy)
}

fn watchdog(parts: &Parts) -> Watchdog {
    match parts.task.chance_is_ln_batch() {
        true => Watchdog::new(parts.warmup_steps),
        false => Watchdog::new(usize::MAX),
    }
}

fn application_logger(
    folder: &RunFolder,
    options: &RunOptions,
) -> Result<Option<Box<dyn ApplicationLoggerInstaller>>, RunError> {
    match options.log_file {
        true => Ok(Some(Box::new(LogFile::create(folder)?))),
        false => Ok(None),
    }
}

fn renderer(plain: logger::Plan, start: &RunState, options: &RunOptions) -> Box<dyn MetricsRenderer> {
    let resumed_epoch = (start.epoch > 0).then_some(start.epoch);
    let dashboard = || terminal::dashboard(&options.interrupter, resumed_epoch);
    match options.display {
        Display::Quiet => Box::new(QuietRenderer),
        Display::Plain => Box::new(PlainRenderer::stdout(plain)),
        Display::Auto => dashboard().unwrap_or_else(|| Box::new(PlainRenderer::stdout(plain))),
    }
}
