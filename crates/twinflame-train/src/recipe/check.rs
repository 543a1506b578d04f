//! What a parsed recipe must still satisfy: ranges that the sections judge themselves, and combinations
//! that only the whole recipe shows.

use twinflame_data::Tokenizer;
use twinflame_model::ModelConfig;

use super::Recipe;
use super::schema::Complaint;
use crate::task::{LossKind, TaskConfig, TaskError};

impl Recipe {
    /// Checks everything and fills in what one section takes from another.
    pub(super) fn check(&mut self) -> Result<ModelConfig, Complaint> {
        self.check_name()?;
        let model = self.model.resolve()?;
        self.fill_transform(&model)?;
        self.check_sections()?;
        self.check_tokenizer(&model)?;
        self.check_task(&model)?;
        Ok(model)
    }

    /// The name becomes part of a folder's.
    fn check_name(&self) -> Result<(), Complaint> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        match !self.name.is_empty() && self.name.chars().all(plain) && !self.name.starts_with('.') {
            true => Ok(()),
            false => Err((
                "name".into(),
                format!(
                    "name = {:?}: the run's folder is named after it, so use letters, digits, `-`, `_` and `.`",
                    self.name
                ),
            )),
        }
    }

    fn fill_transform(&mut self, model: &ModelConfig) -> Result<(), Complaint> {
        let size = model.image_size();
        match self.transform.image_size {
            0 => self.transform.image_size = size,
            given if given == size => {}
            given => {
                return Err((
                    "transform.image_size".into(),
                    format!(
                        "transform.image_size = {given}, but the model sees {size} px: leave it out, or set model.image_size"
                    ),
                ));
            }
        }
        Ok(())
    }

    fn check_sections(&self) -> Result<(), Complaint> {
        located("transform", self.transform.validate())?;
        located("loader", self.loader.validate())?;
        located("task", self.task.validate())?;
        located("optim", self.optim.validate())?;
        located("eval", self.eval.validate())?;
        self.run
            .check()
            .map_err(|(key, message)| (format!("run.{key}"), format!("run.{key}: {message}")))
    }

    fn check_tokenizer(&self, model: &ModelConfig) -> Result<(), Complaint> {
        let tokenizer = Tokenizer::new(&self.tokenizer).map_err(|error| ("tokenizer".to_owned(), error.to_string()))?;
        if matches!(self.task, TaskConfig::Albef(_)) && tokenizer.special_ids().is_none() {
            return Err(("tokenizer.kind".into(), TaskError::NoMaskToken.to_string()));
        }
        let (tokens, rows) = (tokenizer.vocab_size(), model.vocab_size());
        match tokens == rows {
            true => Ok(()),
            false => Err((
                "tokenizer.vocab_size".into(),
                format!(
                    "the tokenizer has {tokens} tokens, but the model's token embedding has {rows} rows: set model.vocab_size = \
                     {tokens}, or tokenizer.vocab_size = {rows}"
                ),
            )),
        }
    }

    fn check_task(&self, model: &ModelConfig) -> Result<(), Complaint> {
        let at = |key: &str, error: TaskError| (key.to_owned(), error.to_string());
        let batch_size = self.loader.batch_size;
        if batch_size < 2 {
            return Err((
                "loader.batch_size".into(),
                format!("loader.batch_size = {batch_size}: a contrastive loss needs at least 2 pairs to tell apart"),
            ));
        }
        let task = match (&self.task, model) {
            (TaskConfig::Clip(task), ModelConfig::Clip(model)) => {
                if task.loss == LossKind::Siglip && model.init_logit_bias.is_none() {
                    return Err(at("task.loss", TaskError::MissingLogitBias));
                }
                task
            }
            (TaskConfig::Albef(task), ModelConfig::Albef(model)) => {
                if task.mlm_weight > 0.0 && !model.text_cfg.mlm_head {
                    return Err(at("task.mlm_weight", TaskError::MissingMlmHead));
                }
                return Ok(());
            }
            _ => return Err(at("task.kind", TaskError::OtherModel)),
        };
        if let Some(micro) = task.micro_batch_size.filter(|micro| *micro > batch_size) {
            return Err((
                "task.micro_batch_size".into(),
                format!(
                    "task.micro_batch_size = {micro} is more than loader.batch_size = {batch_size}: lower it or leave it out"
                ),
            ));
        }
        Ok(())
    }
}

/// A section's own error, with the key that its message begins with (`optim.lr = -1 is ...`).
fn located<E: std::fmt::Display>(section: &str, result: Result<(), E>) -> Result<(), Complaint> {
    result.map_err(|error| {
        let message = error.to_string();
        let first = message.split([' ', '=', ',']).next().unwrap_or_default();
        match first.strip_prefix(section).is_some_and(|rest| rest.starts_with('.')) {
            true => (first.to_owned(), message),
            false => (section.to_owned(), message),
        }
    })
}
