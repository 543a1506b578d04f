//! ALBEF's cleaning of texts (`dataset/utils.py` of the reference, line by line).

use super::clean::is_python_space;

/// Characters that go without leaving a space.
const REMOVED: [char; 13] = [',', '.', '\'', '!', '?', '"', '(', ')', '*', '#', ':', ';', '~'];

/// ALBEF's cleaning of captions: lower case, no punctuation, `-` and `/` to spaces, `<person>` to "person", single spaces,
/// at most `max_words` words. The reference takes 30.
///
/// ```
/// use twinflame_data::pre_caption;
///
/// assert_eq!(pre_caption("A well-known dog/cat, by <PERSON>!", 30), "a well known dog cat by person");
/// assert_eq!(pre_caption("One two three.", 2), "one two");
/// ```
#[must_use]
pub fn pre_caption(text: &str, max_words: usize) -> String {
    let text = collapse_spaces(&without_punctuation(text).replace("<person>", "person"));
    let text = text.trim_end_matches('\n').trim_matches(' ');
    first_words(text, max_words)
}

/// ALBEF's cleaning of questions: as [`pre_caption`], but spaces stay as they are, except at the end, and so does
/// `<person>`. An empty word between two spaces counts as a word.
#[must_use]
pub fn pre_question(text: &str, max_words: usize) -> String {
    first_words(without_punctuation(text).trim_end_matches(' '), max_words)
}

fn without_punctuation(text: &str) -> String {
    // Of the whole text, because a sigma has another form at the end of a word.
    let lower = text.to_lowercase();
    let kept = lower.chars().filter(|c| !REMOVED.contains(c));
    kept.map(|c| if matches!(c, '-' | '/') { ' ' } else { c }).collect()
}

/// One space for every run of two or more spaces of any kind; a single tab stays.
fn collapse_spaces(text: &str) -> String {
    let mut collapsed = String::with_capacity(text.len());
    let mut run = None;
    for c in text.chars().map(Some).chain([None]) {
        let space = c.filter(|&c| is_python_space(c));
        match (run, space) {
            (None, Some(c)) => run = Some(c),
            (Some(_), Some(_)) => run = Some(' '),
            (_, None) => collapsed.extend(run.take().into_iter().chain(c)),
        }
    }
    collapsed
}

fn first_words(text: &str, max_words: usize) -> String {
    let words: Vec<&str> = text.split(' ').take(max_words).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_of_spaces_is_one_and_a_single_one_is_kept() {
        assert_eq!(pre_caption(" a\tb \t c\u{2028}\u{1c}d\n", 30), "a\tb c d");
        assert_eq!(pre_caption("a , b", 30), "a b");
        assert_eq!(pre_question("a , b ", 30), "a  b");
    }

    #[test]
    fn words_are_counted_after_cleaning() {
        assert_eq!(pre_caption("one-two three", 2), "one two");
        assert_eq!(pre_caption("one two", 2), "one two");
        assert_eq!(pre_caption("! one", 1), "one");
        assert_eq!(pre_question("a  b", 2), "a ");
        assert_eq!([pre_caption("one two", 0), pre_caption("one", 0)], ["", ""]);
    }
}
