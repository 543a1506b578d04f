//! burn's learner hands its records only to its checkpointers, each on a thread of its own. These
//! checkpointers pass them on to the training loop, which writes the set.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use burn::lr_scheduler::LrSchedulerRecord;
use burn::optim::OptimizerRecord;
use burn::store::ModuleRecord;
use burn::train::checkpoint::{
    Checkpoint, Checkpointer, CheckpointerError, CheckpointingAction, CheckpointingStrategy,
};
use burn::train::metric::store::EventStoreClient;

use super::checkpoint::Records;

/// Sends every record that is "saved" to the other end.
pub(super) struct Post<R>(Mutex<Sender<R>>);

impl<R: Checkpoint> Checkpointer<R> for Post<R> {
    fn save(&self, _epoch: usize, record: R) -> Result<(), CheckpointerError> {
        let sender = self.0.lock().map_err(unknown)?;
        sender.send(record).map_err(unknown)
    }

    fn delete(&self, _epoch: usize) -> Result<(), CheckpointerError> {
        Ok(())
    }

    fn restore(&self, _epoch: usize) -> Result<R, CheckpointerError> {
        Err(CheckpointerError::Unknown(
            "records are loaded before the learner starts".into(),
        ))
    }
}

fn unknown(error: impl std::fmt::Display) -> CheckpointerError {
    CheckpointerError::Unknown(error.to_string())
}

/// The training loop's end: receives the records of one checkpoint.
pub(super) struct Mailbox {
    model: Receiver<ModuleRecord>,
    optim: Receiver<OptimizerRecord>,
    scheduler: Receiver<LrSchedulerRecord>,
}

impl Mailbox {
    /// A mailbox and the checkpointers that post to it.
    pub(super) fn new() -> (Self, Posts) {
        let (model_sender, model) = channel();
        let (optim_sender, optim) = channel();
        let (scheduler_sender, scheduler) = channel();
        let posts = Posts {
            model: Post(Mutex::new(model_sender)),
            optim: Post(Mutex::new(optim_sender)),
            scheduler: Post(Mutex::new(scheduler_sender)),
        };
        (
            Self {
                model,
                optim,
                scheduler,
            },
            posts,
        )
    }

    /// Waits for the three records of a checkpoint; `None` if a checkpointer's thread is gone.
    pub(super) fn collect(&self) -> Option<Records> {
        Some(Records {
            model: self.model.recv().ok()?,
            optim: self.optim.recv().ok()?,
            scheduler: self.scheduler.recv().ok()?,
        })
    }
}

/// The learner's ends, for `SupervisedTraining::with_custom_checkpointers`.
pub(super) struct Posts {
    pub(super) model: Post<ModuleRecord>,
    pub(super) optim: Post<OptimizerRecord>,
    pub(super) scheduler: Post<LrSchedulerRecord>,
}

/// The training loop decides when to save; burn's strategy says yes whenever it asks.
pub(super) struct WhenAsked;

impl CheckpointingStrategy for WhenAsked {
    fn checkpointing(&mut self, _epoch: usize, _store: &EventStoreClient) -> Vec<CheckpointingAction> {
        vec![CheckpointingAction::Save]
    }
}
