//! Which queries a caption contains.

use aho_corasick::{AhoCorasick, AhoCorasickKind, BuildError, MatchKind};

/// Signs that stand by themselves, as spaces do.
const SPACED: [char; 7] = [',', '.', ';', ':', '?', '!', '`'];

/// Finds queries in captions as whole words, as MetaCLIP does (Xu et al. 2023, <https://arxiv.org/abs/2309.16671>, and its
/// `substr_matching`): query and caption get a space before and behind, the signs `, . ; : ? !` and the backtick in a caption
/// too, and the query must be a part of that. Case counts.
///
/// One pass over a caption finds all queries (Aho and Corasick 1975), whatever their number.
#[derive(Debug)]
pub(super) struct Matcher {
    automaton: AhoCorasick,
}

impl Matcher {
    pub(super) fn new(queries: &[String]) -> Result<Self, BuildError> {
        let padded = queries.iter().map(|query| format!(" {query} "));
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            // A table for each state would take gigabytes for half a million queries.
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(padded)?;
        Ok(Self { automaton })
    }

    /// Numbers of the queries in some captions of one image, ascending, each once.
    pub(super) fn find(&self, captions: &[String], spaced: &mut String) -> Vec<u32> {
        let mut found = Vec::new();
        for caption in captions {
            space(caption, spaced);
            found.extend(
                self.automaton
                    .find_overlapping_iter(&*spaced)
                    .map(|found| found.pattern().as_u32()),
            );
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// Puts a caption into `spaced` as it is compared.
pub(super) fn space(caption: &str, spaced: &mut String) {
    spaced.clear();
    spaced.push(' ');
    for sign in caption.chars() {
        match sign {
            '\t' | '\n' | '\r' => spaced.push(' '),
            sign if SPACED.contains(&sign) => spaced.extend([' ', sign, ' ']),
            sign => spaced.push(sign),
        }
    }
    spaced.push(' ');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(queries: &[&str], caption: &str) -> Vec<u32> {
        let queries: Vec<String> = queries.iter().map(|&query| query.to_owned()).collect();
        let matcher = Matcher::new(&queries).unwrap();
        matcher.find(&[caption.to_owned()], &mut String::new())
    }

    #[test]
    fn whole_words_are_found() {
        let queries = ["dog", "hot dog", "Dog", "dogs", "dog", "."];
        assert_eq!(found(&queries, "a hot dog, please"), [0, 1, 4]);
        assert_eq!(found(&queries, "dog"), [0, 4]);
        assert_eq!(found(&queries, "Dog."), [2, 5]);
        assert_eq!(found(&queries, "hotdog dog-like"), [0_u32; 0]);
        assert_eq!(found(&queries, "hot\tdog\n"), [0, 1, 4]);
    }

    proptest! {
        #[test]
        fn one_pass_finds_what_a_loop_over_the_queries_finds(
            queries in prop::collection::vec("[ab ,]{1,4}", 1..12),
            caption in "[ab ,.\t]{0,24}",
        ) {
            let mut spaced = String::new();
            space(&caption, &mut spaced);
            let expected: Vec<u32> = (0..queries.len() as u32)
                .filter(|&query| spaced.contains(&format!(" {} ", queries[query as usize])))
                .collect();
            let queries: Vec<&str> = queries.iter().map(String::as_str).collect();
            prop_assert_eq!(found(&queries, &caption), expected);
        }
    }
}
