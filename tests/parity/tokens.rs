//! Token ids against open_clip 3.3.0 with ftfy 6.3.1 (`fixtures/tokenizer_clip*.json`).

use std::fs;

use proptest::prelude::*;
use serde_json::Value;
use twinflame::data::{Tokenizer, TokenizerConfig, clean_caption};

const CONTEXT: usize = 77;
const END: i32 = 49_407;

fn fixture(name: &str) -> Value {
    let path = format!("{}/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn clip() -> Tokenizer {
    Tokenizer::new(&TokenizerConfig::default()).unwrap()
}

fn ids(value: &Value) -> Vec<i32> {
    let list = value.as_array().unwrap();
    list.iter().map(|id| id.as_i64().unwrap() as i32).collect()
}

fn padded(mut ids: Vec<i32>) -> Vec<i32> {
    ids.resize(CONTEXT, 0);
    ids
}

fn assert_none(failures: &[String], of: usize) {
    let shown = failures.iter().take(10).cloned().collect::<Vec<_>>();
    assert!(failures.is_empty(), "{} of {of}:\n{}", failures.len(), shown.join("\n"));
}

#[test]
fn the_844_reference_strings_have_open_clips_ids() {
    let tokenizer = clip();
    let cases = fixture("tokenizer_clip_844.json");
    let cases = cases.as_array().unwrap();
    assert_eq!(cases.len(), 844);
    let mut failures = vec![];
    for case in cases {
        let text = case["text"].as_str().unwrap();
        let (clean, expected) = (case["clean"].as_str().unwrap(), ids(&case["ids"]));
        if clean_caption(text) != clean {
            failures.push(format!("{text:?} cleaned: {:?}, not {clean:?}", clean_caption(text)));
        }
        let found = tokenizer.encode(text, CONTEXT);
        if found != expected {
            failures.push(format!("{text:?}: {found:?}, not {expected:?}"));
        }
    }
    assert_none(&failures, cases.len());
}

#[test]
fn the_344_reference_strings_have_open_clips_ids_and_texts() {
    let tokenizer = clip();
    let fixture = fixture("tokenizer_clip.json");
    let cases = fixture["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 344);
    let mut failures = vec![];
    for case in cases {
        let text = case["text"].as_str().unwrap();
        let mut check = |what: &str, same: bool| {
            if !same {
                failures.push(format!("{text:?}: {what}"));
            }
        };
        check("ids", tokenizer.encode(text, CONTEXT) == padded(ids(&case["ids"])));
        let count = case["n_full"].as_u64().unwrap() as usize;
        check("number of tokens", tokenizer.count_tokens(text) == count + 2);
        // long texts come without these
        if let Some(clean) = case["cleaned"].as_str() {
            check("cleaned text", clean_caption(text) == clean);
        }
        if let Some(decoded) = case["decoded"].as_str() {
            let full = ids(&case["full_ids"]);
            // open_clip leaves the space after the last word, and writes special tokens out
            let special = full.iter().any(|&id| id >= END - 1);
            check("decoded text", special || tokenizer.decode(&full) == decoded.trim_end());
        }
    }
    assert_none(&failures, cases.len());
}

#[test]
fn a_long_text_keeps_its_end_token() {
    let tokenizer = clip();
    let text = "a red apple left of a dog ".repeat(20);
    for context_length in [2, 3, 24, 77, 200] {
        let row = tokenizer.encode(&text, context_length);
        assert_eq!(row.len(), context_length);
        let end = row.iter().position(|&id| id == END);
        assert_eq!(end, Some((context_length - 1).min(141)), "context {context_length}");
    }
}

proptest! {
    /// Ids tell the words, so that their text has the same ids again.
    #[test]
    fn ids_survive_decoding(text in "[a-zA-Z0-9 .,!?:;()/'àéîõüßñ中文字ひらがなдаμ🐟🎉-]{0,60}") {
        let tokenizer = clip_once();
        // room for all: a cut may fall within a character
        let row = tokenizer.encode(&text, 400);
        prop_assert_eq!(tokenizer.encode(&tokenizer.decode(&row), 400), row);
    }

    /// Whatever the text is: the start token, the end token, nothing but padding after it, and only known ids.
    #[test]
    fn rows_are_well_formed(text in any::<String>(), context_length in 2_usize..100) {
        let tokenizer = clip_once();
        let row = tokenizer.encode(&text, context_length);
        prop_assert_eq!(row.len(), context_length);
        prop_assert_eq!(row[0], END - 1);
        let end = row.iter().rposition(|&id| id == END).unwrap();
        prop_assert!(row[end + 1..].iter().all(|&id| id == 0));
        prop_assert!(row.iter().all(|id| (0..=END).contains(id)));
    }

    /// Cleaning is what makes two captions the same: once is enough.
    #[test]
    fn cleaning_plain_text_twice_changes_nothing(text in "[a-zA-Z0-9 .,'’“”\t\néßｱＡﬁ中🐟-]{0,60}") {
        let once = clean_caption(&text);
        prop_assert_eq!(clean_caption(&once), once);
    }
}

/// Reading the vocabulary takes longer than a case.
fn clip_once() -> Tokenizer {
    static CLIP: std::sync::OnceLock<Tokenizer> = std::sync::OnceLock::new();
    CLIP.get_or_init(clip).clone()
}
