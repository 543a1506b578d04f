//! From a name or path and `--set` arguments to a recipe that can be run.

use std::path::Path;

use toml::Table;
use twinflame_model::ModelConfig;

use super::error::{Origin, near};
use super::overrides::Assignment;
use super::{EMBEDDED, EmbeddedRecipe, Recipe, RecipeError};

/// A recipe whose every value has been checked, with the model it describes.
#[derive(Clone, Debug, PartialEq)]
pub struct ResolvedRecipe {
    /// The recipe.
    pub recipe: Recipe,
    /// The model's configuration.
    pub model: ModelConfig,
    /// Embedded name or file it came from.
    pub source: String,
    /// The `--set` arguments that were applied.
    pub set: Vec<String>,
}

impl ResolvedRecipe {
    /// Loads an embedded recipe by name, or a `.toml` file by path, and applies `--set` arguments.
    ///
    /// # Errors
    /// [`RecipeError`] names the line or argument, the key, and what is allowed.
    pub fn load(name_or_path: &str, set: &[String]) -> Result<Self, RecipeError> {
        if let Some(recipe) = EmbeddedRecipe::named(name_or_path) {
            return Self::parse(recipe.text, name_or_path, set);
        }
        let path = Path::new(name_or_path);
        let looks_like_a_path =
            path.extension().is_some_and(|ending| ending == "toml") || path.components().count() > 1;
        if !looks_like_a_path && !path.is_file() {
            return Err(unknown(name_or_path));
        }
        Self::load_file(path, set)
    }

    /// Loads a recipe file.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_file(path: &Path, set: &[String]) -> Result<Self, RecipeError> {
        let text = std::fs::read_to_string(path).map_err(|source| RecipeError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text, &path.display().to_string(), set)
    }

    /// Parses a recipe's text; `source` names it in messages.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn parse(text: &str, source: &str, set: &[String]) -> Result<Self, RecipeError> {
        let sets: Vec<Assignment> = set
            .iter()
            .map(|argument| Assignment::parse(argument))
            .collect::<Result<_, _>>()?;
        let origin = Origin {
            name: source,
            text,
            sets: &sets,
        };
        let changed = apply(text, &origin)?;
        let mut recipe: Recipe = toml::from_str(&changed).map_err(|error| origin.explain(&changed, &error))?;
        let model = recipe.check().map_err(|(key, message)| origin.at(&key, message))?;
        Ok(Self {
            recipe,
            model,
            source: source.to_owned(),
            set: set.to_vec(),
        })
    }

    /// The recipe as TOML with every default spelled out; [`parse`](Self::parse) reads it back to the same recipe.
    pub fn to_toml(&self) -> String {
        let mut text = format!("# Resolved from {}", self.source);
        for argument in &self.set {
            text.push_str(&format!(" --set {argument}"));
        }
        text.push_str("\n\n");
        // The types hold nothing that TOML cannot say: the test of the embedded recipes writes them all.
        text.push_str(&toml::to_string(&self.recipe).unwrap_or_default());
        text
    }
}

/// The text with the assignments applied: the text itself when there are none, so that its lines stay.
fn apply(text: &str, origin: &Origin<'_>) -> Result<String, RecipeError> {
    if origin.sets.is_empty() {
        return Ok(text.to_owned());
    }
    let mut table: Table = toml::from_str(text).map_err(|error| origin.explain(text, &error))?;
    for set in origin.sets {
        set.apply(&mut table)?;
    }
    Ok(toml::to_string(&table).unwrap_or_default())
}

fn unknown(name: &str) -> RecipeError {
    let names: Vec<&str> = EMBEDDED.iter().map(|recipe| recipe.name).collect();
    RecipeError::Unknown {
        name: name.to_owned(),
        near: near(name, names.iter().copied()),
        known: names.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TINY: &str = include_str!("../../../../assets/recipes/tiny.toml");

    /// The message for the tiny recipe with `from` replaced by `to`.
    fn mistake(from: &str, to: &str) -> String {
        assert!(TINY.contains(from), "{from}");
        message(&TINY.replacen(from, to, 1), &[])
    }

    fn message(text: &str, set: &[&str]) -> String {
        let set: Vec<String> = set.iter().map(|argument| (*argument).to_owned()).collect();
        ResolvedRecipe::parse(text, "mine.toml", &set).unwrap_err().to_string()
    }

    #[test]
    fn every_embedded_recipe_is_valid_and_its_resolved_form_reads_back() {
        for embedded in EMBEDDED {
            let recipe = ResolvedRecipe::load(embedded.name, &[]).unwrap();
            assert_eq!(recipe.recipe.name, embedded.name);
            assert!(!recipe.recipe.description.is_empty());
            let again = ResolvedRecipe::parse(&recipe.to_toml(), embedded.name, &[]).unwrap();
            assert_eq!(again, recipe, "{}", recipe.to_toml());
        }
    }

    #[test]
    fn an_unknown_key_is_named_with_line_and_suggestion() {
        let text = mistake("weight_decay = 0.1", "weight_deccay = 0.1");
        assert!(text.starts_with("mine.toml, line "), "{text}");
        assert!(
            text.contains("optim.weight_deccay: unknown field `weight_deccay`, expected one of `lr`"),
            "{text}"
        );
        assert!(text.contains("did you mean `weight_decay`?"), "{text}");
        assert!(text.ends_with("| weight_deccay = 0.1"), "{text}");
    }

    #[test]
    fn an_unknown_key_of_a_tagged_section_has_its_own_line() {
        let text = mistake("vendors = [\"noto\"]", "vendor = [\"noto\"]");
        assert!(text.contains("data.train.vendor: unknown field `vendor`"), "{text}");
        assert!(text.contains("did you mean `vendors`?"), "{text}");
        assert!(text.ends_with("| vendor = [\"noto\"]"), "{text}");
    }

    #[test]
    fn a_wrong_type_is_named() {
        let text = mistake("num_steps = 20", "num_steps = \"many\"");
        assert!(
            text.contains("run.num_steps: invalid type: string \"many\", expected"),
            "{text}"
        );
        assert!(text.ends_with("| num_steps = \"many\""), "{text}");
    }

    #[test]
    fn broken_toml_is_named() {
        let text = mistake("seed = 0", "seed = ");
        assert!(text.starts_with("mine.toml, line 4: "), "{text}");
        let text = mistake("[model]\nname = \"tiny-vit\"\npatch_dropout = 0.25\n", "");
        assert_eq!(text, "mine.toml: missing field `model`");
    }

    #[test]
    fn impossible_combinations_name_what_to_change() {
        for (from, to, expected) in [
            (
                "name = \"tiny-vit\"",
                "name = \"tiny-rn\"",
                "a ResNet has no patches to drop; leave it out\n  8 | patch_dropout",
            ),
            ("vocab_size = 1024", "vocab_size = 2048", "set model.vocab_size = 2048"),
            (
                "micro_batch_size = 16",
                "micro_batch_size = 64",
                "more than loader.batch_size = 32",
            ),
            ("targets = \"by-id\"", "loss = \"siglip\"", "init_logit_bias"),
            ("num_steps = 20", "num_steps = 20\nnum_epochs = 2", "exclude each other"),
            ("num_steps = 20", "keep_last = 2", "set num_steps or num_epochs"),
            (
                "ema_decay = 0.9",
                "ema_decay = 1.5",
                "task.ema_decay = 1.5 is out of range",
            ),
            ("batch_size = 32", "batch_size = 1", "needs at least 2 pairs"),
            ("name = \"tiny\"", "name = \"../x\"", "use letters"),
            (
                "name = \"tiny-vit\"",
                "name = \"tiny-vitt\"",
                "did you mean `tiny-vit`?",
            ),
        ] {
            let text = mistake(from, to);
            assert!(text.contains(expected), "{to}: {text}");
            assert!(text.starts_with("mine.toml, line "), "{to}: {text}");
        }
    }

    #[test]
    fn set_changes_a_key_and_a_typo_names_the_near_one() {
        let recipe = ResolvedRecipe::parse(
            TINY,
            "mine.toml",
            &["optim.lr=0.5".into(), "task.precision=bf16".into()],
        )
        .unwrap();
        assert_eq!(recipe.recipe.optim.lr, 0.5);
        let text = message(TINY, &["optim.lrr=1"]);
        assert!(
            text.starts_with("--set optim.lrr=1: optim.lrr: unknown field `lrr`"),
            "{text}"
        );
        assert!(text.contains("did you mean `lr`?"), "{text}");
        let text = message(TINY, &["run.num_steps=many"]);
        assert!(
            text.starts_with("--set run.num_steps=many: run.num_steps: invalid type"),
            "{text}"
        );
        let text = message(TINY, &["optim.learning_rate=1"]);
        assert!(text.contains("did you mean `lr`?"), "{text}");
        let text = message(TINY, &["optm.lr=1"]);
        assert!(text.contains("did you mean `optim`?"), "{text}");
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let text = ResolvedRecipe::load("emoji-clp", &[]).unwrap_err().to_string();
        assert!(
            text.contains("did you mean `emoji-clip`?") && text.contains("folder-clip"),
            "{text}"
        );
        let text = ResolvedRecipe::load("no/such.toml", &[]).unwrap_err().to_string();
        assert!(text.contains("cannot read the recipe no/such.toml"), "{text}");
    }
}
