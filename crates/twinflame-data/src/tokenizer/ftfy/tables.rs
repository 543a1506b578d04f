//! Character classes and code pages, generated from the tables of ftfy 6.3.1 (`badness.py`, `chardata.py`, Apache-2.0)
//! and Python's codecs. Classes are the inside of a `regex` character class.

/// Characters of many contexts, no evidence by themselves.
pub(super) const COMMON: &str = r"\u{a0}\u{ad}´·–-―’…";

/// Characters that hardly occur outside of mojibake.
pub(super) const BAD: &str = r"¤¦¨ª¬¯¸ºƒˆˇ˘˛˜†‡‰⌐◊\u{fffd}";

/// Legal signs.
pub(super) const LAW: &str = r"§¶";

/// Currency signs.
pub(super) const CURRENCY: &str = r"¢£¥₧€";

/// Punctuation before a word.
pub(super) const START_PUNCTUATION: &str = r"¡©«¿΄΅‘‚“„•‹\u{f8ff}";

/// Punctuation after a word.
pub(super) const END_PUNCTUATION: &str = r"®»˝”›™";

/// Signs of arithmetic.
pub(super) const NUMERIC: &str = r"±-³µ¹¼-¾×÷⁄№∂∆∏∑√∞∩∫≈≠≡≤≥";

/// Letters that make faces, and so stand in odd places.
pub(super) const KAOMOJI: &str = r"°Ò-ÖÙ-Üò-öø-üŌŐŪŲ";

/// Capital letters with accents.
pub(super) const UPPER_ACCENTED: &str = r"À-ÑØÜÝĀĂĄĆČĎĐĒĖĘĚĞĢĪİĶĹĻĽŁŃŅŇŒŘŚŞŠŢŤŮŰŸŹŻŽҐ";

/// Small letters with accents.
pub(super) const LOWER_ACCENTED: &str = r"ß-ñüāăąćčďđēėęěğģīįķĺļľłœŕśşšťźżžґﬁﬂ";

/// Capital letters of other alphabets.
pub(super) const UPPER_COMMON: &str = r"ÞΆΈ-ΊΌΎΏΑ-ΫЁ-Я";

/// Small letters of other alphabets.
pub(super) const LOWER_COMMON: &str = r"ά-ωа-џ";

/// Box-drawing characters.
pub(super) const BOX: &str = r"│┌┐┘├┤┬┼═-╬▀▄█▌▐-▓";

/// First of two bytes of UTF-8, read in a single-byte encoding (0xC2-0xDF).
pub(super) const UTF8_FIRST_OF_2: &str = r"Â-ßĀĂĆČĎĐĒĖĘĚĞĢĪİĶĹĻŁŃŅŇŌŐŘŚŞŠŢŪŮŰŲŹŻŽΒ-ΡΣ-ίВ-Я";

/// First of three bytes (0xE0-0xEF).
pub(super) const UTF8_FIRST_OF_3: &str = r"à-ïāăąćčďēėęěģīįķĺļŕźΰ-οа-п";

/// First of four bytes (0xF0, 0xF3).
pub(super) const UTF8_FIRST_OF_4: &str = r"ðóđğšπσру";

/// Later bytes (0x80-0xBF), and the space that 0xA0 turns into.
pub(super) const UTF8_CONTINUATION: &str =
    r"\u{20}\u{80}-¿ÆØæøĄąĽľŁłŒœŖŗŚśŞ-šŤťŸ-žƒˆˇ˘˛-˝΄-ΆΈ-ΊΌΎΏЁ-ЌЎЏё-ќўџҐґ–-―‘-‚“-„†-•…‰‹›€№™";

/// Later bytes without the punctuation that stands beside mojibake by itself.
pub(super) const UTF8_CONTINUATION_STRICT: &str =
    r"\u{80}-¿ÆØæøĄąĽľŁłŒœŖŗŚśŞ-šŤťŸ-žƒˆˇ˘˛-˝΄-ΆΈ-ΊΌΎΏЁ-ЌЎЏё-ќўџҐґ†‡‰‹›€№™";

/// Upper halves (0x80-0xFF) of the single-byte encodings to undo after Latin-1, in the order to try them. Unassigned
/// bytes of the Windows pages keep their Latin-1 meaning ("sloppy").
pub(super) const CODE_PAGES: [CodePage; 9] = [
    // sloppy-windows-1252
    CodePage {
        kind: CodePageKind::Sloppy,
        upper: concat!(
            "€\u{81}‚ƒ„…†‡ˆ‰Š‹Œ\u{8d}Ž\u{8f}\u{90}‘’“”•–—˜™š›œ\u{9d}žŸ\u{a0}¡¢£¤¥¦§¨©ª«¬\u{ad}®¯°±²³´µ¶·¸",
            "¹º»¼½¾¿ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖ×ØÙÚÛÜÝÞßàáâãäåæçèéêëìíîïðñòóôõö÷øùúûüýþÿ",
        ),
    },
    // sloppy-windows-1251
    CodePage {
        kind: CodePageKind::Sloppy,
        upper: concat!(
            "ЂЃ‚ѓ„…†‡€‰Љ‹ЊЌЋЏђ‘’“”•–—\u{98}™љ›њќћџ\u{a0}ЎўЈ¤Ґ¦§Ё©Є«¬\u{ad}®Ї°±Ііґµ¶·ё№є»јЅѕїАБВГДЕЖЗИЙКЛМ",
            "НОПРСТУФХЦЧШЩЪЫЬЭЮЯабвгдежзийклмнопрстуфхцчшщъыьэюя",
        ),
    },
    // sloppy-windows-1250
    CodePage {
        kind: CodePageKind::Sloppy,
        upper: concat!(
            "€\u{81}‚\u{83}„…†‡\u{88}‰Š‹ŚŤŽŹ\u{90}‘’“”•–—\u{98}™š›śťžź\u{a0}ˇ˘Ł¤Ą¦§¨©Ş«¬\u{ad}®Ż°±˛ł´µ¶·¸",
            "ąş»Ľ˝ľżŔÁÂĂÄĹĆÇČÉĘËĚÍÎĎĐŃŇÓÔŐÖ×ŘŮÚŰÜÝŢßŕáâăäĺćçčéęëěíîďđńňóôőö÷řůúűüýţ˙",
        ),
    },
    // sloppy-windows-1253
    CodePage {
        kind: CodePageKind::Sloppy,
        upper: concat!(
            "€\u{81}‚ƒ„…†‡\u{88}‰\u{8a}‹\u{8c}\u{8d}\u{8e}\u{8f}\u{90}‘’“”•–—\u{98}™\u{9a}›\u{9c}\u{9d}",
            "\u{9e}\u{9f}\u{a0}΅Ά£¤¥¦§¨©ª«¬\u{ad}®―°±²³΄µ¶·ΈΉΊ»Ό½ΎΏΐΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡÒΣΤΥΦΧΨΩΪΫάέήίΰαβγδε",
            "ζηθικλμνξοπρςστυφχψωϊϋόύώÿ",
        ),
    },
    // sloppy-windows-1254
    CodePage {
        kind: CodePageKind::Sloppy,
        upper: concat!(
            "€\u{81}‚ƒ„…†‡ˆ‰Š‹Œ\u{8d}\u{8e}\u{8f}\u{90}‘’“”•–—˜™š›œ\u{9d}\u{9e}Ÿ\u{a0}¡¢£¤¥¦§¨©ª«¬\u{ad}®",
            "¯°±²³´µ¶·¸¹º»¼½¾¿ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏĞÑÒÓÔÕÖ×ØÙÚÛÜİŞßàáâãäåæçèéêëìíîïğñòóôõö÷øùúûüışÿ",
        ),
    },
    // sloppy-windows-1257
    CodePage {
        kind: CodePageKind::Sloppy,
        upper: concat!(
            "€\u{81}‚\u{83}„…†‡\u{88}‰\u{8a}‹\u{8c}¨ˇ¸\u{90}‘’“”•–—\u{98}™\u{9a}›\u{9c}¯˛\u{9f}\u{a0}¡¢£¤",
            "¥¦§Ø©Ŗ«¬\u{ad}®Æ°±²³´µ¶·ø¹ŗ»¼½¾æĄĮĀĆÄÅĘĒČÉŹĖĢĶĪĻŠŃŅÓŌÕÖ×ŲŁŚŪÜŻŽßąįāćäåęēčéźėģķīļšńņóōõö÷ųłśū",
            "üżž˙",
        ),
    },
    // iso-8859-2
    CodePage {
        kind: CodePageKind::Plain,
        upper: concat!(
            "\u{80}\u{81}\u{82}\u{83}\u{84}\u{85}\u{86}\u{87}\u{88}\u{89}\u{8a}\u{8b}\u{8c}\u{8d}\u{8e}",
            "\u{8f}\u{90}\u{91}\u{92}\u{93}\u{94}\u{95}\u{96}\u{97}\u{98}\u{99}\u{9a}\u{9b}\u{9c}\u{9d}",
            "\u{9e}\u{9f}\u{a0}Ą˘Ł¤ĽŚ§¨ŠŞŤŹ\u{ad}ŽŻ°ą˛ł´ľśˇ¸šşťź˝žżŔÁÂĂÄĹĆÇČÉĘËĚÍÎĎĐŃŇÓÔŐÖ×ŘŮÚŰÜÝŢßŕáâăäĺ",
            "ćçčéęëěíîďđńňóôőö÷řůúűüýţ˙",
        ),
    },
    // macroman
    CodePage {
        kind: CodePageKind::MacRoman,
        upper: concat!(
            "ÄÅÇÉÑÖÜáàâäãåçéèêëíìîïñóòôöõúùûü†°¢£§•¶ß®©™´¨≠ÆØ∞±≤≥¥µ∂∑∏π∫ªºΩæø¿¡¬√ƒ≈∆«»…\u{a0}ÀÃÕŒœ–—“”‘’÷",
            "◊ÿŸ⁄€‹›ﬁﬂ‡·‚„‰ÂÊÁËÈÍÎÏÌÓÔ\u{f8ff}ÒÚÛÙıˆ˜¯˘˙˚¸˝˛ˇ",
        ),
    },
    // cp437
    CodePage {
        kind: CodePageKind::Plain,
        upper: concat!(
            "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█",
            "▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}",
        ),
    },
];

/// One single-byte encoding.
pub(super) struct CodePage {
    pub(super) kind: CodePageKind,
    /// Characters of the bytes 0x80-0xFF.
    pub(super) upper: &'static str,
}

/// What the repair may do with bytes of an encoding.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum CodePageKind {
    /// Nothing special.
    Plain,
    /// An en dash before a space is common, so spaces are not taken for lost 0xA0 bytes.
    MacRoman,
    /// Lost bytes (U+FFFD) are represented by 0x1A.
    Sloppy,
}

/// Latin ligatures and digraphs, and the letters they consist of.
pub(super) const LIGATURES: [(char, &str); 22] = [
    ('Ĳ', "IJ"),
    ('ĳ', "ij"),
    ('ŉ', "ʼn"),
    ('Ǳ', "DZ"),
    ('ǲ', "Dz"),
    ('ǳ', "dz"),
    ('Ǆ', "DŽ"),
    ('ǅ', "Dž"),
    ('ǆ', "dž"),
    ('Ǉ', "LJ"),
    ('ǈ', "Lj"),
    ('ǉ', "lj"),
    ('Ǌ', "NJ"),
    ('ǋ', "Nj"),
    ('ǌ', "nj"),
    ('ﬀ', "ff"),
    ('ﬁ', "fi"),
    ('ﬂ', "fl"),
    ('ﬃ', "ffi"),
    ('ﬄ', "ffl"),
    ('ﬅ', "ſt"),
    ('ﬆ', "st"),
];
