//! Does a text look like UTF-8 that was read in another encoding?

use super::tables::*;
use regex::Regex;
use std::sync::LazyLock;

/// Sequences of characters that are far likelier mojibake than intended, after ftfy's `BADNESS_RE`.
const PATTERNS: [&str; 34] = [
    r"[{c1}]",
    r"[{bad}{lower}{upper}{box}{start}{end}{currency}{numeric}{law}][{bad}]",
    r"[a-zA-Z][{lower_common}{upper_common}][{bad}]",
    r"[{bad}][{lower}{upper}{box}{start}{end}{currency}{numeric}{law}]",
    r"[{lower}{lower_common}{box}{end}{currency}{numeric}][{upper}]",
    r"[{box}{end}{currency}{numeric}][{lower}]",
    r"[{lower}{box}{end}][{currency}]",
    r"{space}[{upper}][{currency}]",
    r"[{upper}{box}][{numeric}{law}]",
    r"[{lower}{upper}{box}{currency}{end}][{start}][{numeric}]",
    r"[{lower}{upper}{currency}{numeric}{box}{law}][{end}][{start}]",
    r"[{currency}{numeric}{box}][{start}]",
    r"[a-z][{upper}][{start}{currency}]",
    r"[{box}][{kaomoji}]",
    r"[{lower}{upper}{currency}{numeric}{start}{end}{law}][{box}]",
    r"[{box}][{end}]",
    r"[{lower}{upper}][{start}{end}][\p{L}\p{N}_]",
    // the ligature oe before anything but an unaccented Latin letter
    r"[Œœ][^A-Za-z]",
    // degree signs after capital letters
    r"[{upper}]°",
    // pairs that UTF-8 read as Windows-1252 makes
    r"[ÂÃÎÐ][€œŠš¢£Ÿž\u{a0}\u{ad}®©°·»{start}{end}–—´]",
    r"×[²³]",
    // Arabic read as Windows-1252
    r"[ØÙ][{common}{currency}{bad}{numeric}{start}ŸŠ®°µ»][ØÙ][{common}{currency}{bad}{numeric}{start}ŸŠ®°µ»]",
    // South Asian alphabets read as Windows-1252
    r"à[²µ¹¼½¾]",
    // UTF-8 read as MacRoman
    r"√[±∂†≠®™´≤≥¥µø]",
    r"≈[°¢]",
    r"‚Ä[ìîïòôúùû†°¢π]",
    r"‚[âó][àä°ê]",
    // general punctuation, then Latin-1 and Cyrillic, read as Windows-1251
    r"вЂ",
    r"[ВГРС][{c1}{bad}{start}{end}{currency}°µ][ВГРС]",
    r"ГўВЂВ.[A-Za-z\x20]",
    // a with an accent, or a no-break space, read as Windows-1252, its second byte perhaps turned into a space
    r"Ã[\u{a0}¡]|[a-z]{space}?[ÃÂ]\x20|^[ÃÂ]\x20",
    r"[a-z.,?!{end}]Â[\x20{start}{end}]",
    // Greek read as Windows-1253
    r"β€[™\u{a0}Ά\u{ad}®°]|[ΒΓΞΟ][{c1}{bad}{start}{end}{currency}°][ΒΓΞΟ]",
    // general punctuation read as Windows-1257
    r"ā€",
];

/// Any of [`PATTERNS`].
static BADNESS: LazyLock<Regex> = LazyLock::new(|| compile(&PATTERNS.join("|")));

/// Runs of what UTF-8 looks like in another encoding, after ftfy's `UTF8_DETECTOR_RE` without its look-behind.
pub(super) static UTF8_DETECTOR: LazyLock<Regex> = LazyLock::new(|| {
    compile(&format!(
        "(?:[{UTF8_FIRST_OF_2}][{UTF8_CONTINUATION}]\
         |[{UTF8_FIRST_OF_3}][{UTF8_CONTINUATION}]{{2}}\
         |[{UTF8_FIRST_OF_4}][{UTF8_CONTINUATION}]{{3}})+"
    ))
});

/// One character before which [`UTF8_DETECTOR`] must not match, lest a part of a larger garble be changed.
pub(super) static UTF8_CONTINUATION_END: LazyLock<Regex> =
    LazyLock::new(|| compile(&format!("[{UTF8_CONTINUATION_STRICT}]$")));

/// A decimal digit of any script.
pub(super) static DECIMAL: LazyLock<Regex> = LazyLock::new(|| compile(r"\p{Nd}"));

/// Whether the text seems to contain mojibake.
pub(super) fn is_bad(text: &str) -> bool {
    BADNESS.is_match(text)
}

/// Fills in the character classes and compiles.
fn compile(pattern: &str) -> Regex {
    let classes = [
        ("{c1}", r"\u{80}-\u{9f}"),
        // Python counts four separators among white space that Unicode does not
        ("{space}", r"[\s\x1c-\x1f]"),
        ("{common}", COMMON),
        ("{bad}", BAD),
        ("{law}", LAW),
        ("{currency}", CURRENCY),
        ("{start}", START_PUNCTUATION),
        ("{end}", END_PUNCTUATION),
        ("{numeric}", NUMERIC),
        ("{kaomoji}", KAOMOJI),
        ("{upper}", UPPER_ACCENTED),
        ("{lower}", LOWER_ACCENTED),
        ("{upper_common}", UPPER_COMMON),
        ("{lower_common}", LOWER_COMMON),
        ("{box}", BOX),
    ];
    let pattern = classes.iter().fold(pattern.to_owned(), |pattern, (name, class)| {
        pattern.replace(name, class)
    });
    match Regex::new(&pattern) {
        Ok(regex) => regex,
        // the patterns are constants, and every one is compiled by the tests
        Err(error) => unreachable!("{error}"),
    }
}
