//! `emoji.jsonl.gz`: names, groups, split and the cell of each vendor's sheet.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use crate::{dataset::DataError, inflate::inflate};

static CATALOG: &[u8] = include_bytes!("../../../../../assets/emoji/emoji.jsonl.gz");

/// Who drew the picture. Sheets and catalog use these names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Vendor {
    /// Noto Emoji (Google).
    Noto,
    /// Noto Emoji v1, the blobs.
    NotoV1,
    /// Fluent Emoji (Microsoft), shaded.
    Fluent,
    /// Fluent Emoji, flat. 61 % of its pictures nearly equal [`Vendor::Fluent`]'s.
    FluentFlat,
    /// Twemoji; held out from training.
    Twemoji,
    /// EmojiTwo.
    EmojiTwo,
    /// FxEmojis (Mozilla).
    FxEmoji,
}

impl Vendor {
    /// All vendors; `vendor as usize` is its position here.
    pub const ALL: [Self; 7] = [
        Self::Noto,
        Self::NotoV1,
        Self::Fluent,
        Self::FluentFlat,
        Self::Twemoji,
        Self::EmojiTwo,
        Self::FxEmoji,
    ];
    /// The vendor that training never sees.
    pub const HELD_OUT: Self = Self::Twemoji;

    /// Name as in recipes and in the catalog.
    pub fn name(self) -> &'static str {
        [
            "noto",
            "notov1",
            "fluent",
            "fluentflat",
            "twemoji",
            "emojitwo",
            "fxemoji",
        ][self as usize]
    }
}

/// One emoji.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Code points in hexadecimal, joined by `-`.
    pub hex: String,
    /// The emoji as text.
    pub emoji: String,
    /// Name; no two emoji share one.
    pub label: String,
    /// Key words, at least one.
    pub tags: Vec<String>,
    /// Index into [`Catalog::groups`].
    pub group: usize,
    /// Index into [`Catalog::subgroups`].
    pub subgroup: usize,
    /// Whether the emoji is one of the 294 that training never sees.
    pub held_out: bool,
    /// Cell in the sheet of each vendor of [`Vendor::ALL`], row-major.
    pub cells: [Option<u16>; Vendor::ALL.len()],
}

impl Entry {
    /// Whether `vendor` draws it.
    pub fn has(&self, vendor: Vendor) -> bool {
        self.cells[vendor as usize].is_some()
    }
}

/// All emoji with their class names.
#[derive(Clone, Debug)]
pub struct Catalog {
    /// The emoji in Unicode's order.
    pub entries: Vec<Entry>,
    /// The 9 groups in alphabetical order.
    pub groups: Vec<String>,
    /// The 98 subgroups in alphabetical order.
    pub subgroups: Vec<String>,
}

impl Catalog {
    /// The embedded catalog, parsed on first use.
    ///
    /// # Errors
    /// If the file was damaged before it was embedded.
    pub fn embedded() -> Result<&'static Self, DataError> {
        static PARSED: OnceLock<Result<Catalog, String>> = OnceLock::new();
        PARSED
            .get_or_init(|| Self::parse(&inflate(CATALOG).map_err(|error| error.to_string())?))
            .as_ref()
            .map_err(|message| DataError::Embedded {
                file: "assets/emoji/emoji.jsonl.gz",
                message: message.clone(),
            })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let lines = text
            .lines()
            .enumerate()
            .map(|(at, line)| serde_json::from_str(line).map_err(|error| format!("line {}: {error}", at + 1)))
            .collect::<Result<Vec<Line>, _>>()?;
        let groups = distinct(lines.iter().map(|line| &line.group));
        let subgroups = distinct(lines.iter().map(|line| &line.subgroup));
        let entries = lines
            .into_iter()
            .map(|line| Entry {
                group: groups.partition_point(|group| *group < line.group),
                subgroup: subgroups.partition_point(|subgroup| *subgroup < line.subgroup),
                held_out: line.split == Split::Test,
                cells: Vendor::ALL.map(|vendor| line.at.get(&vendor).copied()),
                hex: line.hex,
                emoji: line.emoji,
                label: line.label,
                tags: line.tags,
            })
            .collect();
        Ok(Self {
            entries,
            groups,
            subgroups,
        })
    }
}

fn distinct<'a>(names: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut names: Vec<String> = names.cloned().collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[derive(Deserialize)]
struct Line {
    hex: String,
    emoji: String,
    label: String,
    tags: Vec<String>,
    group: String,
    subgroup: String,
    split: Split,
    at: BTreeMap<Vendor, u16>,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Split {
    Train,
    Test,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalog_has_the_published_counts() {
        let catalog = Catalog::embedded().unwrap();
        assert_eq!(catalog.entries.len(), 1914);
        assert_eq!(catalog.groups.len(), 9);
        assert_eq!(catalog.subgroups.len(), 98);
        assert_eq!(catalog.entries.iter().filter(|entry| entry.held_out).count(), 294);
        assert_eq!(
            catalog.entries.iter().flat_map(|entry| entry.cells).flatten().count(),
            9998
        );
        let first = &catalog.entries[0];
        assert_eq!((first.label.as_str(), first.emoji.as_str()), ("grinning face", "😀"));
        assert_eq!(catalog.groups[first.group], "smileys & emotion");
        assert_eq!(catalog.subgroups[first.subgroup], "smiling");
    }

    #[test]
    fn vendors_are_spelt_alike_in_code_and_files() {
        for vendor in Vendor::ALL {
            assert_eq!(serde_json::to_value(vendor).unwrap(), vendor.name());
            assert_eq!(Vendor::ALL[vendor as usize], vendor);
        }
    }

    #[test]
    fn a_damaged_line_is_named() {
        let message = Catalog::parse("{\"hex\": 1}").unwrap_err();
        assert!(message.starts_with("line 1:"), "{message}");
    }
}
