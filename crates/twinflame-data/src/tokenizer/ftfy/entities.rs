//! HTML entities, by the rules of Python's `html.unescape` and of ftfy.

use htmlize::ENTITIES;
use regex::{Captures, Regex};
use std::sync::LazyLock;

/// ftfy's `HTML_ENTITY_RE`: only what ends in a semicolon, so that "this&not that" stays.
static STRICT: LazyLock<Regex> = LazyLock::new(|| compile(r"&#?[0-9A-Za-z]{1,24};"));

/// Python's `html._charref`. Its `[0-9]` and `[^...]` mean the same in both dialects.
static LENIENT: LazyLock<Regex> =
    LazyLock::new(|| compile(r"&(#[0-9]+;?|#[xX][0-9a-fA-F]+;?|[^\t\n\x0c <&#;]{1,32};?)"));

/// What the references 0x80-0x9F mean (Python's `html._invalid_charrefs`), after HTML5.
const C1_REFERENCES: &str = "€\u{81}‚ƒ„…†‡ˆ‰Š‹Œ\u{8d}Ž\u{8f}\u{90}‘’“”•–—˜™š›œ\u{9d}žŸ";

/// ftfy's `unescape_html`: entities that end in a semicolon, and upper-case versions of lower-case names.
pub(in super::super) fn unescape_entities(text: &str) -> String {
    STRICT
        .replace_all(text, |found: &Captures<'_>| {
            let entity = &found[0];
            if entity.starts_with("&#") {
                let plain = html5_unescape(entity);
                // the whole reference has to be used up
                return if plain.contains(';') { entity.to_owned() } else { plain };
            }
            named(entity)
                .map(str::to_owned)
                .or_else(|| shouted(entity))
                .unwrap_or_else(|| entity.to_owned())
        })
        .into_owned()
}

/// "&EACUTE;" as "É": an upper-case spelling of a lower-case name, if it means nothing else.
fn shouted(entity: &str) -> Option<String> {
    if entity.contains(|c: char| c.is_ascii_lowercase()) || html5_unescape(entity) != entity {
        return None;
    }
    named(&entity.to_ascii_lowercase()).map(str::to_uppercase)
}

/// Python's `html.unescape`: all character references of HTML5, even unfinished ones.
pub(in super::super) fn html5_unescape(text: &str) -> String {
    if !text.contains('&') {
        return text.to_owned();
    }
    LENIENT
        .replace_all(text, |found: &Captures<'_>| {
            let body = &found[1];
            if let Some(number) = body.strip_prefix('#') {
                return numeric(number.trim_end_matches(';'));
            }
            let reference = &found[0];
            // the longest name that the reference starts with; names have at least two characters after `&`
            let ends = reference.char_indices().map(|(at, c)| at + c.len_utf8());
            let known = ends
                .rev()
                .filter(|&end| end > 2)
                .find_map(|end| Some((named(&reference[..end])?, end)));
            match known {
                Some((characters, end)) => format!("{characters}{}", &reference[end..]),
                None => reference.to_owned(),
            }
        })
        .into_owned()
}

/// The characters of `&name;` or `&name`.
fn named(entity: &str) -> Option<&'static str> {
    let characters = ENTITIES.get(entity.as_bytes())?;
    std::str::from_utf8(characters).ok()
}

/// The character of a number, decimal or hexadecimal after an `x`.
fn numeric(number: &str) -> String {
    let code = match number.strip_prefix(['x', 'X']) {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => number.parse(),
    };
    match code {
        Ok(0) => char::REPLACEMENT_CHARACTER.to_string(),
        Ok(0x0d) => "\r".to_owned(),
        Ok(code @ 0x80..=0x9f) => C1_REFERENCES.chars().nth(code as usize - 0x80).into_iter().collect(),
        Ok(code) if is_no_character(code) => String::new(),
        Ok(code) => char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER).to_string(),
        // too large for 32 bits
        Err(_) => char::REPLACEMENT_CHARACTER.to_string(),
    }
}

/// Code points that HTML5 forbids and Python removes (`html._invalid_codepoints`).
fn is_no_character(code: u32) -> bool {
    matches!(code, 0x1..=0x8 | 0xb | 0xe..=0x1f | 0x7f | 0xfdd0..=0xfdef)
        || (code <= 0x10_ffff && code & 0xfffe == 0xfffe)
}

fn compile(pattern: &str) -> Regex {
    match Regex::new(pattern) {
        Ok(regex) => regex,
        // the patterns are constants, and every one is compiled by the tests
        Err(error) => unreachable!("{error}"),
    }
}
