use super::clip::CLIP_VOCAB_SIZE;
use super::*;
use std::fs;

fn clip(vocab_size: usize) -> Tokenizer {
    Tokenizer::new(&TokenizerConfig::Clip { vocab_size }).unwrap()
}

#[test]
fn a_smaller_vocabulary_keeps_the_frequent_words() {
    let (small, full) = (clip(8192), clip(CLIP_VOCAB_SIZE));
    assert_eq!((small.vocab_size(), small.eos_id()), (8192, Some(8191)));
    let row = small.encode("a photo of a cat", 10);
    assert_eq!(row, [8190, 320, 1125, 539, 320, 2368, 8191, 0, 0, 0]);
    // a rare word falls apart into known pieces, and means the same
    let (pieces, whole) = (small.encode("a diagram", 16), full.encode("a diagram", 16));
    assert_eq!(whole[2], 22_697);
    assert!(pieces[2] < 8190 && pieces[3] < 8190);
    assert_eq!(small.decode(&pieces), "a diagram");
}

#[test]
fn bytes_alone_can_write_everything() {
    let bytes = clip(514);
    let row = bytes.encode("né 🐟", 20);
    assert_eq!(row.iter().filter(|&&id| id < 512 && id != 0).count(), 7);
    assert_eq!(bytes.decode(&row), "né 🐟");
}

#[test]
fn special_tokens_in_a_text_are_special() {
    let tokenizer = clip(CLIP_VOCAB_SIZE);
    let row = |text| tokenizer.encode(text, 8)[1..4].to_vec();
    assert_eq!(row("<START_OF_TEXT>a"), [49_406, 320, 49_407]);
    assert_eq!(row("a<end_of_text>"), [320, 49_407, 49_407]);
    // after punctuation it belongs to that
    assert!(!row("!<end_of_text>").contains(&49_407));
}

#[test]
fn impossible_vocabularies_are_refused() {
    for (vocab_size, found) in [(513, "513"), (49_409, "49409")] {
        let error = Tokenizer::new(&TokenizerConfig::Clip { vocab_size })
            .unwrap_err()
            .to_string();
        let allowed = "CLIP's vocabulary allows 514 (bytes and special tokens only) to 49408";
        assert_eq!(error, format!("tokenizer.vocab_size is {found}; {allowed}"));
    }
}

#[test]
fn short_contexts_are_refused() {
    let tokenizer = clip(514);
    assert!(tokenizer.check_context_length(3).is_ok());
    assert_eq!(
        tokenizer.check_context_length(2).unwrap_err().to_string(),
        "context_length is 2, but the tokenizer adds 2 special tokens to every text; at least 3 is needed"
    );
}

#[test]
fn recipes_name_a_kind() {
    let parse = |json: &str| serde_json::from_str::<TokenizerConfig>(json);
    assert_eq!(parse(r#"{"kind": "clip"}"#).unwrap(), TokenizerConfig::default());
    assert_eq!(
        parse(r#"{"kind": "file", "path": "a.json"}"#).unwrap(),
        TokenizerConfig::File { path: "a.json".into() }
    );
    assert!(
        parse(r#"{"kind": "clip", "size": 1}"#)
            .unwrap_err()
            .to_string()
            .contains("unknown field `size`")
    );
    assert!(
        parse(r#"{"kind": "bart"}"#)
            .unwrap_err()
            .to_string()
            .contains("expected one of `clip`, `bert`, `file`")
    );
    let bert = |vocab: &str| parse(&format!(r#"{{"kind": "bert", "vocab": "{vocab}"}}"#)).unwrap();
    let default = TokenizerConfig::bert(BertVocab::BertBaseUncased);
    assert_eq!(parse(r#"{"kind": "bert"}"#).unwrap(), default);
    assert_eq!(bert("bert-base-uncased"), default);
    assert_eq!(bert("scenes"), TokenizerConfig::bert(BertVocab::Scenes));
    assert_eq!(
        bert("./scenes"),
        TokenizerConfig::bert(BertVocab::File("./scenes".into()))
    );
    let written = serde_json::to_string(&bert("a/b.txt")).unwrap();
    assert_eq!(parse(&written).unwrap(), bert("a/b.txt"));
}

/// Ids as `BertTokenizer` of Hugging Face gives them, less its `[SEP]`.
#[test]
fn bert_base_uncased_is_built_in() {
    let config = TokenizerConfig::bert(BertVocab::BertBaseUncased);
    let tokenizer = Tokenizer::new(&config).unwrap();
    assert_eq!(tokenizer.vocab_size(), 30_522);
    let special = SpecialIds {
        pad: 0,
        unk: 100,
        cls: 101,
        sep: 102,
        mask: 103,
    };
    assert_eq!(tokenizer.special_ids(), Some(special));
    assert_eq!((tokenizer.pad_id(), tokenizer.eos_id()), (0, None));
    let row = tokenizer.encode("A photo of a Cat, embedding.", 12);
    assert_eq!(row, [101, 1037, 6302, 1997, 1037, 4937, 7861, 8270, 4667, 0, 0, 0]);
    assert_eq!(tokenizer.decode(&row), "a photo of a cat embedding");
    assert_eq!(clip(514).special_ids(), None);
}

fn bert(change: impl FnOnce(&mut BertVocab, &mut Option<usize>, &mut usize)) -> Result<Tokenizer, TokenizerError> {
    let mut config = TokenizerConfig::bert(BertVocab::BertBaseUncased);
    if let TokenizerConfig::Bert {
        vocab,
        vocab_size,
        max_words,
        ..
    } = &mut config
    {
        change(vocab, vocab_size, max_words);
    }
    Tokenizer::new(&config)
}

#[test]
fn fewer_word_pieces_write_rare_words_with_more() {
    let small = bert(|_, size, _| *size = Some(4096)).unwrap();
    assert_eq!(small.vocab_size(), 4096);
    let row = small.encode("a photo of embedding", 16);
    assert!(row.iter().all(|&id| id < 4096 && id != 100), "{row:?}");
    assert!(small.count_tokens("a photo of embedding") > 8);
    assert_eq!(small.decode(&row), "a photo of embedding");
}

#[test]
fn a_bad_list_of_word_pieces_is_named() {
    let message = |tokenizer: Result<Tokenizer, TokenizerError>| tokenizer.unwrap_err().to_string();
    assert_eq!(
        message(bert(|_, size, _| *size = Some(30_523))),
        "tokenizer.vocab_size is 30523, but the vocabulary bert-base-uncased has 30522 entries"
    );
    assert_eq!(
        message(bert(|_, size, _| *size = Some(103))),
        "the first 103 entries of the vocabulary bert-base-uncased lack [MASK]; needed are [PAD], [UNK], [CLS], [SEP] and [MASK], one on a line"
    );
    assert_eq!(
        message(bert(|vocab, _, _| *vocab = BertVocab::File("bert-base".into()))),
        "cannot read the vocabulary file bert-base; built in are \"bert-base-uncased\" and \"scenes\", any other tokenizer.vocab is a path"
    );
    assert!(message(bert(|_, _, words| *words = 0)).starts_with("tokenizer.max_words is 0"));
}

/// BERT's shape in small: lower case, word pieces, [CLS] and [SEP], and a length of 4 built in.
const BERT: &str = r###"{
  "version": "1.0",
  "truncation": {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0},
  "padding": {"strategy": {"Fixed": 4}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 9, "pad_type_id": 0, "pad_token": "[PAD]"},
  "added_tokens": [],
  "normalizer": {"type": "Lowercase"},
  "pre_tokenizer": {"type": "BertPreTokenizer"},
  "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
  "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
  "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
    "vocab": {"[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "a": 4, "cat": 5, "##s": 6, "dog": 7, "[PAD]": 9}}
}"###;

fn open(content: &str) -> Result<Tokenizer, TokenizerError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    fs::write(&path, content).unwrap();
    Tokenizer::new(&TokenizerConfig::File { path })
}

#[test]
fn a_file_forgets_its_built_in_lengths() {
    let tokenizer = open(BERT).unwrap();
    assert_eq!(tokenizer.encode("A cats dog", 8), [2, 4, 5, 6, 7, 3, 9, 9]);
    assert_eq!(tokenizer.encode("a cats dog zebra", 5), [2, 4, 5, 6, 3]);
    assert_eq!(tokenizer.encode("a", 1), [3]);
    assert_eq!(
        (tokenizer.pad_id(), tokenizer.eos_id(), tokenizer.vocab_size()),
        (9, Some(3), 10)
    );
    assert_eq!(tokenizer.count_tokens("a cats dog zebra"), 7);
    assert!(tokenizer.check_context_length(2).is_err());
    assert_eq!(tokenizer.decode(&[4, 5, 6, 7, 9, 9]), "a cats dog");
    assert_eq!(tokenizer.special_ids(), None, "no [MASK]");
    let complete = open(&BERT.replace("\"a\": 4", "\"a\": 4, \"[MASK]\": 8")).unwrap();
    let special = complete.special_ids().unwrap();
    assert_eq!(
        [special.pad, special.unk, special.cls, special.sep, special.mask],
        [9, 1, 2, 3, 8]
    );
}

#[test]
fn a_bad_file_is_named() {
    let missing = TokenizerConfig::File {
        path: "/nowhere/tokenizer.json".into(),
    };
    let error = Tokenizer::new(&missing).unwrap_err().to_string();
    assert_eq!(error, "cannot read the tokenizer file /nowhere/tokenizer.json");
    let error = open("{\"model\": 1}").unwrap_err().to_string();
    assert!(
        error.contains("tokenizer.json is not a Hugging Face tokenizer.json: "),
        "{error}"
    );
    let error = open(&BERT.replace("\"[UNK]\": 1, ", "")).unwrap_err().to_string();
    assert!(
        error.contains("cannot encode every text: WordPiece error: Missing [UNK] token"),
        "{error}"
    );
}
