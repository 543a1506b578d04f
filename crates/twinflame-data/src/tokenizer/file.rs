//! Tokenizers from a Hugging Face `tokenizer.json`.

use super::{SpecialIds, TokenizerError, fit};
use crate::panics::contain_panic;
use std::fs;
use std::path::Path;
use tokenizers::Tokenizer as HfTokenizer;

/// Names under which vocabularies list their padding token.
const PAD_TOKENS: [&str; 4] = ["[PAD]", "<pad>", "<|padding|>", "<unk>"];

/// Texts that a complete tokenizer can encode: an unassigned character, and a script that hardly any word list has.
const PROBES: [&str; 3] = ["a", "\u{10fffd}", "\u{13080}\u{12345}"];

/// A tokenizer whose built-in lengths are taken out.
#[derive(Debug)]
pub(super) struct FileTokenizer {
    tokenizer: HfTokenizer,
    /// Special tokens before and after a text.
    prefix: Vec<i32>,
    suffix: Vec<i32>,
    pad: u32,
}

impl FileTokenizer {
    pub(super) fn open(path: &Path) -> Result<Self, TokenizerError> {
        // The library panics on some files that are not what they should be: a template that names a token without
        // describing it.
        contain_panic(|| Self::read(path)).unwrap_or_else(|_| {
            Err(TokenizerError::Incomplete {
                path: path.to_owned(),
                message: "one of its parts refers to something that it does not have".to_owned(),
            })
        })
    }

    fn read(path: &Path) -> Result<Self, TokenizerError> {
        let bytes = fs::read(path).map_err(|source| TokenizerError::Read {
            path: path.to_owned(),
            source,
        })?;
        let mut tokenizer = HfTokenizer::from_bytes(bytes).map_err(|error| TokenizerError::Parse {
            path: path.to_owned(),
            message: error.to_string(),
        })?;
        let built_in_pad = tokenizer.get_padding().map(|padding| padding.pad_id);
        let named_pad = || PAD_TOKENS.iter().find_map(|token| tokenizer.token_to_id(token));
        let pad = built_in_pad.or_else(named_pad).unwrap_or(0);
        tokenizer.with_padding(None);
        let incomplete = |error: tokenizers::Error| TokenizerError::Incomplete {
            path: path.to_owned(),
            message: error.to_string(),
        };
        tokenizer.with_truncation(None).map_err(incomplete)?;
        for probe in PROBES {
            tokenizer.encode_fast(probe, true).map_err(incomplete)?;
        }
        let (prefix, suffix) = surroundings(&tokenizer).map_err(incomplete)?;
        Ok(Self {
            tokenizer,
            prefix,
            suffix,
            pad,
        })
    }

    pub(super) fn encode(&self, text: &str, context_length: usize) -> Vec<i32> {
        let mut ids = self.prefix.clone();
        let room = context_length.saturating_sub(self.num_added());
        ids.extend(self.tokens(text).into_iter().take(room));
        ids.extend(&self.suffix);
        fit(ids, context_length, self.pad as i32)
    }

    /// Ids without special tokens.
    fn tokens(&self, text: &str) -> Vec<i32> {
        match self.tokenizer.encode_fast(text, false) {
            Ok(encoding) => encoding.get_ids().iter().map(|&id| id as i32).collect(),
            Err(error) => {
                // Only a vocabulary with gaps that the probes did not meet can get here.
                tracing::warn!("the tokenizer cannot encode {text:?} and takes it for empty: {error}");
                vec![]
            }
        }
    }

    pub(super) fn count_tokens(&self, text: &str) -> usize {
        self.tokens(text).len() + self.num_added()
    }

    pub(super) fn num_added(&self) -> usize {
        self.prefix.len() + self.suffix.len()
    }

    pub(super) fn decode(&self, ids: &[i32]) -> String {
        let ids: Vec<u32> = ids
            .iter()
            .filter_map(|&id| u32::try_from(id).ok())
            .filter(|&id| id != self.pad)
            .collect();
        match self.tokenizer.decode(&ids, true) {
            Ok(text) => text,
            Err(error) => {
                tracing::warn!("the tokenizer cannot decode {ids:?}: {error}");
                String::new()
            }
        }
    }

    pub(super) fn vocab_size(&self) -> usize {
        // Ids need not be dense: what an embedding table needs is the largest.
        let largest = self.tokenizer.get_vocab(true).into_values().max();
        largest.map_or(0, |id| id as usize + 1)
    }

    pub(super) fn eos_id(&self) -> Option<u32> {
        self.suffix.last().map(|&id| id as u32)
    }

    pub(super) fn pad_id(&self) -> u32 {
        self.pad
    }

    /// The tokenizer as JSON.
    pub(super) fn json(&self) -> String {
        // It was read from JSON and holds nothing that JSON cannot say.
        self.tokenizer.to_string(false).unwrap_or_default()
    }

    /// The tokenizer and how transformers is to pad: with the end token if there is one, after which nothing is looked at.
    pub(super) fn files(&self, context_length: usize) -> Option<Vec<(&'static str, String)>> {
        let token = |id: Option<u32>| self.tokenizer.id_to_token(id?);
        let config = serde_json::json!({
            "tokenizer_class": "PreTrainedTokenizerFast",
            "pad_token": token(self.eos_id().or(Some(self.pad)))?,
            "eos_token": token(self.eos_id()),
            "model_max_length": context_length,
            "clean_up_tokenization_spaces": false,
        });
        Some(vec![
            ("tokenizer.json", self.json()),
            ("tokenizer_config.json", format!("{config:#}\n")),
        ])
    }

    /// BERT's special tokens, if the file has all of them.
    pub(super) fn special_ids(&self) -> Option<SpecialIds> {
        SpecialIds::from_ids(SpecialIds::TOKENS.map(|token| self.tokenizer.token_to_id(token))).ok()
    }
}

/// The special tokens that the file puts before and after a text, found by adding them to one.
fn surroundings(tokenizer: &HfTokenizer) -> tokenizers::Result<(Vec<i32>, Vec<i32>)> {
    let ids = |special: bool| -> tokenizers::Result<Vec<i32>> {
        let encoding = tokenizer.encode_fast(PROBES[0], special)?;
        Ok(encoding.get_ids().iter().map(|&id| id as i32).collect())
    };
    let (bare, full) = (ids(false)?, ids(true)?);
    let start = full
        .windows(bare.len().max(1))
        .position(|window| window == bare)
        .unwrap_or(0);
    let end = (start + bare.len()).min(full.len());
    Ok((full[..start].to_vec(), full[end..].to_vec()))
}
