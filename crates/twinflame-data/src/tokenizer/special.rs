//! The ids with a meaning of their own.

/// Ids of BERT's special tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpecialIds {
    /// Fills a row.
    pub pad: u32,
    /// Stands for a word that the vocabulary cannot write.
    pub unk: u32,
    /// Starts a text; its features stand for the whole of it.
    pub cls: u32,
    /// Ends a text, where the tokenizer adds it.
    pub sep: u32,
    /// Stands for a word to be guessed.
    pub mask: u32,
}

impl SpecialIds {
    /// Names in vocabularies, in the order of the fields.
    pub(super) const TOKENS: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];

    /// From the ids of [`Self::TOKENS`], or the first token that has none.
    pub(super) fn from_ids(ids: [Option<u32>; 5]) -> Result<Self, &'static str> {
        match ids {
            [Some(pad), Some(unk), Some(cls), Some(sep), Some(mask)] => Ok(Self {
                pad,
                unk,
                cls,
                sep,
                mask,
            }),
            _ => {
                let missing = ids.iter().position(Option::is_none).unwrap_or_default();
                Err(Self::TOKENS[missing])
            }
        }
    }
}
