//! From a checkpoint of another program to the folder of a run: everything that works with runs works with it.

mod preprocessing;
mod recipe;

use std::path::Path;

use burn::lr_scheduler::LrSchedulerRecord;
use burn::module::Module;
use burn::optim::OptimizerRecord;
use burn::tensor::Device;
use twinflame_data::Tokenizer;
use twinflame_model::ModelConfig;
use twinflame_model::weights::{Allow, Imported, import as read_weights};

use super::checkpoint::Records;
use super::error::RunError;
use super::folder::RunFolder;
use super::init::started_from;
use super::parts::build_task;
use super::state::RunState;
use crate::card::Card;
use crate::new_folder::NewFolder;

/// What an import is told beyond the checkpoint.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// The configuration; `None` infers it.
    pub config: Option<ModelConfig>,
    /// Names and patterns of tensors that may be missing or left over.
    pub allow: Vec<String>,
    /// `--set` arguments for the recipe in the folder, such as another tokenizer.
    pub set: Vec<String>,
    /// Commit of this program.
    pub commit: String,
    /// The device in words.
    pub device_description: String,
}

/// Reads the checkpoint of another program and writes it as the folder of a finished run that has done no step.
///
/// The folder `out` appears whole or not at all. Its recipe has the model's configuration and the preprocessing and
/// tokenizer that the checkpoint was made for, as far as the files beside it or the kind of model say so.
///
/// # Errors
/// If `out` exists, the checkpoint cannot be read or used, or the folder cannot be written.
pub fn import(checkpoint: &Path, out: &Path, options: &ImportOptions, device: &Device) -> Result<Imported, RunError> {
    if out.exists() {
        return Err(RunError::Exists { path: out.to_owned() });
    }
    let allow = Allow::new(&options.allow);
    let imported = read_weights(checkpoint, options.config.as_ref(), &allow, device)?;
    let recipe = recipe::recipe(&imported, &options.set)?;
    let tokenizer = Tokenizer::new(&recipe.recipe.tokenizer)?;
    let task = build_task(&recipe, &tokenizer, 1, device)?;
    let (task, _) = started_from(task, &imported.model).map_err(|message| RunError::Import {
        path: checkpoint.to_owned(),
        message,
    })?;
    let new = NewFolder::create(out).map_err(RunError::io(out))?;
    let folder = RunFolder::at(new.path());
    folder.write_origin(&recipe, &options.commit, &options.device_description)?;
    let state = RunState {
        finished: true,
        ..RunState::start(recipe.recipe.seed)
    };
    let records = Records {
        model: task.into_record(),
        optim: OptimizerRecord::default(),
        scheduler: LrSchedulerRecord::new(),
    };
    folder.checkpoints(1).write(
        &state,
        &recipe.to_toml(),
        &Card::new(&recipe, &tokenizer, None).to_json(),
        records,
    )?;
    new.finish().map_err(RunError::io(out))?;
    Ok(imported)
}
