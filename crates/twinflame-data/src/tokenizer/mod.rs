//! Captions to token ids.

mod bert;
mod clean;
mod clip;
mod clip_files;
mod config;
mod error;
mod export;
mod file;
mod ftfy;
mod pre_caption;
mod special;
mod vocabulary;

pub use clean::clean_caption;
pub use clip::CLIP_VOCAB_SIZE;
pub use config::TokenizerConfig;
pub use error::TokenizerError;
pub use export::TokenizerReader;
pub use pre_caption::{pre_caption, pre_question};
pub use special::SpecialIds;
pub use vocabulary::{BERT_VOCAB_SIZE, BertVocab};

use bert::BertTokenizer;
use clip::ClipTokenizer;
use file::FileTokenizer;
use std::sync::Arc;
use vocabulary::Vocabulary;

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
    Bert(Arc<BertTokenizer>),
    File(Arc<FileTokenizer>),
}

impl Tokenizer {
    /// Builds a tokenizer.
    ///
    /// # Errors
    /// If the vocabulary size is impossible, or the file is missing, no `tokenizer.json`, or unable to encode some text.
    /// For word pieces: a missing file, one without the special tokens, or captions without words.
    pub fn new(config: &TokenizerConfig) -> Result<Self, TokenizerError> {
        let kind = match config {
            TokenizerConfig::Clip { vocab_size } => Kind::Clip(Arc::new(ClipTokenizer::new(*vocab_size)?)),
            TokenizerConfig::Bert {
                vocab,
                vocab_size,
                sep,
                clean,
                max_words,
            } => {
                if *clean && *max_words == 0 {
                    return Err(TokenizerError::MaxWords);
                }
                let vocabulary = Vocabulary::read(vocab, *vocab_size)?;
                Kind::Bert(Arc::new(BertTokenizer::new(
                    &vocabulary,
                    *sep,
                    clean.then_some(*max_words),
                )?))
            }
            TokenizerConfig::File { path } => Kind::File(Arc::new(FileTokenizer::open(path)?)),
        };
        Ok(Self { kind })
    }

    /// The ids of a text: special tokens around it, cut to `context_length` and padded to it.
    ///
    /// A text that is too long loses its end but keeps its end token, if there is one, and text never raises an error
    /// (OpenAI's own `tokenize` does). CLIP pads with 0, BERT with `[PAD]`; a file pads and surrounds as it says, whatever
    /// length it has built in.
    ///
    /// # Shapes
    /// - output: `[context_length]`
    #[must_use]
    pub fn encode(&self, text: &str, context_length: usize) -> Vec<i32> {
        match &self.kind {
            Kind::Clip(tokenizer) => tokenizer.encode(text, context_length),
            Kind::Bert(tokenizer) => tokenizer.encode(text, context_length),
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
            Kind::Bert(tokenizer) => tokenizer.num_added(),
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
            Kind::Bert(tokenizer) => tokenizer.tokens(text).len() + tokenizer.num_added(),
            Kind::File(tokenizer) => tokenizer.count_tokens(text),
        }
    }

    /// The text of some ids, without special tokens and padding: cleaned, in lower case, and with a space after every
    /// word, since ids do not tell where spaces were.
    #[must_use]
    pub fn decode(&self, ids: &[i32]) -> String {
        match &self.kind {
            Kind::Clip(tokenizer) => tokenizer.decode(ids),
            Kind::Bert(tokenizer) => tokenizer.decode(ids),
            Kind::File(tokenizer) => tokenizer.decode(ids),
        }
    }

    /// Number of ids; every id is smaller.
    #[must_use]
    pub fn vocab_size(&self) -> usize {
        match &self.kind {
            Kind::Clip(tokenizer) => tokenizer.vocab_size(),
            Kind::Bert(tokenizer) => tokenizer.vocab_size(),
            Kind::File(tokenizer) => tokenizer.vocab_size(),
        }
    }

    /// The id that ends every text, if there is one. In CLIP's vocabulary it is the largest.
    #[must_use]
    pub fn eos_id(&self) -> Option<u32> {
        match &self.kind {
            Kind::Clip(tokenizer) => Some(tokenizer.eos_id()),
            Kind::Bert(tokenizer) => tokenizer.eos_id(),
            Kind::File(tokenizer) => tokenizer.eos_id(),
        }
    }

    /// The id that fills a row.
    #[must_use]
    pub fn pad_id(&self) -> u32 {
        match &self.kind {
            Kind::Clip(_) => 0,
            Kind::Bert(tokenizer) => tokenizer.special_ids().pad,
            Kind::File(tokenizer) => tokenizer.pad_id(),
        }
    }

    /// The ids of BERT's special tokens; `None` for CLIP's vocabulary and for files without one of them.
    #[must_use]
    pub fn special_ids(&self) -> Option<SpecialIds> {
        match &self.kind {
            Kind::Clip(_) => None,
            Kind::Bert(tokenizer) => Some(tokenizer.special_ids()),
            Kind::File(tokenizer) => tokenizer.special_ids(),
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
