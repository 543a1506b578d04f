//! What happens to a caption before it is split into tokens.

use super::ftfy::{fix_text, html5_unescape};

/// open_clip's cleaning: repair (ftfy), unescape HTML twice, collapse white space, lower case.
///
/// Two captions with the same cleaned text are the same caption to the model.
///
/// ```
/// assert_eq!(twinflame_data::clean_caption("  A&amp;B\tisn’t  <b>ﬁne</b> "), "a&b isn't <b>fine</b>");
/// ```
#[must_use]
pub fn clean_caption(text: &str) -> String {
    let text = html5_unescape(&html5_unescape(&fix_text(text)));
    let mut cleaned = String::with_capacity(text.len());
    for word in text.split(is_python_space).filter(|word| !word.is_empty()) {
        if !cleaned.is_empty() {
            cleaned.push(' ');
        }
        cleaned.push_str(word);
    }
    // of the whole text, because a sigma has another form at the end of a word
    cleaned.to_lowercase()
}

/// Python's `str.split()` also splits at four separators that Unicode does not count as white space.
pub(super) fn is_python_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}')
}
