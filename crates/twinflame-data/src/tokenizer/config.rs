//! `[tokenizer]` of a recipe.

use super::clip::CLIP_VOCAB_SIZE;
use super::vocabulary::BertVocab;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Most words of a caption in ALBEF.
const ALBEF_MAX_WORDS: usize = 30;

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
    /// BERT's word pieces with ALBEF's cleaning of captions; ids are exactly ALBEF's.
    Bert {
        /// `"bert-base-uncased"` (default), `"scenes"`, or the path of a `vocab.txt` (`"./scenes"` is a path).
        #[serde(default)]
        vocab: BertVocab,
        /// Entries to keep of it, the first ones. Left out: all. Of bert-base-uncased, which lists special tokens and
        /// characters first and then words by frequency, about 4,000 serve a small model.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        vocab_size: Option<usize>,
        /// Whether `[SEP]` ends a text. ALBEF's tokenizer gives `[CLS] text` (default `false`), the stock one of
        /// Hugging Face and LAVIS `[CLS] text [SEP]`.
        #[serde(default)]
        sep: bool,
        /// Whether captions are cleaned as ALBEF cleans them: see [`pre_caption`](super::pre_caption). Default `true`.
        #[serde(default = "yes")]
        clean: bool,
        /// Most words of a cleaned caption. Default 30, the reference's.
        #[serde(default = "albef_max_words")]
        max_words: usize,
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

fn yes() -> bool {
    true
}

fn albef_max_words() -> usize {
    ALBEF_MAX_WORDS
}

impl TokenizerConfig {
    /// ALBEF's tokenizer with a list of word pieces.
    #[must_use]
    pub fn bert(vocab: BertVocab) -> Self {
        Self::Bert {
            vocab,
            vocab_size: None,
            sep: false,
            clean: true,
            max_words: ALBEF_MAX_WORDS,
        }
    }
}

impl Default for TokenizerConfig {
    /// CLIP's, complete.
    fn default() -> Self {
        Self::Clip {
            vocab_size: CLIP_VOCAB_SIZE,
        }
    }
}
