//! URLs of shards, as users write them.

/// Whether a text is a URL and no path: it begins with `name://`.
///
/// ```
/// # use twinflame_data::dataset::is_url;
/// assert!(is_url("s3://bucket/00000.tar") && !is_url("data/00000.tar"));
/// ```
pub fn is_url(text: &str) -> bool {
    let scheme = text.split_once("://").map_or("", |(scheme, _)| scheme);
    scheme.len() > 1
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// Whether a URL ends as another kind of data does. Tar shards may have any ending, signed ones among them.
pub(super) fn is_no_shard(url: &str) -> bool {
    const OTHERS: [&str; 7] = ["csv", "json", "jsonl", "parquet", "toml", "tsv", "txt"];
    let path = url.split_once('?').map_or(url, |(path, _)| path);
    let ending = path.rsplit_once('.').map_or("", |(_, ending)| ending);
    OTHERS.iter().any(|other| ending.eq_ignore_ascii_case(other))
}

/// A URL without what must not be shown: passwords, and the values of signed parameters.
pub(super) fn masked(url: &str) -> String {
    const SECRET: [&str; 10] = [
        "x-amz-",
        "x-goog-",
        "signature",
        "token",
        "accesskey",
        "apikey",
        "api_key",
        "credential",
        "secret",
        "passw",
    ];
    let secret = |name: &str| name == "sig" || SECRET.iter().any(|part| name.contains(part));
    let (rest, query) = url
        .split_once('?')
        .map_or((url, None), |(rest, query)| (rest, Some(query)));
    let mut shown = match rest.split_once("://") {
        Some((scheme, rest)) => {
            let host_end = rest.find('/').unwrap_or(rest.len());
            let host = rest[..host_end].rfind('@').map_or(0, |at| at + 1);
            format!("{scheme}://{}", &rest[host..])
        }
        None => rest.to_owned(),
    };
    for (number, part) in query.into_iter().flat_map(|query| query.split('&')).enumerate() {
        shown.push(if number == 0 { '?' } else { '&' });
        match part.split_once('=') {
            Some((name, _)) if secret(&name.to_lowercase()) => {
                shown.push_str(&format!("{name}=…"));
            }
            _ => shown.push_str(part),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_told_from_paths() {
        for url in ["http://h/a.tar", "s3://b/{0..3}.tar", "ftp://h/a"] {
            assert!(is_url(url), "{url}");
        }
        for path in ["a.tar", "/d/a.tar", "C:\\a.tar", "{0..3}.tar", "a b://c", "://a"] {
            assert!(!is_url(path), "{path}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        assert_eq!(masked("https://u:p@host/a@b.tar"), "https://host/a@b.tar");
        assert_eq!(
            masked("https://h/a.tar?id=7&X-Amz-Signature=abc&AWSAccessKeyId=x"),
            "https://h/a.tar?id=7&X-Amz-Signature=…&AWSAccessKeyId=…"
        );
        assert_eq!(masked("s3://bucket/a.tar"), "s3://bucket/a.tar");
    }
}
