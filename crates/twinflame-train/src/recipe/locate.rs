//! Where a key stands in a TOML text: serde's errors name it without its section, and for a tagged
//! section only the section.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

/// One key of a TOML text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Dotted path from the root, such as `data.train.split`.
    pub(super) path: String,
    /// Bytes of the key itself.
    pub(super) key: Range<usize>,
    /// Bytes of its value.
    value: Range<usize>,
}

/// All keys of a text in reading order; empty for a text that is not TOML.
pub(super) fn places(text: &str) -> Vec<Place> {
    let mut found = Vec::new();
    if let Ok(table) = DeTable::parse(text) {
        walk(table.get_ref(), "", &mut found);
    }
    found.sort_by_key(|place| place.key.start);
    found
}

fn walk(table: &DeTable<'_>, prefix: &str, found: &mut Vec<Place>) {
    for (key, value) in table {
        let path = match prefix {
            "" => key.get_ref().to_string(),
            _ => format!("{prefix}.{}", key.get_ref()),
        };
        found.push(Place {
            path: path.clone(),
            key: key.span(),
            value: value.span(),
        });
        if let DeValue::Table(inner) = value.get_ref() {
            walk(inner, &path, found);
        }
    }
}

/// The key that an error is about: the one named `name` at or after the error's bytes, else the one
/// whose key or value holds them.
pub(super) fn find(places: &[Place], span: &Range<usize>, name: Option<&str>) -> Option<Place> {
    let named = name.and_then(|name| {
        places
            .iter()
            .filter(|place| place.path.rsplit('.').next() == Some(name))
            .find(|place| place.key.start >= span.start)
    });
    named
        .or_else(|| {
            places
                .iter()
                .rev()
                .find(|place| place.key == *span || (place.value.start <= span.start && span.end <= place.value.end))
        })
        .cloned()
}

/// The key with exactly this path, else its nearest parent that is written in the text.
pub(super) fn find_path(places: &[Place], path: &str) -> Option<Place> {
    let mut path = path;
    loop {
        if let Some(place) = places.iter().find(|place| place.path == path) {
            return Some(place.clone());
        }
        path = path.rsplit_once('.')?.0;
    }
}

/// Line and text of the line of a byte offset, counted from 1.
pub(super) fn line_of(text: &str, offset: usize) -> (usize, &str) {
    let offset = offset.min(text.len());
    let line = text.as_bytes()[..offset].iter().filter(|&&byte| byte == b'\n').count();
    (line + 1, text.lines().nth(line).unwrap_or_default().trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "name = \"x\"\n[data.train]\nkind = \"emoji\"\nsplit = 3\n[optim]\nlr = 1\n";

    #[test]
    fn every_key_has_its_path() {
        let paths: Vec<_> = places(TEXT).into_iter().map(|place| place.path).collect();
        for path in ["name", "data.train.kind", "data.train.split", "optim.lr"] {
            assert!(paths.iter().any(|found| found == path), "{path} in {paths:?}");
        }
    }

    #[test]
    fn a_named_key_is_found_behind_the_section_that_serde_points_at() {
        let start = TEXT.find("[data").unwrap();
        let place = find(&places(TEXT), &(start..start + 12), Some("split")).unwrap();
        assert_eq!(place.path, "data.train.split");
        assert_eq!(line_of(TEXT, place.key.start), (4, "split = 3"));
    }

    #[test]
    fn a_missing_key_falls_back_to_its_section() {
        assert_eq!(find_path(&places(TEXT), "optim.warmup").unwrap().path, "optim");
        assert_eq!(find_path(&places(TEXT), "nothing"), None);
    }
}
