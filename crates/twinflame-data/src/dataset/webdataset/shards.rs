//! Which files a list of shards names: braces and globs.

use std::path::PathBuf;

use super::WebDatasetConfig;
#[cfg(feature = "remote")]
use super::remote::Stores;
use super::shard::Shard;
use super::url::{is_no_shard, is_url, masked};
use crate::dataset::DataError;

/// Most names that one pattern may stand for: far more than any data set has, and few enough to fit into memory.
const MAX_NAMES: usize = 1_000_000;

/// Why a URL is none of what is read here.
const ONLY_SHARDS: &str = "only tar shards are read from URLs: copy the files to this machine";

/// Why a URL cannot be read.
#[cfg(not(feature = "remote"))]
const NOT_BUILT: &str = "this binary was built without the feature remote, which reads URLs: cargo install --path \
                         crates/twinflame --features remote";

/// The shards that a configuration names, in its order; those of a glob are sorted.
///
/// `{000..199}` counts with leading zeros as written, `{a,b}` lists, both as often as wanted and one in the other; then `*`, `?`
/// and `[…]` match files that are there. In a URL they match what a bucket lists; a web server lists nothing.
///
/// # Errors
/// An empty list, braces that do not pair, a pattern that matches no file, a shard named twice, or a URL that cannot be used.
pub(super) fn shards_of(config: &WebDatasetConfig) -> Result<Vec<Shard>, DataError> {
    #[cfg(feature = "remote")]
    let objects = {
        let mut stores = Stores::new(config.patience());
        move |url: &str| Ok(stores.objects(url)?.into_iter().map(Shard::Object).collect())
    };
    #[cfg(not(feature = "remote"))]
    let objects = |_: &str| Err(NOT_BUILT.to_owned());
    expand_with(&config.shards, objects)
}

/// The files that patterns name, as [`shards_of`] finds them, for sources that read no URLs.
///
/// # Errors
/// As there; any URL.
pub(crate) fn expand(patterns: &[String]) -> Result<Vec<PathBuf>, DataError> {
    let no_objects = |_: &str| Err(ONLY_SHARDS.to_owned());
    let shards = expand_with(patterns, no_objects)?;
    Ok(shards.iter().map(Shard::path).collect())
}

/// `objects` finds what a URL names.
fn expand_with(
    patterns: &[String],
    mut objects: impl FnMut(&str) -> Result<Vec<Shard>, String>,
) -> Result<Vec<Shard>, DataError> {
    if patterns.is_empty() {
        return Err(DataError::NoShards);
    }
    let mut shards = Vec::new();
    for pattern in patterns {
        let wrong = |message: String| DataError::ShardPattern {
            pattern: masked(pattern),
            message,
        };
        let names = braces(pattern).map_err(wrong)?;
        let before = shards.len();
        for name in names {
            if is_url(&name) && is_no_shard(&name) {
                return Err(wrong(ONLY_SHARDS.to_owned()));
            } else if is_url(&name) {
                shards.extend(objects(&name).map_err(wrong)?);
            } else if name.contains(['*', '?', '[']) {
                // Sorted by the crate.
                for path in glob::glob(&name).map_err(|error| wrong(error.to_string()))? {
                    shards.push(Shard::File(path.map_err(|error| wrong(error.to_string()))?));
                }
            } else {
                shards.push(Shard::File(PathBuf::from(name)));
            }
        }
        if shards.len() == before {
            return Err(wrong("it matches no file".to_owned()));
        }
    }
    let mut sorted: Vec<PathBuf> = shards.iter().map(Shard::path).collect();
    sorted.sort_unstable();
    match sorted.array_windows().find(|[a, b]| a == b) {
        Some([twice, _]) => Err(DataError::ShardTwice { shard: twice.clone() }),
        None => Ok(shards),
    }
}

/// What a text with braces stands for.
fn braces(text: &str) -> Result<Vec<String>, String> {
    let Some(open) = text.find('{') else {
        return match text.contains('}') {
            true => Err("it has a } without {".to_owned()),
            false => Ok(vec![text.to_owned()]),
        };
    };
    let (before, rest) = text.split_at(open);
    let rest = &rest[1..];
    let mut depth = 1;
    let close = rest.find(|sign| {
        match sign {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        depth == 0
    });
    let close = close.ok_or("it has a { without }")?;
    if before.contains('}') {
        return Err("it has a } without {".to_owned());
    }
    let (inside, after) = (&rest[..close], &rest[close + 1..]);
    let middles = match range(inside)? {
        Some(numbers) => numbers,
        None => {
            let mut middles = Vec::new();
            for part in alternatives(inside) {
                middles.extend(braces(part)?);
            }
            middles
        }
    };
    let afters = braces(after)?;
    if middles.len().saturating_mul(afters.len()) > MAX_NAMES {
        return Err(format!("it stands for more than {MAX_NAMES} names"));
    }
    let joined = middles
        .iter()
        .flat_map(|middle| afters.iter().map(move |after| format!("{before}{middle}{after}")));
    Ok(joined.collect())
}

/// The numbers of `000..199`; `None` if it is no range.
fn range(text: &str) -> Result<Option<Vec<String>>, String> {
    let Some((first, last)) = text.split_once("..").filter(|_| !text.contains(['{', ','])) else {
        return Ok(None);
    };
    let number = |digits: &str| {
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let number = plain.then(|| digits.parse::<u64>().ok()).flatten();
        number.ok_or(format!(
            "{{{text}}}: {digits:?} is no number; a range looks like {{000..199}}"
        ))
    };
    let (from, to) = (number(first)?, number(last)?);
    if from > to {
        return Err(format!("{{{text}}} counts down"));
    }
    if to - from >= MAX_NAMES as u64 {
        return Err(format!("{{{text}}} stands for more than {MAX_NAMES} names"));
    }
    // As a shell does it: one of them with a leading zero asks for the width of the longer one.
    let padded = [first, last]
        .iter()
        .any(|digits| digits.len() > 1 && digits.starts_with('0'));
    let width = if padded { first.len().max(last.len()) } else { 0 };
    Ok(Some((from..=to).map(|number| format!("{number:0width$}")).collect()))
}

/// Splits at the commas outside of inner braces.
fn alternatives(text: &str) -> Vec<&str> {
    let mut depth = 0;
    text.split(|sign| {
        match sign {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        sign == ',' && depth == 0
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_are_those_of_a_shell() {
        let expanded = |text: &str| braces(text).unwrap().join(" ");
        assert_eq!(expanded("a.tar"), "a.tar");
        assert_eq!(expanded("{8..11}.tar"), "8.tar 9.tar 10.tar 11.tar");
        assert_eq!(expanded("s/{08..11}.tar"), "s/08.tar s/09.tar s/10.tar s/11.tar");
        assert_eq!(expanded("{a,b}-{0..1}"), "a-0 a-1 b-0 b-1");
        assert_eq!(expanded("{cc{00..01},sbu}.tar"), "cc00.tar cc01.tar sbu.tar");
        assert_eq!(expanded("x{,y}"), "x xy");
    }

    #[test]
    fn mistakes_are_named() {
        let message = |text: &str| braces(text).unwrap_err();
        assert_eq!(message("a{0..3.tar"), "it has a { without }");
        assert_eq!(message("a0..3}.tar"), "it has a } without {");
        assert_eq!(message("a}{0..3}"), "it has a } without {");
        assert_eq!(
            message("{0..b}"),
            "{0..b}: \"b\" is no number; a range looks like {000..199}"
        );
        assert_eq!(message("{5..1}"), "{5..1} counts down");
        assert_eq!(
            message("{0..99999999}"),
            "{0..99999999} stands for more than 1000000 names"
        );
        assert_eq!(message("{0..9999}{0..9999}"), "it stands for more than 1000000 names");
    }

    #[test]
    fn globs_match_files_in_order_and_nothing_is_named_twice() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.tar", "a.tar", "c.txt"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let pattern = |name: &str| folder.path().join(name).display().to_string();
        let names = |patterns: &[String]| {
            let shards = expand(patterns)?;
            let last = |shard: &PathBuf| shard.file_name().unwrap().to_string_lossy().into_owned();
            Ok::<_, DataError>(shards.iter().map(last).collect::<Vec<_>>())
        };
        assert_eq!(names(&[pattern("*.tar")]).unwrap(), ["a.tar", "b.tar"]);
        assert_eq!(names(&[pattern("{z,a}.tar")]).unwrap(), ["z.tar", "a.tar"]);
        let nothing = names(&[pattern("*.zip")]).unwrap_err().to_string();
        assert!(nothing.ends_with("*.zip: it matches no file"), "{nothing}");
        let twice = names(&[pattern("*.tar"), pattern("a.tar")]).unwrap_err().to_string();
        assert!(twice.contains("a.tar") && twice.contains("twice"), "{twice}");
        assert!(matches!(names(&[]), Err(DataError::NoShards)));
    }

    #[cfg(not(feature = "remote"))]
    #[test]
    fn a_url_says_what_has_to_be_built() {
        for url in [
            "s3://bucket/{0..1}.tar",
            "gs://bucket/*.tar",
            "http://host/0.tar",
            "https://host/0.tar",
        ] {
            let error = WebDatasetConfig::new([url]).open().unwrap_err().to_string();
            let expected = format!("shards, {url}: this binary was built without the feature remote");
            assert!(
                error.starts_with(&expected) && error.contains("--features remote"),
                "{error}"
            );
        }
    }

    #[test]
    fn sources_of_files_refuse_urls() {
        let error = expand(&["https://u:secret@host/0".to_owned()]).unwrap_err();
        assert_eq!(error.to_string(), format!("shards, https://host/0: {ONLY_SHARDS}"));
        for url in ["https://host/0.parquet?id=1", "s3://bucket/captions.JSONL"] {
            let error = WebDatasetConfig::new([url]).open().unwrap_err();
            assert_eq!(error.to_string(), format!("shards, {url}: {ONLY_SHARDS}"));
        }
    }
}
