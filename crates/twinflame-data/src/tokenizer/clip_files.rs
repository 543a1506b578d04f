//! CLIP's tokenizer, complete or cut, as files of Hugging Face's libraries.

use super::TokenizerReader;
use super::clip::{ClipTokenizer, END_OF_WORD, SPECIAL_TOKENS, WORDS};
use serde_json::{Map, Value, json};

/// What OpenAI and transformers call the start and the end token.
const OPENAI_SPECIAL_TOKENS: [&str; 2] = ["<|startoftext|>", "<|endoftext|>"];

impl ClipTokenizer {
    pub(super) fn files(&self, reader: TokenizerReader, context_length: usize) -> Vec<(&'static str, String)> {
        let special = match reader {
            TokenizerReader::OpenClip => SPECIAL_TOKENS,
            TokenizerReader::Transformers => OPENAI_SPECIAL_TOKENS,
        };
        let mut files = vec![
            ("tokenizer.json", self.tokenizer_json(special).to_string()),
            ("tokenizer_config.json", self.config(reader, special, context_length)),
        ];
        if reader == TokenizerReader::Transformers {
            // What versions before 5 read.
            files.push(("vocab.json", self.vocabulary(special).to_string()));
            let merges = self.merges.iter().map(|(left, right)| format!("{left} {right}\n"));
            files.push((
                "merges.txt",
                std::iter::once("#version: 0.2\n".to_owned()).chain(merges).collect(),
            ));
        }
        files
    }

    /// Tokens in the order of their ids, without the special ones, which every size has.
    pub(super) fn tokens_by_id(&self) -> impl Iterator<Item = &str> {
        self.tokens.iter().map(String::as_str)
    }

    fn config(&self, reader: TokenizerReader, [start, end]: [&str; 2], context_length: usize) -> String {
        let class = match reader {
            TokenizerReader::OpenClip => "PreTrainedTokenizerFast",
            TokenizerReader::Transformers => "CLIPTokenizer",
        };
        let config = json!({
            "tokenizer_class": class,
            "bos_token": start,
            "eos_token": end,
            "unk_token": end,
            // Nothing after the first end is looked at. Token 0, which open_clip fills up with, is "!", and a token that is
            // declared as padding is no longer found in words.
            "pad_token": end,
            "model_max_length": context_length,
            "clean_up_tokenization_spaces": false,
        });
        format!("{config:#}\n")
    }

    fn vocabulary(&self, special: [&str; 2]) -> Value {
        let tokens = self.tokens_by_id().chain(special);
        Value::Object(
            tokens
                .zip(0..)
                .map(|(token, id)| (token.to_owned(), Value::from(id)))
                .collect::<Map<_, _>>(),
        )
    }

    fn tokenizer_json(&self, special: [&str; 2]) -> Value {
        let [start, end] = special;
        let (start_id, end_id) = (self.start_id(), self.eos_id());
        let added = |id: i64, content: &str| {
            json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true})
        };
        json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": [added(start_id.into(), start), added(end_id.into(), end)],
            "normalizer": {"type": "Sequence", "normalizers": [
                {"type": "NFC"},
                {"type": "Replace", "pattern": {"Regex": "\\s+"}, "content": " "},
                {"type": "Lowercase"},
            ]},
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": WORDS}, "behavior": "Removed", "invert": true},
                {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false},
            ]},
            "post_processor": {"type": "RobertaProcessing", "sep": [end, end_id], "cls": [start, start_id],
                "trim_offsets": false, "add_prefix_space": false},
            "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
            "model": {
                "type": "BPE",
                "dropout": null,
                "unk_token": end,
                "continuing_subword_prefix": "",
                "end_of_word_suffix": END_OF_WORD,
                "fuse_unk": false,
                "byte_fallback": false,
                "ignore_merges": false,
                "vocab": self.vocabulary(special),
                "merges": self.merges,
            },
        })
    }
}
