//! Names that a load may leave out.

/// Names, or patterns with `*` for any text and `?` for any character, of tensors that may be missing or left over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allow {
    patterns: Vec<String>,
}

impl Allow {
    /// Allows these names and patterns.
    pub fn new(patterns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            patterns: patterns.into_iter().map(Into::into).collect(),
        }
    }

    /// Whether a tensor of this name may be missing or left over.
    #[must_use]
    pub fn allows(&self, name: &str) -> bool {
        self.patterns
            .iter()
            .any(|pattern| matches(pattern.as_bytes(), name.as_bytes()))
    }
}

/// Whether all of `name` matches, in time of at most the product of the lengths.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut position) = (0, 0);
    // The last star, and the first character behind what it stands for.
    let mut star = None;
    while position < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, position));
                at += 1;
            }
            Some(&letter) if letter == b'?' || letter == name[position] => {
                at += 1;
                position += 1;
            }
            _ => match star {
                // Let the star stand for one character more.
                Some((star_at, end)) => {
                    star = Some((star_at, end + 1));
                    (at, position) = (star_at + 1, end + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|&letter| letter == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_patterns() {
        let allow = Allow::new(["logit_bias", "text_decoder.*", "*.crossattention.*.bias", "a?c"]);
        for name in [
            "logit_bias",
            "text_decoder.x",
            "t.3.crossattention.self.key.bias",
            "abc",
        ] {
            assert!(allow.allows(name), "{name}");
        }
        for name in [
            "logit_bias2",
            "text_encoder.x",
            "t.3.crossattention.self.key.weight",
            "ac",
            "",
        ] {
            assert!(!allow.allows(name), "{name}");
        }
        assert!(!Allow::default().allows(""));
        assert!(Allow::new(["*"]).allows("anything"));
    }
}
