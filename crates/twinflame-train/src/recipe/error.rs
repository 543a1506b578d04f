//! What can be wrong with a recipe, in words that name the line, the key and what is allowed.

use std::path::PathBuf;

use thiserror::Error;

use super::locate::{self, Place};

/// Names closer than this (Damerau-Levenshtein, 1 = equal) are offered as what was meant.
const NEAR: f64 = 0.55;

/// A recipe that cannot be used.
#[derive(Debug, Error)]
pub enum RecipeError {
    /// Neither an embedded recipe nor a file.
    #[error(
        "no recipe is called `{name}`{near} (embedded: {known}; a recipe of your own is given by the path of its .toml file)"
    )]
    Unknown {
        /// What was asked for.
        name: String,
        /// `; did you mean ...?`, or nothing.
        near: String,
        /// The embedded names, comma separated.
        known: String,
    },
    /// The file cannot be read.
    #[error("cannot read the recipe {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A line of the recipe is not TOML, has an unknown key or a value of a wrong type.
    #[error("{origin}, line {line}: {message}\n  {line} | {content}")]
    Line {
        /// File or embedded name.
        origin: String,
        /// Line, counted from 1.
        line: usize,
        /// Text of that line.
        content: String,
        /// What is wrong and what is allowed.
        message: String,
    },
    /// A `--set` that cannot be applied.
    #[error("--set {assignment}: {message}")]
    Set {
        /// The argument as given.
        assignment: String,
        /// What is wrong and what is allowed.
        message: String,
    },
    /// A key that is missing altogether.
    #[error("{origin}: {message}")]
    Whole {
        /// File or embedded name.
        origin: String,
        /// What is wrong.
        message: String,
    },
}

/// A text with a name, the assignments that changed it, and therefore a way to point at mistakes.
pub(super) struct Origin<'a> {
    /// File or embedded name.
    pub(super) name: &'a str,
    /// The text as the user wrote it.
    pub(super) text: &'a str,
    /// `--set` arguments and the paths they set.
    pub(super) sets: &'a [super::overrides::Assignment],
}

impl Origin<'_> {
    /// Puts a serde or TOML error of `text` (the user's, or the one made from it by `--set`) into words.
    pub(super) fn explain(&self, text: &str, error: &toml::de::Error) -> RecipeError {
        let name = between_backticks(error.message()).filter(|_| error.message().starts_with("unknown field"));
        let places = locate::places(text);
        let place = error.span().and_then(|span| locate::find(&places, &span, name));
        let path = place.as_ref().map(|place| place.path.as_str());
        let mut message = error.message().trim_end().replace('\n', ", ");
        if let Some(path) = path {
            message = format!("{path}: {message}");
        }
        message.push_str(&did_you_mean(error.message()));
        match path {
            Some(path) => self.at(path, message),
            None => self.raw(error, message),
        }
    }

    /// An error about the key `path` (or, when it is not written anywhere, about its section).
    pub(super) fn at(&self, path: &str, message: String) -> RecipeError {
        if let Some(set) = self.sets.iter().rev().find(|set| set.touches(path)) {
            return RecipeError::Set {
                assignment: set.argument.clone(),
                message,
            };
        }
        match locate::find_path(&locate::places(self.text), path) {
            Some(Place { key, .. }) => self.line(key.start, message),
            None => RecipeError::Whole {
                origin: self.name.to_owned(),
                message,
            },
        }
    }

    /// An error outside any key: broken TOML, or a missing section.
    fn raw(&self, error: &toml::de::Error, message: String) -> RecipeError {
        // An error about the whole document, such as a missing section, has no line.
        match error
            .span()
            .filter(|span| *span != (0..0) && *span != (0..self.text.len()))
        {
            Some(span) if self.sets.is_empty() => self.line(span.start, message),
            _ => RecipeError::Whole {
                origin: self.name.to_owned(),
                message,
            },
        }
    }

    fn line(&self, offset: usize, message: String) -> RecipeError {
        let (line, content) = locate::line_of(self.text, offset);
        RecipeError::Line {
            origin: self.name.to_owned(),
            line,
            content: content.to_owned(),
            message,
        }
    }
}

/// The first `quoted` word of a message.
fn between_backticks(message: &str) -> Option<&str> {
    message.split('`').nth(1)
}

/// For "unknown field `x`, expected one of `a`, `b`" (serde's words): the nearest of the list.
fn did_you_mean(message: &str) -> String {
    let words: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let unknown = message.starts_with("unknown field") || message.starts_with("unknown variant");
    match words.split_first() {
        Some((name, allowed)) if unknown => near(name, allowed.iter().copied()),
        _ => String::new(),
    }
}

/// `; did you mean ...?` for the most similar of the candidates, or nothing.
pub(super) fn near<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> String {
    let score = |candidate: &str| {
        // `learning_rate` for `lr`, `ema` for `ema_decay`: initials and beginnings count as much as spelling.
        let initials: String = name.split(['_', '-']).filter_map(|part| part.chars().next()).collect();
        let is_part = candidate.starts_with(name) || name.starts_with(candidate);
        match initials == candidate || is_part {
            true => 1.0,
            false => strsim::normalized_damerau_levenshtein(name, candidate),
        }
    };
    candidates
        .map(|candidate| (score(candidate), candidate))
        .filter(|(score, _)| *score >= NEAR)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| format!("; did you mean `{candidate}`?"))
        .unwrap_or_default()
}
