//! A trained model, ready to judge or to use.

use std::path::Path;
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::Device;
use twinflame_data::{Normalization, Tokenizer, Transform};
use twinflame_model::Model;
use twinflame_model::weights::Allow;

use super::checkpoint::{Checkpoint, CheckpointError, MODEL_FILE, RECIPE_FILE, STATE_FILE};
use super::error::RunError;
use super::folder::RunFolder;
use super::parts::build_task;
use crate::card::Card;
use crate::recipe::ResolvedRecipe;
use crate::task::Task;

/// A model with everything that its inputs have to go through.
#[derive(Clone)]
pub struct LoadedModel {
    /// The trained weights, off autodiff.
    pub model: Model,
    /// The averaged weights, if the recipe averaged.
    pub ema: Option<Model>,
    /// The recipe that it was trained by.
    pub recipe: ResolvedRecipe,
    /// Text to token ids.
    pub tokenizer: Arc<Tokenizer>,
    /// Image to pixels, without augmentation.
    pub transform: Arc<Transform>,
    /// Pixels to model input.
    pub normalization: Normalization,
    /// Where the weights came from.
    pub checkpoint: Checkpoint,
    /// What the weights say about themselves.
    pub card: Card,
}

impl LoadedModel {
    /// The averaged weights if there are any, else the trained ones.
    pub fn best_weights(&self) -> &Model {
        self.ema.as_ref().unwrap_or(&self.model)
    }
}

/// Loads a model from a run folder (its last checkpoint), from `<run folder>/best`, or from one checkpoint.
///
/// # Errors
/// If there is no checkpoint, or its files do not fit its recipe, or were trained with another activation, normalisation
/// or vocabulary than it has now.
pub fn load(path: &Path, device: &Device) -> Result<LoadedModel, RunError> {
    let checkpoint = find(path)?;
    let recipe = ResolvedRecipe::load_file(&checkpoint.dir.join(RECIPE_FILE), &[])?;
    let record_file = checkpoint.dir.join(MODEL_FILE);
    let record = burn::store::ModuleRecord::load(&record_file).map_err(CheckpointError::record(&record_file))?;
    let tokenizer = Arc::new(Tokenizer::new(&recipe.recipe.tokenizer)?);
    let mut card = Card::new(&recipe, &tokenizer, None);
    card.commit = checkpoint.check_card(&card, &Allow::new(&recipe.recipe.init.allow))?;
    let task = build_task(&recipe, &tokenizer, 1, device)?
        .try_load_record(record)
        .map_err(CheckpointError::record(&record_file))?
        .valid();
    let (model, ema) = match task {
        Task::Clip(task) => (Model::Clip(task.model), task.ema.map(Model::Clip)),
        Task::Albef(task) => (Model::Albef(task.model), None),
    };
    let transform = &recipe.recipe.transform;
    Ok(LoadedModel {
        model,
        ema,
        tokenizer,
        transform: Arc::new(Transform::eval(transform)?),
        normalization: transform.normalization(),
        recipe,
        checkpoint,
        card,
    })
}

/// The checkpoint that a path means.
fn find(path: &Path) -> Result<Checkpoint, RunError> {
    if path.join(STATE_FILE).is_file() {
        return Ok(Checkpoint::open(path)?);
    }
    let missing = || CheckpointError::Missing { path: path.to_owned() };
    let found = match path.file_name().is_some_and(|name| name == "best") && !path.exists() {
        true => {
            let run = path.parent().unwrap_or(Path::new(""));
            RunFolder::open(run)?.checkpoints(1).best()?
        }
        false => match RunFolder::open(path) {
            Ok(folder) => folder.checkpoints(1).latest()?,
            Err(_) => None,
        },
    };
    Ok(found.ok_or_else(missing)?)
}
