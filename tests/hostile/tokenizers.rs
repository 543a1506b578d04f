//! `tokenizer.json`.

use std::{fs, panic};

use twinflame::data::{Tokenizer, TokenizerConfig};

use crate::memory::peak;
use crate::variants::try_variants;

/// What the tokenizers crate builds of a small file, its caches included.
const TOKENIZER_BYTES: usize = 64 << 20;

const BPE: &str = r#"{"version": "1.0", "truncation": null, "padding": null,
    "added_tokens": [{"id": 0, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": false, "special": true}],
    "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Lowercase"}]},
    "pre_tokenizer": {"type": "Whitespace"},
    "post_processor": {"type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}}},
    "decoder": null,
    "model": {"type": "BPE", "dropout": null, "unk_token": "<s>", "continuing_subword_prefix": null,
        "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
        "vocab": {"<s>": 0, "a": 1, "b": 2, "c": 3, "ab": 4, "abc": 5}, "merges": [["a", "b"], ["ab", "c"]]}}"#;

const WORD_PIECE: &str = r###"{"version": "1.0", "truncation": {"direction": "Right", "max_length": 8, "strategy":
    "LongestFirst", "stride": 0}, "padding": {"strategy": {"Fixed": 8}, "direction": "Right", "pad_to_multiple_of": null,
    "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"}, "added_tokens": [],
    "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null,
        "lowercase": true},
    "pre_tokenizer": {"type": "BertPreTokenizer"},
    "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
    "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
    "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
        "vocab": {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4, "cat": 5, "##s": 6}}}"###;

pub(crate) fn tokenizers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    // The crate panics on some of them, which is caught; a message with a backtrace for each takes more than the files.
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    for (name, original) in [("tokenizer.json, BPE", BPE), ("tokenizer.json, WordPiece", WORD_PIECE)] {
        let (tried, read) = try_variants(original.as_bytes(), |bytes| {
            fs::write(&path, bytes).unwrap();
            let (was_read, peak) = peak(|| {
                let config = TokenizerConfig::File { path: path.clone() };
                let tokenizer = Tokenizer::new(&config);
                tokenizer.is_ok_and(|tokenizer| tokenizer.encode("Cats, abc!", 16).len() == 16)
            });
            assert!(peak <= TOKENIZER_BYTES, "{peak} bytes");
            was_read
        });
        println!("{name}: {tried} variants, {read} of them read");
        assert!(read > 0 && read < tried, "the changes are all harmful or all harmless");
    }
    panic::set_hook(hook);
}
