//! What a weights file says about itself, and what must agree before weights are used.
//!
//! A wrong activation, mean or vocabulary changes no shape: such weights load, and give figures that are only a little
//! wrong. A card makes these mistakes visible.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use twinflame_data::resize::Interpolation;
use twinflame_data::transform::ResizeMode;
use twinflame_data::{Tokenizer, TransformConfig};
use twinflame_model::ModelConfig;
use twinflame_model::weights::{Allow, WeightsError, read_metadata};

use crate::recipe::ResolvedRecipe;

/// Key of the card, as JSON, in the metadata of a safetensors file.
pub const CARD_KEY: &str = "twinflame";

/// The card of some weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Card {
    /// The configuration of the model, as in `model.json`.
    pub architecture: serde_json::Value,
    /// `gelu` or `quick_gelu`.
    pub activation: String,
    /// From picture to model input.
    pub preprocessing: Preprocessing,
    /// From text to ids.
    pub tokenizer: TokenizerCard,
    /// Width of the joint space.
    pub embed_dim: usize,
    /// Name of the recipe that it was trained by.
    pub recipe: String,
    /// Version of Twinflame that wrote it.
    pub version: String,
    /// Commit of the program that trained it; `None` if that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
}

/// How pictures become model input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preprocessing {
    /// Edge of the square, in pixels.
    pub size: usize,
    /// Mean of red, green and blue, of values in 0..=1.
    pub mean: [f32; 3],
    /// Standard deviation of red, green and blue, of values in 0..=1.
    pub std: [f32; 3],
    /// How a rectangle becomes the square.
    pub mode: ResizeMode,
    /// Kernel of the resize.
    pub interpolation: Interpolation,
}

/// Which tokenizer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenizerCard {
    /// `clip`, `bert` or `file`.
    pub kind: String,
    /// Number of ids.
    pub vocab_size: usize,
    /// [`Tokenizer::vocabulary_hash`].
    pub sha256: String,
}

/// What of a card has to agree with the recipe that its weights are used by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CardField {
    /// GELU or QuickGELU.
    Activation,
    /// Mean and standard deviation of the pixels.
    Normalization,
    /// Kind of tokenizer and what gives ids to texts.
    Vocabulary,
}

impl CardField {
    /// As `init.allow` spells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Activation => "quick_gelu",
            Self::Normalization => "normalization",
            Self::Vocabulary => "vocabulary",
        }
    }
}

/// Weights that were made for something else than they are used for.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error(
    "these weights were trained with {}, and would be used with {}: the figures would be wrong though everything fits. Change {}, or, to \
     use them all the same, say so: init.allow = [\"{}\"]", found, expected, key, field.name()
)]
pub struct CardMismatch {
    /// What differs.
    pub field: CardField,
    /// As the weights have it.
    pub found: String,
    /// As the recipe has it.
    pub expected: String,
    /// What decides it in the recipe.
    pub key: &'static str,
}

impl Card {
    /// The card of weights that this recipe trains.
    #[must_use]
    pub fn new(recipe: &ResolvedRecipe, tokenizer: &Tokenizer, commit: Option<&str>) -> Self {
        let TransformConfig {
            image_size,
            mean,
            std,
            mode,
            interpolation,
            ..
        } = recipe.recipe.transform;
        let quick = matches!(&recipe.model, ModelConfig::Clip(config) if config.quick_gelu);
        Self {
            // A configuration holds numbers and names only.
            architecture: serde_json::to_value(&recipe.model).unwrap_or_default(),
            activation: if quick { "quick_gelu" } else { "gelu" }.to_owned(),
            preprocessing: Preprocessing {
                size: image_size,
                mean,
                std,
                mode,
                interpolation,
            },
            tokenizer: TokenizerCard {
                kind: tokenizer.kind().to_owned(),
                vocab_size: tokenizer.vocab_size(),
                sha256: tokenizer.vocabulary_hash(),
            },
            embed_dim: recipe.model.embed_dim(),
            recipe: recipe.recipe.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: commit.filter(|commit| *commit != "unknown").map(str::to_owned),
        }
    }

    /// The card in a weights file that Twinflame exported, or in the one of a folder; `None` if there is none.
    ///
    /// # Errors
    /// If a card is there and damaged.
    pub fn of_weights(path: &Path) -> Result<Option<Self>, WeightsError> {
        let files = match fs::read_dir(path) {
            Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
            Err(_) => vec![path.to_owned()],
        };
        // Files of other programs are none of this function's business, damaged or not.
        let card = files
            .iter()
            .filter_map(|file| read_metadata(file).ok()?.remove(CARD_KEY))
            .next();
        let parsed = card.map(|card| serde_json::from_str(&card)).transpose();
        parsed.map_err(|error| WeightsError::Card {
            path: path.to_owned(),
            reason: error.to_string(),
        })
    }

    /// The card as JSON with a line for each entry.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Texts and finite numbers: TransformConfig::validate refuses others.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// Whether weights with this card mean the same under the card of a recipe, but for what is allowed by
    /// [name](CardField::name).
    ///
    /// Sizes are not compared: what does not fit cannot be loaded, and positions are resampled on purpose.
    ///
    /// # Errors
    /// The first difference.
    pub fn check(&self, expected: &Self, allow: &Allow) -> Result<(), CardMismatch> {
        let pixels = |card: &Self| {
            let Preprocessing { mean, std, .. } = card.preprocessing;
            format!("pixels of mean {mean:?} and standard deviation {std:?}")
        };
        let vocabulary = |card: &Self| {
            let TokenizerCard {
                kind,
                vocab_size,
                sha256,
            } = &card.tokenizer;
            format!(
                "the {kind} vocabulary of {vocab_size} ids with hash {}",
                sha256.get(..12).unwrap_or(sha256)
            )
        };
        let activation = |card: &Self| card.activation.clone();
        type Said<'a> = &'a dyn Fn(&Card) -> String;
        let fields: [(CardField, Said<'_>, &'static str); 3] = [
            (CardField::Activation, &activation, "model.quick_gelu"),
            (CardField::Normalization, &pixels, "transform.mean and transform.std"),
            (CardField::Vocabulary, &vocabulary, "[tokenizer]"),
        ];
        for (field, said, key) in fields {
            let (found, expected) = (said(self), said(expected));
            if found != expected && !allow.allows(field.name()) {
                return Err(CardMismatch {
                    field,
                    found,
                    expected,
                    key,
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(set: &[&str]) -> Card {
        let set: Vec<String> = set.iter().map(|argument| (*argument).to_owned()).collect();
        let recipe = ResolvedRecipe::load("tiny", &set).unwrap();
        let tokenizer = Tokenizer::new(&recipe.recipe.tokenizer).unwrap();
        Card::new(&recipe, &tokenizer, Some("abc"))
    }

    #[test]
    fn json_keeps_everything() {
        let card = card(&[]);
        assert_eq!(serde_json::from_str::<Card>(&card.to_json()).unwrap(), card);
        assert_eq!(card.commit.as_deref(), Some("abc"));
        assert_eq!(card.architecture["embed_dim"], 32);
    }

    #[test]
    fn every_difference_is_said_with_its_key_and_its_override() {
        let plain = card(&[]);
        plain
            .check(
                &card(&["model.image_size=64", "name=other", "optim.lr=1.0"]),
                &Allow::default(),
            )
            .unwrap();
        for (set, field, key) in [
            ("model.quick_gelu=true", CardField::Activation, "model.quick_gelu"),
            (
                "transform.mean=[0.5, 0.5, 0.5]",
                CardField::Normalization,
                "transform.mean",
            ),
            (
                "transform.std=[0.5, 0.5, 0.5]",
                CardField::Normalization,
                "transform.std",
            ),
        ] {
            let other = card(&[set]);
            let mismatch = plain.check(&other, &Allow::default()).unwrap_err();
            assert_eq!(mismatch.field, field);
            let message = mismatch.to_string();
            assert!(message.contains(key), "{message}");
            assert!(
                message.ends_with(&format!("init.allow = [\"{}\"]", field.name())),
                "{message}"
            );
            plain.check(&other, &Allow::new([field.name()])).unwrap();
        }
        let mut other = plain.clone();
        other.tokenizer.sha256 = "0".repeat(64);
        let message = plain
            .check(&other, &Allow::new(["quick_gelu"]))
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("the clip vocabulary of 1024 ids with hash 000000000000"),
            "{message}"
        );
    }
}
