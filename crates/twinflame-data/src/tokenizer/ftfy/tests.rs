use super::*;

/// Pairs of ftfy 6.3.1, most of them from its documentation and tests.
#[test]
fn repairs_are_ftfys() {
    let pairs = [
        ("plain text", "plain text"),
        ("âœ” No problems", "✔ No problems"),
        ("schÃ¶n", "schön"),
        ("voilÃ le travail", "voilà le travail"),
        ("&macr;\\_(ã\u{83}\u{84})_/&macr;", "¯\\_(ツ)_/¯"),
        (
            "Broken text&hellip; it&#x2019;s ﬂubberiﬁc!",
            "Broken text… it's flubberific!",
        ),
        ("ＬＯＵＤ　ＮＯＩＳＥＳ", "LOUD NOISES"),
        ("Ｕﾀｰﾝ", "Uターン"),
        ("P&EACUTE;REZ", "PÉREZ"),
        ("&ntilde; &Ntilde; &NTILDE; &nTILDE;", "ñ Ñ Ñ &nTILDE;"),
        ("this&not that &amp;", "this&not that &"),
        ("1 < 2 &amp; 3", "1 < 2 &amp; 3"),
        ("\u{1b}[36;44mblue\u{1b}[0m", "blue"),
        ("“quoted” ‘text’", "\"quoted\" 'text'"),
        ("a\r\nb\rc\u{2028}d", "a\nb\nc\nd"),
        ("nul\0 bom\u{feff} bell\u{7}", "nul bom bell"),
        ("e\u{301}", "é"),
        ("ŉ Ǆ", "'n DŽ"),
        ("â€œlike thisâ€\u{9d}", "\"like this\""),
        ("â€œlossyâ€\u{fffd}", "\"lossy\u{fffd}"),
        ("à la mode stays", "à la mode stays"),
    ];
    for (damaged, repaired) in pairs {
        assert_eq!(fix_text(damaged), repaired, "{damaged:?}");
    }
}

#[test]
fn entities_follow_python() {
    let pairs = [
        ("&lt;&ampamp;", "<&amp;"),
        ("&notit; &notin;", "¬it; ∉"),
        ("&#65;&#x42;&#67", "ABC"),
        (
            "&#128; &#0; &#x110000; &#99999999999; &#xd800;",
            "€ \u{fffd} \u{fffd} \u{fffd} \u{fffd}",
        ),
        ("&#1;&#x7f;&#xffff;", ""),
        ("& &; &x; AT&T", "& &; &x; AT&T"),
    ];
    for (escaped, plain) in pairs {
        assert_eq!(html5_unescape(escaped), plain, "{escaped:?}");
    }
}
