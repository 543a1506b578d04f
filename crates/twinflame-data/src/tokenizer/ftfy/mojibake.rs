//! Undoes the reading of UTF-8 in a single-byte encoding ("schÃ¶n" for "schön").

use super::badness::{UTF8_CONTINUATION_END, UTF8_DETECTOR, is_bad};
use super::tables::{CODE_PAGES, CodePage, CodePageKind};
use regex::bytes::Regex;
use std::sync::LazyLock;

/// Bytes that would be UTF-8 if a space were the byte 0xA0, for the sequences where that is likely.
static ALTERED_UTF8: LazyLock<Regex> = LazyLock::new(|| {
    compile(concat!(
        r"(?-u)[\xc2\xc3\xc5\xce\xd0\xd9]\x20",
        r"|[\xe2\xe3]\x20[\x80-\x84\x86-\x9f\xa1-\xbf]",
        r"|[\xe0-\xe3][\x80-\x84\x86-\x9f\xa1-\xbf]\x20",
        r"|\xf0\x20[\x80-\xbf][\x80-\xbf]",
        r"|\xf0[\x80-\xbf]\x20[\x80-\xbf]",
        r"|\xf0[\x80-\xbf][\x80-\xbf]\x20",
    ))
});

/// UTF-8 in which bytes were lost, and a lost byte by itself.
static LOSSY_UTF8: LazyLock<Regex> = LazyLock::new(|| {
    compile(concat!(
        r"(?-u)[\xc2-\xdf]\x1a",
        r"|[\xc2-\xc3][?]",
        r"|\xed[\xa0-\xaf][\x1a?]\xed[\xb0-\xbf][\x1a?\x80-\xbf]",
        r"|\xed[\xa0-\xaf][\x1a?\x80-\xbf]\xed[\xb0-\xbf][\x1a?]",
        r"|[\xe0-\xef][\x1a?][\x1a\x80-\xbf]",
        r"|[\xe0-\xef][\x1a\x80-\xbf][\x1a?]",
        r"|[\xf0-\xf4][\x1a?][\x1a\x80-\xbf][\x1a\x80-\xbf]",
        r"|[\xf0-\xf4][\x1a\x80-\xbf][\x1a?][\x1a\x80-\xbf]",
        r"|[\xf0-\xf4][\x1a\x80-\xbf][\x1a\x80-\xbf][\x1a?]",
        r"|\x1a",
    ))
});

/// Repairs the encoding until nothing looks wrong or nothing helps.
pub(super) fn fix_encoding(mut text: String) -> String {
    while let Some(fixed) = fix_one_step(&text) {
        if fixed == text {
            break;
        }
        text = fixed;
    }
    text
}

/// One layer of ftfy's `fix_encoding`; `None` if there is nothing to repair.
fn fix_one_step(text: &str) -> Option<String> {
    if text.is_ascii() || !is_bad(text) {
        return None;
    }
    let latin1 = encode_latin1(text).map(|bytes| (bytes, CodePageKind::Plain));
    let pages = CODE_PAGES
        .iter()
        .filter_map(|page| Some((page.encode(text)?, page.kind)));
    let whole = latin1
        .into_iter()
        .chain(pages)
        .find_map(|(bytes, kind)| decode_repaired(bytes, kind));
    if whole.is_some() {
        return whole;
    }
    let fixed = fix_embedded(text);
    if fixed != text {
        return Some(fixed);
    }
    // What is left of C1 controls was Windows-1252.
    Some(text.chars().map(c1_to_windows_1252).collect())
}

/// Reads bytes as UTF-8, after putting back what was lost on the way.
fn decode_repaired(mut bytes: Vec<u8>, kind: CodePageKind) -> Option<String> {
    if kind != CodePageKind::MacRoman && ALTERED_UTF8.is_match(&bytes) {
        bytes = restore_byte_a0(&bytes);
    }
    if kind == CodePageKind::Sloppy {
        bytes = LOSSY_UTF8.replace_all(&bytes, "\u{fffd}".as_bytes()).into_owned();
    }
    if bytes.contains(&0xed) || bytes.contains(&0xc0) {
        decode_utf8_variants(&bytes)
    } else {
        String::from_utf8(bytes).ok()
    }
}

/// Turns spaces back into the byte 0xA0 where that completes a character.
fn restore_byte_a0(bytes: &[u8]) -> Vec<u8> {
    let bytes = separate_a_grave(bytes);
    let replaced = ALTERED_UTF8.replace_all(&bytes, |found: &regex::bytes::Captures<'_>| {
        found[0]
            .iter()
            .map(|&byte| if byte == b' ' { 0xa0 } else { byte })
            .collect::<Vec<u8>>()
    });
    replaced.into_owned()
}

/// A lone a with a grave accent lost its byte 0xA0 *and* is a word: the space stays. Not so before the endings of some
/// Portuguese words.
fn separate_a_grave(bytes: &[u8]) -> Vec<u8> {
    const ENDINGS: [&[u8]; 5] = [b" ", b"quele", b"quela", b"quilo", b"s "];
    let mut output = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&first, tail)) = rest.split_first() {
        output.push(first);
        rest = tail;
        if first == 0xc3
            && let Some(after) = tail.strip_prefix(b" ")
            && !ENDINGS.iter().any(|ending| after.starts_with(ending))
        {
            output.extend_from_slice(b"\xa0 ");
            rest = after;
        }
    }
    output
}

/// UTF-8, with surrogate pairs (CESU-8) and Java's two-byte zero allowed.
fn decode_utf8_variants(bytes: &[u8]) -> Option<String> {
    let mut output = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&first, tail)) = rest.split_first() {
        match *rest {
            [0xc0, 0x80, ref tail @ ..] => {
                output.push(0);
                rest = tail;
            }
            [
                0xed,
                a @ 0xa0..=0xaf,
                b @ 0x80..=0xbf,
                0xed,
                c @ 0xb0..=0xbf,
                d @ 0x80..=0xbf,
                ref tail @ ..,
            ] => {
                let bits = |byte: u8, mask: u8| u32::from(byte & mask);
                let code =
                    0x1_0000 + (bits(a, 0x0f) << 16) + (bits(b, 0x3f) << 10) + (bits(c, 0x0f) << 6) + bits(d, 0x3f);
                output.extend(char::from_u32(code)?.encode_utf8(&mut [0; 4]).bytes());
                rest = tail;
            }
            _ => {
                output.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8(output).ok()
}

/// Repairs mojibake inside a text that is otherwise right.
fn fix_embedded(text: &str) -> String {
    let mut output = String::with_capacity(text.len());
    let mut done = 0;
    let mut from = 0;
    while let Some(found) = UTF8_DETECTOR.find_at(text, from) {
        if UTF8_CONTINUATION_END.is_match(&text[..found.start()]) {
            // ftfy's look-behind: try again one character later
            from = found.start() + text[found.start()..].chars().next().map_or(1, char::len_utf8);
            continue;
        }
        output.push_str(&text[done..found.start()]);
        let part = found.as_str();
        if part.len() < text.len() && is_bad(part) {
            output.push_str(&fix_encoding(part.to_owned()));
        } else {
            output.push_str(part);
        }
        done = found.end();
        from = done;
    }
    output.push_str(&text[done..]);
    output
}

/// `None` if a character is outside of Latin-1.
fn encode_latin1(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|c| u8::try_from(c).ok()).collect()
}

impl CodePage {
    /// `None` if a character is not in the page.
    fn encode(&self, text: &str) -> Option<Vec<u8>> {
        text.chars().map(|c| self.byte(c)).collect()
    }

    fn byte(&self, c: char) -> Option<u8> {
        match (c, self.kind) {
            ('\u{1a}', CodePageKind::Sloppy) => None,
            ('\u{fffd}', CodePageKind::Sloppy) => Some(0x1a),
            ('\0'..='\x7f', _) => Some(c as u8),
            _ => {
                let index = self.upper.chars().position(|upper| upper == c)?;
                Some(0x80 + index as u8)
            }
        }
    }
}

/// A C1 control as the character that Windows-1252 has at its place, as browsers do; others stay.
pub(super) fn c1_to_windows_1252(c: char) -> char {
    match c {
        '\u{80}'..='\u{9f}' => WINDOWS_1252[c as usize - 0x80],
        _ => c,
    }
}

/// Characters of the bytes 0x80-0x9F; unassigned bytes stay controls.
static WINDOWS_1252: LazyLock<[char; 32]> = LazyLock::new(|| {
    let mut characters = CODE_PAGES[0].upper.chars();
    std::array::from_fn(|_| characters.next().unwrap_or(char::REPLACEMENT_CHARACTER))
});

fn compile(pattern: &str) -> Regex {
    match Regex::new(pattern) {
        Ok(regex) => regex,
        // the patterns are constants, and every one is compiled by the tests
        Err(error) => unreachable!("{error}"),
    }
}
