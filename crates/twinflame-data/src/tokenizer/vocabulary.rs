//! Lists of word pieces: a file with one piece on each line, its number from 0 being the id.

use super::TokenizerError;
use crate::inflate::inflate;
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::str::FromStr;

/// Entries of bert-base-uncased, ALBEF's vocabulary.
pub const BERT_VOCAB_SIZE: usize = 30_522;

/// `vocab.txt` of bert-base-uncased (Devlin et al. 2019, <https://arxiv.org/abs/1810.04805>).
static BERT_BASE_UNCASED: &[u8] = include_bytes!("../../../../assets/tokenizers/bert/vocab.txt.gz");

/// The words of `emoji-scenes`.
const SCENES: &str = include_str!("../../../../assets/tokenizers/scenes/vocab.txt");

/// A list of word pieces: `"bert-base-uncased"`, `"scenes"`, or the path of a `vocab.txt` with one piece on each line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum BertVocab {
    /// The 30,522 pieces of bert-base-uncased, built in. The reference's.
    #[default]
    BertBaseUncased,
    /// The words that captions of `emoji-scenes` are made of, built in. Any other word is unknown; in return the embedding
    /// table is a hundredth of the former's.
    Scenes,
    /// A file.
    File(PathBuf),
}

impl BertVocab {
    const BERT_BASE_UNCASED: &str = "bert-base-uncased";
    const SCENES: &str = "scenes";
}

impl FromStr for BertVocab {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            Self::BERT_BASE_UNCASED => Self::BertBaseUncased,
            Self::SCENES => Self::Scenes,
            path => Self::File(path.into()),
        })
    }
}

impl From<String> for BertVocab {
    fn from(text: String) -> Self {
        match text.parse() {
            Ok(vocab) => vocab,
            Err(never) => match never {},
        }
    }
}

impl From<BertVocab> for String {
    fn from(vocab: BertVocab) -> Self {
        vocab.to_string()
    }
}

impl fmt::Display for BertVocab {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BertBaseUncased => f.write_str(Self::BERT_BASE_UNCASED),
            Self::Scenes => f.write_str(Self::SCENES),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// A list that was read.
pub(super) struct Vocabulary {
    source: BertVocab,
    text: String,
}

impl Vocabulary {
    /// The first `size` pieces of a list, all if it is `None`.
    pub(super) fn read(source: &BertVocab, size: Option<usize>) -> Result<Self, TokenizerError> {
        let text = match source {
            BertVocab::BertBaseUncased => {
                inflate(BERT_BASE_UNCASED).map_err(|error| damaged(source, &error.to_string()))?
            }
            BertVocab::Scenes => SCENES.to_owned(),
            BertVocab::File(path) => fs::read_to_string(path).map_err(|source| TokenizerError::ReadVocab {
                path: path.clone(),
                source,
            })?,
        };
        let mut vocabulary = Self {
            source: source.clone(),
            text,
        };
        if let Some(vocab_size) = size {
            vocabulary.truncate(vocab_size)?;
        }
        Ok(vocabulary)
    }

    fn truncate(&mut self, vocab_size: usize) -> Result<(), TokenizerError> {
        let entries = self.num_entries();
        if vocab_size > entries {
            return Err(TokenizerError::BertVocabSize {
                vocab: self.source.to_string(),
                vocab_size,
                entries,
            });
        }
        let kept: usize = self.text.split_inclusive('\n').take(vocab_size).map(str::len).sum();
        self.text.truncate(kept);
        Ok(())
    }

    /// One piece on each line.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn num_entries(&self) -> usize {
        self.text.lines().count()
    }

    pub(super) fn damaged(&self, message: &str) -> TokenizerError {
        damaged(&self.source, message)
    }

    pub(super) fn lacks(&self, token: &'static str) -> TokenizerError {
        TokenizerError::SpecialToken {
            vocab: self.source.to_string(),
            entries: self.num_entries(),
            token,
        }
    }
}

fn damaged(vocab: &BertVocab, message: &str) -> TokenizerError {
    TokenizerError::Vocabulary {
        vocab: vocab.to_string(),
        message: message.to_owned(),
    }
}
