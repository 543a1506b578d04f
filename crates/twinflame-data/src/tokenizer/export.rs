//! Tokenizers as files that Hugging Face's libraries read, and what tells two vocabularies apart.

use super::{Kind, Tokenizer};
use sha2::{Digest, Sha256};

/// For whom the files are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenizerReader {
    /// open_clip's `HFTokenizer`, which cleans texts itself: up to the end of a text, ids are those of [`Tokenizer::encode`].
    OpenClip,
    /// transformers' `CLIPTokenizer`, which knows the special tokens by other names.
    Transformers,
}

impl Tokenizer {
    /// Names and contents of the files that make this tokenizer in a folder; `None` for word pieces with ALBEF's cleaning,
    /// which no file can describe. Rows are filled up with the end of text.
    ///
    /// Texts are cleaned as the reader does it. transformers repairs no encoding mistakes and unescapes no HTML, so texts
    /// with either give other ids there.
    #[must_use]
    pub fn files(&self, reader: TokenizerReader, context_length: usize) -> Option<Vec<(&'static str, String)>> {
        match &self.kind {
            Kind::Clip(tokenizer) => Some(tokenizer.files(reader, context_length)),
            Kind::File(tokenizer) => tokenizer.files(context_length),
            Kind::Bert(_) => None,
        }
    }

    /// What kind of tokenizer it is: `clip`, `bert` or `file`, as in a recipe.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match &self.kind {
            Kind::Clip(_) => "clip",
            Kind::Bert(_) => "bert",
            Kind::File(_) => "file",
        }
    }

    /// Whether it is CLIP's with all 49,408 tokens, which open_clip has built in.
    #[must_use]
    pub fn is_complete_clip(&self) -> bool {
        matches!(&self.kind, Kind::Clip(tokenizer) if tokenizer.vocab_size() == super::clip::CLIP_VOCAB_SIZE)
    }

    /// SHA-256 of what gives ids to texts, in hexadecimal: of the tokens in the order of their ids, or of a whole
    /// `tokenizer.json`. Two tokenizers of a kind with the same hash give every text the same ids.
    #[must_use]
    pub fn vocabulary_hash(&self) -> String {
        let mut hash = Sha256::new();
        match &self.kind {
            Kind::Clip(tokenizer) => tokenizer.tokens_by_id().for_each(|token| {
                // The length keeps tokens apart whatever bytes they have.
                hash.update((token.len() as u64).to_le_bytes());
                hash.update(token);
            }),
            Kind::Bert(tokenizer) => hash.update(tokenizer.vocabulary()),
            Kind::File(tokenizer) => hash.update(tokenizer.json()),
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BertVocab, TokenizerConfig};

    const TEXTS: [&str; 5] = [
        "a photo of a cat.",
        "It's 3 dogs' birthday!!! -- don't",
        "Grüße aus Köln, 東京 🍎",
        "",
        "a very long text that goes on and on until nothing of it fits any more into the row",
    ];

    fn tokenizer(config: &TokenizerConfig) -> Tokenizer {
        Tokenizer::new(config).unwrap()
    }

    #[test]
    fn a_cut_vocabulary_written_as_a_file_gives_the_same_ids() {
        let dir = tempfile::tempdir().unwrap();
        for vocab_size in [514, 1024, 8192] {
            let clip = tokenizer(&TokenizerConfig::Clip { vocab_size });
            for reader in [TokenizerReader::OpenClip, TokenizerReader::Transformers] {
                for (name, content) in clip.files(reader, 24).unwrap() {
                    std::fs::write(dir.path().join(name), content).unwrap();
                }
                let path = dir.path().join("tokenizer.json");
                let file = tokenizer(&TokenizerConfig::File { path });
                assert_eq!(file.vocab_size(), vocab_size);
                for text in TEXTS {
                    let unpadded = |tokenizer: &Tokenizer| {
                        let mut ids = tokenizer.encode(text, 24);
                        let end = ids
                            .iter()
                            .position(|id| Some(*id as u32) == tokenizer.eos_id())
                            .unwrap();
                        ids.truncate(end + 1);
                        ids
                    };
                    assert_eq!(unpadded(&file), unpadded(&clip), "{text:?} with {vocab_size} tokens");
                }
                // Written again, it is the same tokenizer.
                let again = file.files(reader, 24).unwrap();
                std::fs::write(dir.path().join("again.json"), &again[0].1).unwrap();
                let path = dir.path().join("again.json");
                let again = tokenizer(&TokenizerConfig::File { path });
                assert_eq!(again.vocabulary_hash(), file.vocabulary_hash());
            }
        }
    }

    #[test]
    fn hashes_tell_vocabularies_apart() {
        let scenes = BertVocab::Scenes;
        let configs = [
            TokenizerConfig::default(),
            TokenizerConfig::Clip { vocab_size: 1024 },
            TokenizerConfig::bert(BertVocab::BertBaseUncased),
            TokenizerConfig::bert(scenes),
        ];
        let mut hashes: Vec<String> = configs
            .iter()
            .map(|config| tokenizer(config).vocabulary_hash())
            .collect();
        assert_eq!(hashes[1], tokenizer(&configs[1]).vocabulary_hash());
        assert!(hashes.iter().all(|hash| hash.len() == 64));
        hashes.sort();
        hashes.dedup();
        assert_eq!(hashes.len(), configs.len());
        assert!(tokenizer(&configs[0]).is_complete_clip() && !tokenizer(&configs[1]).is_complete_clip());
    }
}
