//! What a recipe describes, built: loaders, task, optimiser, schedule.

use std::sync::Arc;

use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::module::Module;
use burn::optim::ModuleOptimizer;
use burn::tensor::Device;
use twinflame_data::{ImageTextLoader, LoaderMode, Pipeline, Source, Tokenizer, Transform};
use twinflame_model::albef::{AlbefConfig, BertConfig, MlmMasking};
use twinflame_model::weights::Allow;
use twinflame_model::{DropoutTable, ModelConfig};

use super::checkpoint::{Checkpoint, CheckpointError, Records};
use super::error::RunError;
use super::init::initialised;
use crate::card::Card;
use crate::recipe::ResolvedRecipe;
use crate::task::{AlbefTask, AlbefTaskConfig, AlbefTexts, ClipTask, Task, TaskConfig, TaskError};

/// Everything that a run trains with.
pub(super) struct Parts {
    pub(super) task: Task,
    pub(super) optim: ModuleOptimizer,
    pub(super) schedule: ModuleLrScheduler,
    pub(super) warmup_steps: usize,
    pub(super) train: ImageTextLoader,
    /// Over the training data where the recipe has no validation set; it is not used then.
    pub(super) valid: ImageTextLoader,
    pub(super) num_steps: usize,
    /// What opening the data found wrong.
    pub(super) notes: Vec<String>,
    /// What the weights will say about themselves, the commit left out.
    pub(super) card: Card,
}

impl Parts {
    /// Opens the data and initialises the model on `device`.
    pub(super) fn build(recipe: &ResolvedRecipe, device: &Device) -> Result<Self, RunError> {
        let config = &recipe.recipe;
        let tokenizer = Arc::new(Tokenizer::new(&config.tokenizer)?);
        let context_length = recipe.model.context_length();
        let pipeline = |transform: Transform| Pipeline::new(Arc::new(transform), tokenizer.clone(), context_length);
        let train_source = open(recipe, "train")?;
        let valid_source = match &config.data.valid {
            Some(_) => open(recipe, "valid")?,
            None => train_source.clone(),
        };
        let mut notes = Vec::new();
        for (section, source) in [("train", &train_source), ("valid", &valid_source)] {
            if !source.report().is_clean() && (section != "valid" || config.data.valid.is_some()) {
                notes.push(format!("data.{section}: {}", source.report()));
            }
        }
        let augmented = pipeline(Transform::train(&config.transform)?)?;
        let plain = pipeline(Transform::eval(&config.transform)?)?;
        let train = ImageTextLoader::new(train_source, augmented, &config.loader, LoaderMode::Train, config.seed)?;
        let valid = ImageTextLoader::new(valid_source, plain, &config.loader, LoaderMode::Eval, config.seed)?;
        let num_steps = config.run.total_steps(train.num_batches());
        let schedule = config.optim.schedule(num_steps as u64, train.num_batches() as u64)?;
        let task = build_task(recipe, &tokenizer, train.num_batches(), device)?;
        Ok(Self {
            optim: task.optimizer(&config.optim),
            warmup_steps: schedule.warmup_steps as usize,
            schedule: schedule.into(),
            task,
            train,
            valid,
            num_steps,
            notes,
            card: Card::new(recipe, &tokenizer, None),
        })
    }

    /// The same with the weights that the recipe starts from, if it names any: how a run begins, not how it goes on.
    pub(super) fn started(mut self, recipe: &ResolvedRecipe, device: &Device) -> Result<Self, RunError> {
        let (task, notes) = initialised(self.task, recipe, &self.card, device)?;
        self.task = task;
        self.notes.extend(notes);
        Ok(self)
    }

    /// The same with the weights, moments and position of a checkpoint.
    pub(super) fn restored(mut self, recipe: &ResolvedRecipe, checkpoint: &Checkpoint) -> Result<Self, RunError> {
        checkpoint.check_card(&self.card, &Allow::new(&recipe.recipe.init.allow))?;
        let Records {
            model,
            optim,
            scheduler,
        } = checkpoint.records()?;
        self.task = self
            .task
            .try_load_record(model)
            .map_err(CheckpointError::record(&checkpoint.dir))?;
        self.optim = self.optim.load_record(optim);
        self.schedule = self.schedule.load_record(scheduler);
        Ok(self)
    }
}

/// The task with the initial weights of the recipe's seed, on the autodiff side of `device`.
///
/// `batches_per_epoch` paces what moves with the epochs; a task that is only loaded may be given any.
pub(super) fn build_task(
    recipe: &ResolvedRecipe,
    tokenizer: &Tokenizer,
    batches_per_epoch: usize,
    device: &Device,
) -> Result<Task, RunError> {
    let config = &recipe.recipe;
    let device = device.clone().without_autodiff().autodiff();
    let normalization = config.transform.normalization();
    match (&recipe.model, &config.task) {
        (ModelConfig::Clip(model), TaskConfig::Clip(task)) => {
            let patch_dropout = model.vision_cfg.patch_dropout;
            let model = model.init(config.seed, &device);
            let task = ClipTask::new(model, task.clone(), patch_dropout, normalization)?;
            Ok(Task::Clip(task))
        }
        (ModelConfig::Albef(model), TaskConfig::Albef(task)) => {
            let texts = albef_texts(model, task, tokenizer, config.seed, &device)?;
            let queue = model.init_queue(config.seed, &device);
            let model = model.init(config.seed, &device);
            let task = AlbefTask::new(model, queue, task.clone(), texts, normalization, batches_per_epoch)?;
            Ok(Task::Albef(task))
        }
        _ => Err(TaskError::OtherModel.into()),
    }
}

fn albef_texts(
    model: &AlbefConfig,
    task: &AlbefTaskConfig,
    tokenizer: &Tokenizer,
    seed: u64,
    device: &Device,
) -> Result<AlbefTexts, TaskError> {
    let BertConfig {
        context_length,
        vocab_size,
        dropout,
        ..
    } = model.text_cfg;
    let special = tokenizer.special_ids().ok_or(TaskError::NoMaskToken)?;
    let table = || DropoutTable::new(dropout, seed, device);
    Ok(AlbefTexts {
        pad_id: special.pad as i32,
        masking: MlmMasking::new(
            task.mlm_probability,
            context_length,
            vocab_size,
            special.mask as i32,
            [special.pad, special.unk, special.cls, special.sep].map(|id| id as i32),
        ),
        // Zero drops nothing, for nothing.
        dropout: (dropout > 0.0).then(table).transpose()?,
    })
}

/// Opens `data.train` or `data.valid`.
fn open(recipe: &ResolvedRecipe, section: &str) -> Result<Arc<dyn Source>, RunError> {
    let data = &recipe.recipe.data;
    let config = match (section, &data.valid) {
        ("valid", Some(valid)) => valid,
        _ => &data.train,
    };
    config.open().map_err(RunError::data(section))
}
