//! The training loop, as a strategy of burn's trainer.
//!
//! burn's own loop knows epochs only: it saves and stops between them, and writes a checkpoint as three
//! files that belong together by name. This one counts steps, stops after any of them, and keeps
//! everything that a run has to remember in one [`RunState`].

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use burn::module::Module;
use burn::train::metric::store::EventStoreClient;
use burn::train::{
    EventProcessorTraining, InferenceStep, Interrupter, Learner, LearnerEvent, LearningCheckpointer,
    SupervisedLearningStrategy, SupervisedTrainingEventProcessor, TrainLoader, TrainingComponents, TrainingItem,
    ValidLoader,
};

use super::checkpoint::Checkpoint;
use super::durable;
use super::error::{LastGood, Resume, RunError};
use super::finite::weights_are_finite;
use super::mailbox::Mailbox;
use super::options::Outcome;
use super::plan::{End, Plan};
use super::replay::ReplayList;
use super::state::{Best, RunState};
use super::validate::Validation;
use crate::logger::{self, LogFault};
use crate::metric::Scores;
use crate::recipe::RunConfig;
use crate::task::Task;
use crate::watchdog::Watchdog;

/// Trains a [`Task`] by [`Plan`].
pub(super) struct StepStrategy {
    pub(super) plan: Plan,
    pub(super) mailbox: Mailbox,
    pub(super) watchdog: Arc<Watchdog>,
    pub(super) scores: Scores,
    pub(super) log_fault: LogFault,
    pub(super) replay: Mutex<ReplayList>,
    pub(super) end: Arc<Mutex<Option<End>>>,
}

impl SupervisedLearningStrategy<Task> for StepStrategy {
    fn fit(
        &self,
        components: TrainingComponents<Task>,
        learner: Learner<Task>,
        train: TrainLoader<Task>,
        valid: ValidLoader<Task>,
        _starting_epoch: usize,
    ) -> (Task, SupervisedTrainingEventProcessor<Task>) {
        let mut training = Training {
            strategy: self,
            plan: &self.plan,
            learner,
            events: components.event_processor,
            checkpointer: components.checkpointer,
            store: components.event_store,
            interrupter: components.interrupter,
            state: self.plan.start.clone(),
            checkpoint: None,
            started: Instant::now(),
            saved: Instant::now(),
        };
        let outcome = training.run(&train, &valid);
        // Also where the data was what ended it: the first error is the one to report.
        let listed = training.save_replay_list();
        let outcome = outcome.and_then(|outcome| listed.map(|()| outcome));
        let outcome = outcome.map_err(|error| training.with_remedy(error));
        let end = End {
            outcome,
            state: training.state,
            checkpoint: training.checkpoint,
        };
        *self.end.lock().unwrap_or_else(PoisonError::into_inner) = Some(end);
        (training.learner.model(), training.events)
    }
}

/// Why a stretch of training ended.
enum Pause {
    /// The epoch or the run is complete.
    Complete,
    /// Somebody asked to stop.
    Asked,
}

struct Training<'a> {
    strategy: &'a StepStrategy,
    plan: &'a Plan,
    learner: Learner<Task>,
    events: SupervisedTrainingEventProcessor<Task>,
    checkpointer: Option<LearningCheckpointer<Task>>,
    store: Arc<EventStoreClient>,
    interrupter: Interrupter,
    state: RunState,
    checkpoint: Option<Checkpoint>,
    started: Instant,
    /// The last checkpoint, or the start.
    saved: Instant,
}

impl Training<'_> {
    fn run(&mut self, train: &TrainLoader<Task>, valid: &ValidLoader<Task>) -> Result<Outcome, RunError> {
        if self.state.epoch > 0 {
            // burn has just announced epoch 1.
            let done = LearnerEvent::EndEpoch(self.state.epoch);
            self.events.process_train(done).map_err(broken)?;
        }
        // All steps may be done and the validation after them not: a run that was killed there continues with it.
        while !self.state.finished {
            if let Pause::Asked = self.train_epoch(train)? {
                self.save()?;
                return Ok(Outcome::Interrupted);
            }
            let is_last = self.state.step >= self.plan.num_steps;
            let epoch = self.state.epoch + 1;
            let mut improved = false;
            if self.plan.validates && (is_last || epoch.is_multiple_of(self.plan.config.valid_every_epochs)) {
                match self.validate(valid, epoch)? {
                    Some(value) => improved = self.judge(value),
                    None => {
                        self.save()?;
                        return Ok(Outcome::Interrupted);
                    }
                }
            }
            self.end_epoch()?;
            let stops = self.state.stopped_early(self.plan.config.stop_after_validations);
            self.state.finished = is_last;
            if is_last || stops || improved || epoch.is_multiple_of(self.plan.config.save_every_epochs) {
                self.save()?;
            }
            if stops && !is_last {
                return Ok(Outcome::StoppedEarly);
            }
        }
        Ok(Outcome::Finished)
    }

    fn train_epoch(&mut self, train: &TrainLoader<Task>) -> Result<Pause, RunError> {
        let start = LearnerEvent::StartSplit {
            epoch_number: self.state.epoch + 1,
            total_items: train.num_items(),
        };
        self.events.process_train(start).map_err(broken)?;
        let mut batches = train.iter();
        let mut pause = Pause::Complete;
        while self.state.step < self.plan.num_steps
            && let Some(batch) = batches.next()
        {
            let batch = batch.map_err(|error| RunError::Training(error.to_string()))?;
            let pairs = batch.len();
            let output = self.learner.train_step(batch);
            self.check_losses()?;
            self.check_log()?;
            self.learner.lr_step();
            self.learner.optimizer_step(output.grads);
            self.advance(pairs);
            let lr = Some(self.learner.lr_current());
            let item = TrainingItem::new(output.item, batches.progress(), Some(self.state.step), lr);
            self.events
                .process_train(LearnerEvent::ProcessedItem(item))
                .map_err(broken)?;
            if self.state.step == self.plan.start.step + 1 {
                super::terminal::let_ctrl_c_through();
            }
            if self.stop_asked()? && self.state.step < self.plan.num_steps {
                pause = Pause::Asked;
                break;
            }
            if self.save_is_due() {
                self.save()?;
            }
        }
        let end = LearnerEvent::EndSplit(self.state.epoch + 1);
        self.events.process_train(end).map_err(broken)?;
        Ok(pause)
    }

    /// Moves on to the next epoch. Until its validation is done an epoch is not over: a run that is stopped before
    /// continues with that validation.
    fn end_epoch(&mut self) -> Result<(), RunError> {
        let end = LearnerEvent::EndEpoch(self.state.epoch + 1);
        self.events.process_train(end).map_err(broken)?;
        if self.state.batch >= self.plan.batches_per_epoch {
            self.state.epoch += 1;
            self.state.batch = 0;
        }
        Ok(())
    }

    fn advance(&mut self, pairs: usize) {
        self.state.step += 1;
        self.state.batch += 1;
        self.state.pairs_seen += pairs as u64;
    }

    /// Loss and accuracy of every batch, then recall of the whole set; `None` when asked to stop meanwhile.
    fn validate(&mut self, valid: &ValidLoader<Task>, epoch: usize) -> Result<Option<f64>, RunError> {
        let start = LearnerEvent::StartSplit {
            epoch_number: epoch,
            total_items: valid.num_items(),
        };
        self.events.process_valid(start).map_err(broken)?;
        let mut validation = Validation::new(self.learner.model().valid());
        let mut batches = valid.iter();
        let mut last = None;
        while let Some(batch) = batches.next() {
            let batch = batch.map_err(|error| RunError::Training(error.to_string()))?;
            // Two at least: one pair alone has nothing to be told apart from.
            if batch.len() < 2 {
                continue;
            }
            validation.gather(&batch);
            let pairs = batch.len();
            let output = InferenceStep::step(validation.task(), batch);
            let loss = output
                .values()
                .map_err(|error| RunError::Training(error.to_string()))?
                .loss();
            validation.add_loss(loss, pairs);
            // The last one is shown when the figures of the whole set are known.
            if let Some(item) = last.replace(TrainingItem::new(
                output,
                batches.progress(),
                Some(self.state.step),
                None,
            )) {
                self.events
                    .process_valid(LearnerEvent::ProcessedItem(item))
                    .map_err(broken)?;
            }
            if self.stop_asked()? {
                return Ok(None);
            }
        }
        let figures = validation.figures(self.plan.config.best)?;
        let best = figures.as_ref().map(|figures| figures.best);
        self.events.flush().map_err(broken)?;
        self.strategy
            .scores
            .set(figures.map(|figures| figures.values).unwrap_or_default());
        if let Some(item) = last {
            self.events
                .process_valid(LearnerEvent::ProcessedItem(item))
                .map_err(broken)?;
        }
        self.events
            .process_valid(LearnerEvent::EndSplit(epoch))
            .map_err(broken)?;
        Ok(Some(best.unwrap_or(f64::NAN)))
    }

    /// Remembers the best validation; whether this one is it.
    fn judge(&mut self, value: f64) -> bool {
        let better = match &self.state.best {
            Some(best) => self.plan.config.best.is_better(value, best.value),
            None => value.is_finite(),
        };
        if better {
            self.state.best = Some(Best {
                step: self.state.step,
                value,
            });
            self.state.validations_since_best = 0;
        } else {
            self.state.validations_since_best += 1;
        }
        better
    }

    fn check_losses(&self) -> Result<(), RunError> {
        match self.strategy.watchdog.non_finite() {
            None => Ok(()),
            Some(broken) => Err(RunError::NonFinite {
                step: broken.step,
                loss: broken.loss,
                last_good: self.last_good(),
            }),
        }
    }

    fn last_good(&self) -> LastGood {
        let latest = self.plan.checkpoints.latest().ok().flatten();
        LastGood(latest.map(|checkpoint| checkpoint.dir))
    }

    /// Whether to stop; an error that a metric, the loader or the device reported is returned as one.
    fn stop_asked(&self) -> Result<bool, RunError> {
        match self.interrupter.error() {
            Some(error) => Err(RunError::Training(error.to_string())),
            None => Ok(self.interrupter.should_stop()),
        }
    }

    fn check_log(&self) -> Result<(), RunError> {
        match self.strategy.log_fault.take() {
            None => Ok(()),
            Some((path, error)) => Err(RunError::io(&path)(error)),
        }
    }

    /// What to do about a file that cannot be written.
    fn with_remedy(&self, error: RunError) -> RunError {
        match error {
            RunError::Io { .. } | RunError::Checkpoint(_) => RunError::Unwritable {
                step: self.state.step,
                source: Box::new(error),
                resume: Resume {
                    run_dir: self.plan.folder.path().to_owned(),
                    step: self
                        .plan
                        .checkpoints
                        .latest()
                        .ok()
                        .flatten()
                        .map(|last| last.state.step),
                },
            },
            other => other,
        }
    }

    /// Whether to save inside an epoch, after this step.
    fn save_is_due(&self) -> bool {
        let RunConfig {
            save_every_steps,
            save_every_minutes,
            ..
        } = self.plan.config;
        save_every_steps.is_some_and(|every| self.state.step.is_multiple_of(every))
            || save_every_minutes.is_some_and(|every| self.saved.elapsed().as_secs_f64() >= 60.0 * every)
    }

    /// Waits until the log holds everything up to the last step, and forces it to disk: a checkpoint is never ahead of it.
    fn settle_log(&mut self) -> Result<(), RunError> {
        self.events.flush().map_err(broken)?;
        logger::settle(&self.store);
        self.check_log()?;
        let metrics = self.plan.folder.metrics_file();
        durable::sync(&metrics).map_err(RunError::io(&metrics))
    }

    fn save_replay_list(&self) -> Result<(), RunError> {
        let replay = self.strategy.replay.lock();
        replay.unwrap_or_else(PoisonError::into_inner).save()
    }

    /// Writes a checkpoint of everything up to the last step, unless a number in it is broken.
    fn save(&mut self) -> Result<(), RunError> {
        // The watchdog has seen every loss when all metrics have.
        self.settle_log()?;
        self.save_replay_list()?;
        self.check_losses()?;
        if !weights_are_finite(&self.learner.model()) {
            return Err(RunError::NonFiniteWeights {
                step: self.state.step,
                last_good: self.last_good(),
            });
        }
        let earlier = self.plan.start.train_secs;
        self.state.train_secs = earlier + self.started.elapsed().as_secs_f64();
        let Some(checkpointer) = &mut self.checkpointer else {
            return Ok(());
        };
        checkpointer.checkpoint(&self.learner, self.state.step, &self.store);
        let records = self
            .strategy
            .mailbox
            .collect()
            .ok_or_else(|| RunError::Training("the checkpointer's thread is gone".into()))?;
        let written =
            self.plan
                .checkpoints
                .write(&self.state, &self.plan.recipe_toml, &self.plan.card_json, records)?;
        self.checkpoint = Some(written);
        self.saved = Instant::now();
        Ok(())
    }
}

fn broken(error: impl std::fmt::Display) -> RunError {
    RunError::Training(error.to_string())
}
