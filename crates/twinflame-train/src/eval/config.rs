//! The `[eval]` section of a recipe.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::retrieval::RECALL_KS;
use super::{EvalError, Templates};

/// How a run is evaluated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EvalConfig {
    /// List lengths at which recall is reported. Default 1, 5 and 10.
    pub recall_ks: Vec<usize>,
    /// Images or captions encoded at a time. Default 256; results do not depend on it.
    pub batch_size: usize,
    /// Zero-shot prompts, each with `{}` where the class name goes. Default: the bare name, in quotes `"{}"`.
    pub templates: Vec<String>,
    /// A file with one template a line, instead of `templates`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub templates_file: Option<PathBuf>,
    /// ALBEF: candidates of each query that its fusion encoder looks at again; 0 for none. Default 128, as the reference for
    /// Flickr30k; it takes 256 for COCO.
    pub rerank_k: usize,
    /// Captions of each test set that `retrieval.png` shows. Default 6.
    pub picture_captions: usize,
}

impl Default for EvalConfig {
    fn default() -> Self {
        Self {
            recall_ks: RECALL_KS.to_vec(),
            batch_size: 256,
            templates: vec!["{}".to_owned()],
            templates_file: None,
            rerank_k: 128,
            picture_captions: 6,
        }
    }
}

impl EvalConfig {
    /// Checks ranges; a templates file is read only by [`EvalConfig::load_templates`].
    ///
    /// # Errors
    /// If a list length or the batch size is 0, or a template has no `{}` or several.
    pub fn validate(&self) -> Result<(), EvalError> {
        if self.recall_ks.is_empty() || self.recall_ks.contains(&0) {
            return Err(EvalError::Setting {
                name: "eval.recall_ks",
                value: format!("{:?}", self.recall_ks),
                expected: "list lengths of at least 1, such as [1, 5, 10]",
            });
        }
        if self.batch_size == 0 {
            return Err(EvalError::Setting {
                name: "eval.batch_size",
                value: "0".to_owned(),
                expected: "at least 1",
            });
        }
        if self.templates_file.is_none() {
            Templates::new(self.templates.clone(), "eval.templates")?;
        }
        Ok(())
    }

    /// The templates of `templates_file`, or else of `templates`.
    ///
    /// # Errors
    /// If the file cannot be read or a template has no `{}` or several.
    pub fn load_templates(&self) -> Result<Templates, EvalError> {
        match &self.templates_file {
            Some(path) => Templates::from_file(path),
            None => Templates::new(self.templates.clone(), "eval.templates"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_valid_and_mistakes_name_the_key() {
        let config = EvalConfig::default();
        config.validate().unwrap();
        assert_eq!(config.load_templates().unwrap(), Templates::bare());
        for (broken, key) in [
            (
                EvalConfig {
                    recall_ks: vec![1, 0],
                    ..EvalConfig::default()
                },
                "eval.recall_ks = [1, 0]",
            ),
            (
                EvalConfig {
                    batch_size: 0,
                    ..EvalConfig::default()
                },
                "eval.batch_size = 0",
            ),
            (
                EvalConfig {
                    templates: vec!["{}".into(), "x".into()],
                    ..EvalConfig::default()
                },
                "eval.templates, template 2",
            ),
        ] {
            let error = broken.validate().unwrap_err().to_string();
            assert!(error.contains(key), "{error}");
        }
    }
}
