//! Captions to token ids.

mod clean;
mod clip;
mod file;
mod ftfy;

pub use clean::clean_caption;

use clip::ClipTokenizer;
use file::FileTokenizer;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;

/// Entries of CLIP's full vocabulary.
const CLIP_VOCAB_SIZE: usize = 49_408;

/// Which tokenizer to use (`[tokenizer]` of a recipe).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum TokenizerConfig {
    /// OpenAI's byte-pair encoding, built in; ids are exactly open_clip's.
    Clip {
        /// Entries to keep: 512 byte symbols, the most frequent merges, and the two special tokens, which are always the
        /// last two ids. 49,408 are all; fewer make the embedding table of a small model smaller.
        #[serde(default = "clip_vocab_size")]
        vocab_size: usize,
    },
    /// A Hugging Face `tokenizer.json`, for other languages and other models.
    File {
        /// The file.
        path: PathBuf,
    },
}

fn clip_vocab_size() -> usize {
    CLIP_VOCAB_SIZE
}

impl Default for TokenizerConfig {
    /// CLIP's, complete.
    fn default() -> Self {
        Self::Clip {
            vocab_size: CLIP_VOCAB_SIZE,
        }
    }
}

/// Why a tokenizer could not be made.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// More or fewer entries than CLIP's vocabulary allows.
    #[error(
        "tokenizer.vocab_size is {vocab_size}; CLIP's vocabulary allows {min} (bytes and special tokens only) to {max}"
    )]
    VocabSize {
        /// The value found.
        vocab_size: usize,
        /// Smallest possible value.
        min: usize,
        /// Largest possible value.
        max: usize,
    },
    /// The built-in vocabulary could not be read: a damaged binary.
    #[error("the built-in CLIP vocabulary is damaged: {message}")]
    Vocabulary {
        /// What is wrong.
        message: String,
    },
    /// The tokenizer file could not be read.
    #[error("cannot read the tokenizer file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The tokenizer file is not a Hugging Face `tokenizer.json`.
    #[error("{} is not a Hugging Face tokenizer.json: {message}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        message: String,
    },
    /// The tokenizer file has no way to express some texts.
    #[error("{} cannot encode every text: {message}", path.display())]
    Incomplete {
        /// The file.
        path: PathBuf,
        /// What the tokenizer said.
        message: String,
    },
    /// No room for a single token.
    #[error(
        "context_length is {context_length}, but the tokenizer adds {added} special tokens to every text; at least {min} is needed"
    )]
    ContextLength {
        /// The value found.
        context_length: usize,
        /// Special tokens per text.
        added: usize,
        /// Smallest value that leaves room for one token.
        min: usize,
    },
}

/// Turns captions into rows of token ids. Cheap to clone, usable from any thread.
///
/// ```
/// use twinflame_data::{Tokenizer, TokenizerConfig};
///
/// let tokenizer = Tokenizer::new(&TokenizerConfig::default())?;
/// assert_eq!(tokenizer.encode("a photo of a cat.", 10), [49406, 320, 1125, 539, 320, 2368, 269, 49407, 0, 0]);
/// assert_eq!(tokenizer.decode(&[49406, 320, 2368, 49407, 0]), "a cat");
/// # Ok::<(), twinflame_data::TokenizerError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Tokenizer {
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Clip(Arc<ClipTokenizer>),
    File(Arc<FileTokenizer>),
}

impl Tokenizer {
    /// Builds a tokenizer.
    ///
    /// # Errors
    /// If the vocabulary size is impossible, or the file is missing, no `tokenizer.json`, or unable to encode some text.
    pub fn new(config: &TokenizerConfig) -> Result<Self, TokenizerError> {
        let kind = match config {
            TokenizerConfig::Clip { vocab_size } => Kind::Clip(Arc::new(ClipTokenizer::new(*vocab_size)?)),
            TokenizerConfig::File { path } => Kind::File(Arc::new(FileTokenizer::open(path)?)),
        };
        Ok(Self { kind })
    }

    /// The ids of a text: special tokens around it, cut to `context_length` and padded to it.
    ///
    /// A text that is too long loses its end but keeps its end token, and text never raises an error (OpenAI's own
    /// `tokenize` does). CLIP pads with 0; a file pads and surrounds as it says, whatever length it has built in.
    ///
    /// # Shapes
    /// - output: `[context_length]`
    #[must_use]
    pub fn encode(&self, text: &str, context_length: usize) -> Vec<i32> {
        match &self.kind {
            Kind::Clip(tokenizer) => tokenizer.encode(text, context_length),
            Kind::File(tokenizer) => tokenizer.encode(text, context_length),
        }
    }

    /// Whether rows of this length have room for a token beside the special ones.
    ///
    /// # Errors
    /// If they have not.
    pub fn check_context_length(&self, context_length: usize) -> Result<(), TokenizerError> {
        let added = match &self.kind {
            Kind::Clip(_) => 2,
            Kind::File(tokenizer) => tokenizer.num_added(),
        };
        if context_length > added {
            return Ok(());
        }
        Err(TokenizerError::ContextLength {
            context_length,
            added,
            min: added + 1,
        })
    }

    /// Tokens of a text, special tokens included, before any cut.
    #[must_use]
    pub fn count_tokens(&self, text: &str) -> usize {
        match &self.kind {
            Kind::Clip(tokenizer) => tokenizer.tokens(text).len() + 2,
            Kind::File(tokenizer) => tokenizer.count_tokens(text),
        }
    }

    /// The text of some ids, without special tokens and padding: cleaned, in lower case, and with a space after every
    /// word, since ids do not tell where spaces were.
    #[must_use]
    pub fn decode(&self, ids: &[i32]) -> String {
        match &self.kind {
            Kind::Clip(tokenizer) => tokenizer.decode(ids),
            Kind::File(tokenizer) => tokenizer.decode(ids),
        }
    }

    /// Number of ids; every id is smaller.
    #[must_use]
    pub fn vocab_size(&self) -> usize {
        match &self.kind {
            Kind::Clip(tokenizer) => tokenizer.vocab_size(),
            Kind::File(tokenizer) => tokenizer.vocab_size(),
        }
    }

    /// The id that ends every text, if there is one. In CLIP's vocabulary it is the largest.
    #[must_use]
    pub fn eos_id(&self) -> Option<u32> {
        match &self.kind {
            Kind::Clip(tokenizer) => Some(tokenizer.eos_id()),
            Kind::File(tokenizer) => tokenizer.eos_id(),
        }
    }

    /// The id that fills a row.
    #[must_use]
    pub fn pad_id(&self) -> u32 {
        match &self.kind {
            Kind::Clip(_) => 0,
            Kind::File(tokenizer) => tokenizer.pad_id(),
        }
    }
}

/// Cuts a row of ids, keeping the last one last, and pads it.
fn fit(mut ids: Vec<i32>, context_length: usize, pad: i32) -> Vec<i32> {
    if ids.len() > context_length {
        let last = ids.last().copied();
        ids.truncate(context_length);
        if let (Some(slot), Some(last)) = (ids.last_mut(), last) {
            *slot = last;
        }
    }
    ids.resize(context_length, pad);
    ids
}

#[cfg(test)]
mod tests;
