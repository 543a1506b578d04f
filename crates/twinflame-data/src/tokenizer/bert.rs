//! BERT's word pieces, as ALBEF uses them.

use super::vocabulary::Vocabulary;
use super::{SpecialIds, TokenizerError, fit, pre_caption};
use regex::Regex;
use std::sync::LazyLock;
use tokenizers::decoders::wordpiece::WordPiece as WordPieceDecoder;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::{AddedToken, Model, NormalizedString, Normalizer, PostProcessorWrapper, TokenizerImpl};

/// Starts a piece that continues a word.
const CONTINUATION: &str = "##";

/// A longer word is unknown: `max_input_chars_per_word` of the reference.
const MAX_WORD_CHARS: usize = 100;

type Pieces = TokenizerImpl<WordPiece, Cleaning, BertPreTokenizer, PostProcessorWrapper, WordPieceDecoder>;

/// What the reference drops: control, format, private and unassigned characters, but for the white space among them.
static DROPPED: LazyLock<Regex> = LazyLock::new(|| match Regex::new(r"[\p{C}--[\t\n\r]]") {
    Ok(regex) => regex,
    // a constant, compiled by the tests
    Err(error) => unreachable!("{error}"),
});

/// BERT's cleaning: drops characters, splits Chinese ones, strips accents, lower case.
struct Cleaning(BertNormalizer);

impl Normalizer for Cleaning {
    fn normalize(&self, text: &mut NormalizedString) -> tokenizers::Result<()> {
        // The tables of `BertNormalizer` are those of an old Unicode and know no unassigned characters.
        if DROPPED.is_match(text.get()) {
            text.filter(|c| !DROPPED.is_match(c.encode_utf8(&mut [0; 4])));
        }
        self.0.normalize(text)
    }
}

/// The `BertTokenizer` of ALBEF (`models/tokenization_bert.py`), or with `sep` the stock one.
pub(super) struct BertTokenizer {
    pieces: Pieces,
    special: SpecialIds,
    vocab_size: usize,
    sep: bool,
    /// Most words of a caption, where captions are cleaned.
    max_words: Option<usize>,
}

impl std::fmt::Debug for BertTokenizer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("BertTokenizer")
            .field("vocab_size", &self.vocab_size)
            .field("sep", &self.sep)
            .field("max_words", &self.max_words)
            .finish_non_exhaustive()
    }
}

impl BertTokenizer {
    pub(super) fn new(vocabulary: &Vocabulary, sep: bool, max_words: Option<usize>) -> Result<Self, TokenizerError> {
        let damaged = |error: tokenizers::Error| vocabulary.damaged(&error.to_string());
        let model = WordPiece::builder()
            .vocab(WordPiece::read_bytes(vocabulary.text().as_bytes()).map_err(damaged)?)
            .unk_token(SpecialIds::TOKENS[1].to_owned())
            .continuing_subword_prefix(CONTINUATION.to_owned())
            .max_input_chars_per_word(MAX_WORD_CHARS)
            .build()
            .map_err(damaged)?;
        let ids = SpecialIds::TOKENS.map(|token| model.token_to_id(token));
        let special = SpecialIds::from_ids(ids).map_err(|token| vocabulary.lacks(token))?;
        let mut pieces = Pieces::new(model);
        pieces
            .with_normalizer(Some(Cleaning(BertNormalizer::default())))
            .with_pre_tokenizer(Some(BertPreTokenizer))
            .with_decoder(Some(WordPieceDecoder::new(CONTINUATION.to_owned(), true)));
        // Written out in a text they are themselves, whatever stands around them.
        pieces.add_special_tokens(&SpecialIds::TOKENS.map(|token| AddedToken::from(token, true)));
        Ok(Self {
            pieces,
            special,
            vocab_size: vocabulary.num_entries(),
            sep,
            max_words,
        })
    }

    /// `[CLS]`, the first tokens of the text, and with `sep` `[SEP]`; then padding.
    pub(super) fn encode(&self, text: &str, context_length: usize) -> Vec<i32> {
        let mut ids = vec![self.special.cls as i32];
        ids.extend(self.tokens(text));
        if self.sep {
            ids.push(self.special.sep as i32);
            return fit(ids, context_length, self.special.pad as i32);
        }
        ids.resize(context_length, self.special.pad as i32);
        ids
    }

    /// The pieces in the order of their ids, one a line.
    pub(super) fn vocabulary(&self) -> String {
        let mut pieces: Vec<(String, u32)> = self.pieces.get_vocab(true).into_iter().collect();
        pieces.sort_by_key(|(_, id)| *id);
        pieces.into_iter().map(|(piece, _)| piece + "\n").collect()
    }

    /// Ids without those that are put around the text.
    pub(super) fn tokens(&self, text: &str) -> Vec<i32> {
        let cleaned = self.max_words.map(|max_words| pre_caption(text, max_words));
        let text = cleaned.as_deref().unwrap_or(text);
        match self.pieces.encode_fast(text, false) {
            Ok(encoding) => encoding.get_ids().iter().map(|&id| id as i32).collect(),
            // The only error of word pieces is a vocabulary without an unknown token, which is refused above.
            Err(error) => unreachable!("word pieces of {text:?}: {error}"),
        }
    }

    pub(super) fn decode(&self, ids: &[i32]) -> String {
        let ids: Vec<u32> = ids.iter().filter_map(|&id| u32::try_from(id).ok()).collect();
        match self.pieces.decode(&ids, true) {
            Ok(text) => text,
            // Joining pieces cannot fail.
            Err(error) => unreachable!("text of {ids:?}: {error}"),
        }
    }

    /// Tokens put around every text.
    pub(super) fn num_added(&self) -> usize {
        1 + usize::from(self.sep)
    }

    pub(super) fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    pub(super) fn eos_id(&self) -> Option<u32> {
        self.sep.then_some(self.special.sep)
    }

    pub(super) fn special_ids(&self) -> SpecialIds {
        self.special
    }
}
