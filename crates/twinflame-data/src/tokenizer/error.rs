//! Errors of making a tokenizer.

use std::path::PathBuf;

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
    /// A vocabulary that is not one. A built-in one: a damaged binary.
    #[error("the vocabulary {vocab} is damaged: {message}")]
    Vocabulary {
        /// Its name or file.
        vocab: String,
        /// What is wrong.
        message: String,
    },
    /// A vocabulary file that could not be read, perhaps because a built-in name was meant.
    #[error(
        "cannot read the vocabulary file {}; built in are \"bert-base-uncased\" and \"scenes\", any other tokenizer.vocab is a path",
        path.display()
    )]
    ReadVocab {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// More entries than a list of word pieces has.
    #[error("tokenizer.vocab_size is {vocab_size}, but the vocabulary {vocab} has {entries} entries")]
    BertVocabSize {
        /// Its name or file.
        vocab: String,
        /// The value found.
        vocab_size: usize,
        /// Entries of the list.
        entries: usize,
    },
    /// A list of word pieces without a special token.
    #[error(
        "the first {entries} entries of the vocabulary {vocab} lack {token}; needed are [PAD], [UNK], [CLS], [SEP] and [MASK], one on a line"
    )]
    SpecialToken {
        /// Its name or file.
        vocab: String,
        /// Entries taken.
        entries: usize,
        /// The missing one.
        token: &'static str,
    },
    /// A caption without words.
    #[error("tokenizer.max_words is 0: every caption would be empty. Set clean = false to keep captions as they are")]
    MaxWords,
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
