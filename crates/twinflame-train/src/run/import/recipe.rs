//! The recipe of an imported model: what its inputs go through, and a training run to start from.

use std::path::Path;

use toml::{Table, Value};
use twinflame_data::{BERT_VOCAB_SIZE, CLIP_VOCAB_SIZE, DataConfig, LoaderConfig, TokenizerConfig};
use twinflame_model::weights::Imported;
use twinflame_model::{ClipConfig, ModelConfig};

use super::preprocessing;
use crate::card::Card;
use crate::recipe::{RecipeError, ResolvedRecipe};
use crate::run::RunError;

/// Pairs of a batch in evaluation, and in training until the recipe is given another number.
const BATCH_SIZE: usize = 64;

/// The recipe with `--set` arguments applied.
pub(super) fn recipe(imported: &Imported, set: &[String]) -> Result<ResolvedRecipe, RunError> {
    let source = format!("the import of {}", imported.file.display()).replace(['\n', '\r'], " ");
    let folder = imported.file.parent().unwrap_or(Path::new(""));
    let mut recipe = Table::new();
    recipe.insert("name".into(), "imported".into());
    recipe.insert("description".into(), source.clone().into());
    let mut model = Table::new();
    model.insert("config".into(), table(&imported.config)?);
    recipe.insert("model".into(), model.into());
    recipe.insert("tokenizer".into(), table(&tokenizer(imported, folder)?)?);
    // Something to train on until the user says what; the tests of a run are the user's as well.
    let mut data = Table::new();
    data.insert("train".into(), table(&DataConfig::default())?);
    recipe.insert("data".into(), data.into());
    recipe.insert(
        "transform".into(),
        preprocessing::transform(&imported.config, folder)?.into(),
    );
    let loader = LoaderConfig {
        batch_size: BATCH_SIZE,
        ..LoaderConfig::default()
    };
    recipe.insert("loader".into(), table(&loader)?);
    recipe.insert("task".into(), task(&imported.config).into());
    let mut run = Table::new();
    run.insert("num_epochs".into(), 1.into());
    recipe.insert("run".into(), run.into());
    let text = toml::to_string(&recipe).map_err(|error| RecipeError::Whole {
        origin: source.clone(),
        message: error.to_string(),
    })?;
    Ok(ResolvedRecipe::parse(&text, &source, set)?)
}

/// A configuration as TOML, which has no null: what is not there is left out.
fn table(config: &impl serde::Serialize) -> Result<Value, RunError> {
    let whole = |message: String| RecipeError::Whole {
        origin: "import".into(),
        message,
    };
    let mut value = serde_json::to_value(config).map_err(|error| whole(error.to_string()))?;
    drop_nulls(&mut value);
    Ok(Value::try_from(value).map_err(|error| whole(error.to_string()))?)
}

fn drop_nulls(value: &mut serde_json::Value) {
    if let Some(object) = value.as_object_mut() {
        object.retain(|_, value| !value.is_null());
        object.values_mut().for_each(drop_nulls);
    }
}

/// The tokenizer of the kind of model, or `tokenizer.json` beside the weights where the vocabulary is another one.
fn tokenizer(imported: &Imported, folder: &Path) -> Result<TokenizerConfig, RunError> {
    let config = &imported.config;
    let vocab_size = config.vocab_size();
    let own = match config {
        ModelConfig::Clip(_) => CLIP_VOCAB_SIZE,
        ModelConfig::Albef(_) => BERT_VOCAB_SIZE,
    };
    let file = folder.join("tokenizer.json");
    // Weights that were exported from here: the file is a cut vocabulary of CLIP's, without the cleaning of texts.
    let card = Card::of_weights(&imported.file).map_err(RunError::Weights)?;
    let is_clip = card.is_some_and(|card| card.tokenizer.kind == "clip");
    Ok(match config {
        _ if vocab_size != own && file.is_file() && !is_clip => TokenizerConfig::File { path: file },
        ModelConfig::Clip(_) => TokenizerConfig::Clip { vocab_size },
        ModelConfig::Albef(_) => match TokenizerConfig::bert(Default::default()) {
            TokenizerConfig::Bert {
                vocab,
                sep,
                clean,
                max_words,
                ..
            } => TokenizerConfig::Bert {
                vocab,
                vocab_size: (vocab_size != own).then_some(vocab_size),
                sep,
                clean,
                max_words,
            },
            other => other,
        },
    })
}

fn task(config: &ModelConfig) -> Table {
    let mut task = Table::new();
    match config {
        ModelConfig::Clip(ClipConfig { init_logit_bias, .. }) => {
            task.insert("kind".into(), "clip".into());
            if init_logit_bias.is_some() {
                task.insert("loss".into(), "siglip".into());
            }
        }
        ModelConfig::Albef(config) => {
            task.insert("kind".into(), "albef".into());
            if !config.text_cfg.mlm_head {
                task.insert("mlm_weight".into(), 0.0.into());
            }
        }
    }
    task
}
