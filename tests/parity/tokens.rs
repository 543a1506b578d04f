//! Token ids against open_clip 3.3.0 with ftfy 6.3.1 (`fixtures/tokenizer_clip*.json`), and against ALBEF's own
//! `BertTokenizer` on a small vocabulary (`fixtures/tokenizer_bert_toy.json`).

use std::fs;

use proptest::prelude::*;
use serde_json::Value;
use twinflame::data::{BertVocab, Tokenizer, TokenizerConfig, clean_caption, pre_caption, pre_question};

const CONTEXT: usize = 77;
const END: i32 = 49_407;

fn fixture(name: &str) -> Value {
    let path = twinflame_tests::fixtures().join(name);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn clip() -> Tokenizer {
    Tokenizer::new(&TokenizerConfig::default()).unwrap()
}

fn ids(value: &Value) -> Vec<i32> {
    let list = value.as_array().unwrap();
    list.iter().map(|id| id.as_i64().unwrap() as i32).collect()
}

fn padded(ids: Vec<i32>) -> Vec<i32> {
    padded_to(CONTEXT, ids)
}

fn padded_to(context_length: usize, mut ids: Vec<i32>) -> Vec<i32> {
    ids.resize(context_length, 0);
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

/// The tokenizer of `tokenizer_bert_toy.json`, which tests the algorithm and not the vocabulary.
fn toy_bert(sep: bool, clean: bool) -> Tokenizer {
    let config = TokenizerConfig::Bert {
        vocab: BertVocab::File(twinflame_tests::fixtures().join("bert_vocab_toy.txt")),
        vocab_size: None,
        sep,
        clean,
        max_words: 30,
    };
    Tokenizer::new(&config).unwrap()
}

#[test]
fn the_342_reference_strings_have_albefs_ids_and_texts() {
    let (raw, cleaning, stock) = (toy_bert(false, false), toy_bert(false, true), toy_bert(true, false));
    let fixture = fixture("tokenizer_bert_toy.json");
    let special = raw.special_ids().unwrap();
    let found = [special.pad, special.unk, special.cls, special.sep, special.mask];
    let named = ["pad", "unk", "cls", "sep", "mask"].map(|name| fixture[name].as_u64().unwrap() as u32);
    assert_eq!((found, raw.vocab_size()), (named, 847));
    let cases = fixture["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 342);
    let mut failures = vec![];
    for case in cases {
        let text = case["text"].as_str().unwrap();
        let mut check = |what: &str, same: bool| {
            if !same {
                failures.push(format!("{text:?}: {what}"));
            }
        };
        let expected = ids(&case["ids"]);
        let row = raw.encode(text, expected.len() + 1);
        check("ids", row == padded_to(expected.len() + 1, expected.clone()));
        check("number of tokens", raw.count_tokens(text) == expected.len());
        check(
            "ids of 25",
            raw.encode(text, 25) == padded_to(25, ids(&case["ids_max25"])),
        );
        let mut ended = expected.clone();
        ended.push(special.sep as i32);
        check("ids with [SEP]", stock.encode(text, ended.len()) == ended);
        let caption = case["pre_caption_30"].as_str().unwrap();
        check("caption", pre_caption(text, 30) == caption);
        check(
            "question",
            pre_question(text, 30) == case["pre_question_30"].as_str().unwrap(),
        );
        check(
            "ids of the caption",
            cleaning.encode(text, 40) == raw.encode(caption, 40),
        );
    }
    assert_none(&failures, cases.len());
}

#[test]
fn a_long_text_keeps_its_first_word_pieces() {
    let (albef, stock) = (toy_bert(false, true), toy_bert(true, true));
    let text = "a cat ".repeat(30);
    assert_eq!(albef.encode(&text, 5), [2, 43, 620, 43, 620]);
    assert_eq!(stock.encode(&text, 5), [2, 43, 620, 43, 3]);
    // 30 words, and what is put around them
    assert_eq!([albef.count_tokens(&text), stock.count_tokens(&text)], [31, 32]);
    assert_eq!(albef.eos_id(), None);
}

proptest! {
    /// Whatever the text is: `[CLS]`, then known ids, then padding only.
    #[test]
    fn bert_rows_are_well_formed(text in any::<String>(), context_length in 2_usize..60) {
        let tokenizer = toy_bert_once();
        let row = tokenizer.encode(&text, context_length);
        prop_assert_eq!((row.len(), row[0]), (context_length, 2));
        let used = tokenizer.count_tokens(&text).min(context_length);
        prop_assert!(row[..used].iter().all(|id| (0..847).contains(id)));
        prop_assert!(row[used..].iter().all(|&id| id == 0));
    }

    /// Ids tell the words, so that their text has the same ids again.
    #[test]
    fn bert_ids_survive_decoding(text in "[a-z0-9 ]{0,60}") {
        let tokenizer = toy_bert_once();
        let row = tokenizer.encode(&text, 80);
        if !row.contains(&1) {
            prop_assert_eq!(tokenizer.encode(&tokenizer.decode(&row), 80), row);
        }
    }

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

fn toy_bert_once() -> Tokenizer {
    static BERT: std::sync::OnceLock<Tokenizer> = std::sync::OnceLock::new();
    BERT.get_or_init(|| toy_bert(false, true)).clone()
}
