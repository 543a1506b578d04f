//! Repair of damaged text: what `ftfy.fix_text` 6.3.1 does with its default settings.
//!
//! open_clip sends every caption through ftfy (Robyn Speer, <https://github.com/rspeer/python-ftfy>, Apache-2.0)
//! before it splits it into tokens, so token ids can only be the same if the repairs are. Straightened quotes matter
//! in nearly every set of captions; repaired mojibake ("cafÃ©") matters in web text.
//!
//! A Rust string holds no surrogates, so ftfy's step for those is absent. ASCII text takes a short path.

mod badness;
mod entities;
mod mojibake;
mod tables;

pub(super) use entities::{html5_unescape, unescape_entities};

use std::borrow::Cow;
use tables::LIGATURES;
use unicode_normalization::{UnicodeNormalization, is_nfc};

/// ftfy repairs longer lines piece by piece, in characters.
const MAX_SEGMENT_CHARS: usize = 1_000_000;

/// Repairs a text, line by line.
pub(super) fn fix_text(text: &str) -> String {
    let mut output = String::with_capacity(text.len());
    // As in ftfy: a `<` turns the unescaping of entities off, from its line on.
    let mut unescape = true;
    for line in text.split_inclusive('\n') {
        let mut rest = line;
        while !rest.is_empty() {
            let end = rest
                .char_indices()
                .nth(MAX_SEGMENT_CHARS)
                .map_or(rest.len(), |(end, _)| end);
            let (segment, tail) = rest.split_at(end);
            unescape = unescape && !segment.contains('<');
            output.push_str(&fix_segment(segment, unescape));
            rest = tail;
        }
    }
    output
}

/// Repeats all repairs until the text is stable.
fn fix_segment(segment: &str, unescape: bool) -> Cow<'_, str> {
    let mut text = Cow::Borrowed(segment);
    loop {
        let fixed = fix_once(&text, unescape);
        if fixed == text {
            return text;
        }
        text = Cow::Owned(fixed);
    }
}

fn fix_once(text: &str, unescape: bool) -> String {
    let mut text = if unescape && text.contains('&') {
        unescape_entities(text)
    } else {
        text.to_owned()
    };
    if !text.is_ascii() {
        text = mojibake::fix_encoding(text);
        text = fix_characters(&text);
    }
    fix_line_breaks(&mut text);
    remove_terminal_escapes(&mut text);
    text.retain(|c| !is_unwanted_control(c));
    if is_nfc(&text) { text } else { text.nfc().collect() }
}

/// The repairs of single characters, in ftfy's order: C1 controls as Windows-1252, ligatures, widths, quotes.
fn fix_characters(text: &str) -> String {
    let mut output = String::with_capacity(text.len());
    for c in text.chars() {
        let c = mojibake::c1_to_windows_1252(c);
        if let Some((_, letters)) = LIGATURES.iter().find(|(ligature, _)| *ligature == c) {
            // the letters of one ligature hold a modifier apostrophe, which is a quote to straighten
            output.extend(letters.chars().map(straighten_quote));
        } else {
            output.extend(standard_width(c).map(straighten_quote));
        }
    }
    output
}

/// Full-width Latin, half-width Katakana and the ideographic space as ordinary characters.
fn standard_width(c: char) -> impl Iterator<Item = char> {
    let (same, wide) = match c {
        '\u{3000}' => (Some(' '), None),
        '\u{ff01}'..='\u{ffef}' => (None, Some(std::iter::once(c).nfkc())),
        _ => (Some(c), None),
    };
    same.into_iter().chain(wide.into_iter().flatten())
}

fn straighten_quote(c: char) -> char {
    match c {
        '\u{2bc}' | '\u{2018}'..='\u{201b}' => '\'',
        '\u{201c}'..='\u{201f}' => '"',
        _ => c,
    }
}

fn fix_line_breaks(text: &mut String) {
    if text.contains(['\r', '\u{2028}', '\u{2029}', '\u{85}']) {
        *text = text
            .replace("\r\n", "\n")
            .replace(['\r', '\u{2028}', '\u{2029}', '\u{85}'], "\n");
    }
}

/// Removes sequences such as `ESC [ 3 6 ; 4 4 m`.
fn remove_terminal_escapes(text: &mut String) {
    let mut from = 0;
    while let Some(found) = text[from..].find("\u{1b}[") {
        let start = from + found;
        let body = &text[start + 2..];
        // Python's \d is any decimal digit of Unicode
        let end = body.find(|c: char| c != ';' && !is_decimal(c)).unwrap_or(body.len());
        if body[end..].starts_with(|c: char| c.is_ascii_alphabetic()) {
            text.replace_range(start..start + 2 + end + 1, "");
            from = start;
        } else {
            from = start + 1;
        }
    }
}

fn is_decimal(c: char) -> bool {
    c.is_ascii_digit() || (!c.is_ascii() && badness::DECIMAL.is_match(c.encode_utf8(&mut [0; 4])))
}

/// Control characters with no effect on the text; those that break lines or join emoji stay.
fn is_unwanted_control(c: char) -> bool {
    matches!(
        c,
        '\0'..='\u{8}'
            | '\u{b}'
            | '\u{e}'..='\u{1f}'
            | '\u{7f}'
            | '\u{206a}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffc}'
    )
}

#[cfg(test)]
mod tests;
