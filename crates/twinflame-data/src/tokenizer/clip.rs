//! CLIP's byte-pair encoding.

use super::{TokenizerError, clean_caption, fit};
use crate::inflate::inflate;
use std::collections::HashMap;
use tokenizers::models::bpe::{BPE, Merges, Vocab};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{
    DecoderWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper, SplitDelimiterBehavior, TokenizerImpl,
};

/// OpenAI's merges, most frequent first: `bpe_simple_vocab_16e6.txt.gz`.
static MERGES: &[u8] = include_bytes!("../../../../assets/tokenizers/clip/bpe_simple_vocab_16e6.txt.gz");

/// Entries of CLIP's whole vocabulary.
pub const CLIP_VOCAB_SIZE: usize = 49_408;

/// Every byte, as a symbol within a word and as one at its end.
const BYTE_SYMBOLS: usize = 512;

/// The start and the end token.
pub(super) const SPECIAL_TOKENS: [&str; 2] = ["<start_of_text>", "<end_of_text>"];

/// Marks the last symbol of a word.
pub(super) const END_OF_WORD: &str = "</w>";

/// open_clip's split into words: English contractions, runs of letters, single digits, runs of anything else.
pub(super) const WORDS: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

type Bpe = TokenizerImpl<BPE, NormalizerWrapper, PreTokenizerWrapper, PostProcessorWrapper, DecoderWrapper>;

/// open_clip's `SimpleTokenizer`.
pub(super) struct ClipTokenizer {
    bpe: Bpe,
    /// As the merges write them, by id, without the special ones.
    pub(super) tokens: Vec<String>,
    pub(super) merges: Merges,
    /// Bytes of every token, an end of word as a space.
    token_bytes: Vec<Vec<u8>>,
}

impl std::fmt::Debug for ClipTokenizer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("ClipTokenizer")
            .field("vocab_size", &self.vocab_size())
            .finish_non_exhaustive()
    }
}

impl ClipTokenizer {
    pub(super) fn new(vocab_size: usize) -> Result<Self, TokenizerError> {
        let min = BYTE_SYMBOLS + SPECIAL_TOKENS.len();
        if !(min..=CLIP_VOCAB_SIZE).contains(&vocab_size) {
            return Err(TokenizerError::VocabSize {
                vocab_size,
                min,
                max: CLIP_VOCAB_SIZE,
            });
        }
        let merges = read_merges(vocab_size - min)?;
        let symbols = byte_symbols();
        let mut tokens: Vec<String> = symbols.iter().map(|(symbol, _)| symbol.to_string()).collect();
        tokens.extend(symbols.iter().map(|(symbol, _)| format!("{symbol}{END_OF_WORD}")));
        tokens.extend(merges.iter().map(|(left, right)| format!("{left}{right}")));

        let bytes: HashMap<char, u8> = symbols.into_iter().collect();
        let token_bytes = tokens.iter().map(|token| bytes_of(token, &bytes)).collect();
        let vocab: Vocab = tokens.iter().cloned().zip(0..).collect();
        let bpe = build(vocab, merges.clone()).map_err(|error| damaged(&error.to_string()))?;
        Ok(Self {
            bpe,
            tokens,
            merges,
            token_bytes,
        })
    }

    pub(super) fn encode(&self, text: &str, context_length: usize) -> Vec<i32> {
        let mut ids = vec![self.start_id()];
        ids.extend(self.tokens(text));
        ids.push(self.eos_id() as i32);
        fit(ids, context_length, 0)
    }

    /// Ids without the start and end token.
    pub(super) fn tokens(&self, text: &str) -> Vec<i32> {
        let cleaned = clean_caption(text);
        let mut ids = vec![];
        for part in split_specials(&cleaned) {
            match part {
                Part::Special(index) => ids.push(self.start_id() + index as i32),
                Part::Text(text) => self.extend_with_words(text, &mut ids),
            }
        }
        ids
    }

    fn extend_with_words(&self, text: &str, ids: &mut Vec<i32>) {
        match self.bpe.encode_fast(text, false) {
            Ok(encoding) => ids.extend(encoding.get_ids().iter().map(|&id| id as i32)),
            // Every byte has a symbol, so there is nothing that cannot be encoded.
            Err(error) => unreachable!("byte-level encoding of {text:?}: {error}"),
        }
    }

    pub(super) fn decode(&self, ids: &[i32]) -> String {
        let mut bytes = vec![];
        for &id in ids {
            if id == self.eos_id() as i32 {
                break;
            }
            if let Some(token) = usize::try_from(id).ok().and_then(|id| self.token_bytes.get(id)) {
                bytes.extend_from_slice(token);
            }
        }
        String::from_utf8_lossy(&bytes).trim_end().to_owned()
    }

    pub(super) fn vocab_size(&self) -> usize {
        self.token_bytes.len() + SPECIAL_TOKENS.len()
    }

    pub(super) fn start_id(&self) -> i32 {
        self.token_bytes.len() as i32
    }

    pub(super) fn eos_id(&self) -> u32 {
        self.token_bytes.len() as u32 + 1
    }
}

/// The first `count` merges of the file, whose first line is a comment.
fn read_merges(count: usize) -> Result<Merges, TokenizerError> {
    let text = inflate(MERGES).map_err(|error| damaged(&error.to_string()))?;
    let merges: Merges = text
        .lines()
        .skip(1)
        .take(count)
        .map_while(|line| line.split_once(' '))
        .map(|(left, right)| (left.to_owned(), right.to_owned()))
        .collect();
    if merges.len() < count {
        return Err(damaged(&format!("{} merges instead of {count}", merges.len())));
    }
    Ok(merges)
}

fn build(vocab: Vocab, merges: Merges) -> tokenizers::Result<Bpe> {
    let model = BPE::builder()
        .vocab_and_merges(vocab, merges)
        .end_of_word_suffix(END_OF_WORD.to_owned())
        .build()?;
    // `Removed` and inverted: what matches is kept, white space between goes.
    let words = Split::new(
        SplitPattern::Regex(WORDS.to_owned()),
        SplitDelimiterBehavior::Removed,
        true,
    )?;
    let bytes = ByteLevel::new(false, true, false);
    let mut bpe = Bpe::new(model);
    bpe.with_pre_tokenizer(Some(PreTokenizerWrapper::Sequence(Sequence::new(vec![
        PreTokenizerWrapper::Split(words),
        PreTokenizerWrapper::ByteLevel(bytes),
    ]))));
    Ok(bpe)
}

/// GPT-2's printable symbol for every byte, in the order of the vocabulary: printable bytes stand for themselves and
/// come first.
fn byte_symbols() -> Vec<(char, u8)> {
    let printable = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let (mut symbols, others): (Vec<u8>, Vec<u8>) = (0..=255).partition(printable);
    let shown = symbols.iter().map(|&byte| char::from(byte)).chain('\u{100}'..);
    let shown: Vec<char> = shown.take(256).collect();
    symbols.extend(others);
    shown.into_iter().zip(symbols).collect()
}

fn bytes_of(token: &str, table: &HashMap<char, u8>) -> Vec<u8> {
    let (word, end) = match token.strip_suffix(END_OF_WORD) {
        Some(word) => (word, " "),
        None => (token, ""),
    };
    word.chars()
        .filter_map(|symbol| table.get(&symbol).copied())
        .chain(end.bytes())
        .collect()
}

enum Part<'a> {
    Text(&'a str),
    /// Index into [`SPECIAL_TOKENS`].
    Special(usize),
}

/// Splits off special tokens that are written out in the text.
///
/// In open_clip's pattern they come first but do not interrupt a run: after punctuation, "<" belongs to that.
fn split_specials(text: &str) -> Vec<Part<'_>> {
    let mut parts = vec![];
    let mut start = 0;
    let mut from = 0;
    while let Some(found) = text[from..].find('<') {
        let at = from + found;
        let special = SPECIAL_TOKENS.iter().position(|token| text[at..].starts_with(token));
        let free =
            at == start || text[..at].ends_with(|c: char| c.is_whitespace() || c.is_alphabetic() || c.is_numeric());
        match special {
            Some(index) if free => {
                parts.push(Part::Text(&text[start..at]));
                parts.push(Part::Special(index));
                start = at + SPECIAL_TOKENS[index].len();
                from = start;
            }
            _ => from = at + 1,
        }
    }
    parts.push(Part::Text(&text[start..]));
    parts
}

fn damaged(message: &str) -> TokenizerError {
    TokenizerError::Vocabulary {
        vocab: "of CLIP".to_owned(),
        message: message.to_owned(),
    }
}
