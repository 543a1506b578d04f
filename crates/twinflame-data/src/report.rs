//! What was found wrong with the data: counted by kind, the first few named.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::dataset::{Place, SampleError};

/// How many cases of one kind are named; the rest is only counted.
pub const MAX_NAMED: usize = 5;

/// A count with its first [`MAX_NAMED`] cases.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Number of cases.
    pub count: usize,
    /// The first cases, in the order in which they were found.
    pub named: Vec<String>,
}

impl Tally {
    /// Counts a case; `name` is called only while names are still kept.
    pub fn add(&mut self, name: impl FnOnce() -> String) {
        self.count += 1;
        if self.named.len() < MAX_NAMED {
            self.named.push(name());
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}", self.count, self.named.join("; "))?;
        if self.count > self.named.len() {
            write!(f, "; …")?;
        }
        write!(f, ")")
    }
}

/// What opening a source found.
///
/// Rows with a missing file or without any caption, and samples of a shard that lack a part, are left out of the source; a
/// duplicate id is only reported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// Samples that the source offers.
    pub num_samples: usize,
    /// Rows whose image file does not exist (rows left out).
    pub missing_files: Tally,
    /// Captions that are empty or only white space (captions left out, and the row with its last one).
    pub empty_captions: Tally,
    /// Image ids given to a second image file.
    pub duplicate_ids: Tally,
    /// Shards that cannot be read to their end (what comes behind left out).
    pub broken_files: Tally,
    /// Samples without an image.
    pub no_image: Tally,
    /// Samples without a caption.
    pub no_caption: Tally,
    /// Samples whose caption is no text, or not where it should be.
    pub bad_captions: Tally,
    /// Samples with two members of one name.
    pub twice_named: Tally,
    /// Samples that a list of the configuration names and its shards lack.
    pub not_found: Tally,
    /// Every sample and shard that was left out, for sources of shards, whose budget bounds it.
    pub skipped: Vec<Skipped>,
}

/// Something that was left out: a line of a replay list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// The shard, of samples that lie in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The sample, by its key in the shard; none where the shard itself is broken.
    pub sample: Option<String>,
    /// Why.
    pub reason: String,
}

impl Skipped {
    pub(crate) fn unreadable(Place { file, sample }: Place, error: &SampleError) -> Self {
        // The line names them already.
        let reason = error.without_name(&[file.as_deref().unwrap_or(&sample), &sample]);
        Self {
            file,
            sample: Some(sample),
            reason,
        }
    }
}

/// The lines of a replay list, in JSON: what opening left out and what could not be read after it.
pub fn replay_list<'a>(opened: &'a OpenReport, bad: &'a BadSamples) -> impl Iterator<Item = String> + 'a {
    let skipped = opened.skipped.iter().chain(bad.samples());
    // Texts always serialise.
    skipped.map(|skipped| serde_json::to_string(skipped).unwrap_or_default())
}

impl OpenReport {
    /// Whether nothing was found.
    pub fn is_clean(&self) -> bool {
        self.tallies().iter().all(|tally| tally.count == 0)
    }

    /// Counts what opening a part found, called `name`.
    pub(crate) fn join(&mut self, name: &str, part: &Self) {
        self.num_samples += part.num_samples;
        for (all, tally) in self.tallies_mut().into_iter().zip(part.tallies()) {
            let room = MAX_NAMED.saturating_sub(all.named.len());
            all.count += tally.count;
            all.named
                .extend(tally.named.iter().take(room).map(|case| format!("{name}: {case}")));
        }
        self.skipped.extend(part.skipped.iter().cloned());
    }

    fn tallies_mut(&mut self) -> [&mut Tally; KINDS.len()] {
        [
            &mut self.missing_files,
            &mut self.empty_captions,
            &mut self.duplicate_ids,
            &mut self.broken_files,
            &mut self.no_image,
            &mut self.no_caption,
            &mut self.bad_captions,
            &mut self.twice_named,
            &mut self.not_found,
        ]
    }

    fn tallies(&self) -> [&Tally; KINDS.len()] {
        [
            &self.missing_files,
            &self.empty_captions,
            &self.duplicate_ids,
            &self.broken_files,
            &self.no_image,
            &self.no_caption,
            &self.bad_captions,
            &self.twice_named,
            &self.not_found,
        ]
    }
}

/// What the tallies of an [`OpenReport`] count, in their order.
const KINDS: [&str; 9] = [
    "missing image files",
    "empty captions",
    "ids given to several image files",
    "broken shards",
    "samples without an image",
    "samples without a caption",
    "unreadable captions",
    "samples with two members of one name",
    "listed samples that the shards lack",
];

impl fmt::Display for OpenReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} samples", self.num_samples)?;
        for (what, tally) in KINDS.iter().zip(self.tallies()).filter(|(_, tally)| tally.count > 0) {
            write!(f, ", {what}: {tally}")?;
        }
        Ok(())
    }
}

/// Samples that could not be turned into pixels and tokens, each counted once, by reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BadSamples {
    by_reason: BTreeMap<String, Tally>,
    samples: BTreeMap<usize, Skipped>,
}

impl BadSamples {
    /// Counts sample `index`, which is at `place`, unless it is counted already.
    pub fn add(&mut self, index: usize, error: &SampleError, place: impl FnOnce() -> Place) {
        if let Entry::Vacant(entry) = self.samples.entry(index) {
            entry.insert(Skipped::unreadable(place(), error));
            let reason = error.reason().to_owned();
            self.by_reason.entry(reason).or_default().add(|| error.to_string());
        }
    }

    /// Number of distinct bad samples.
    pub fn total(&self) -> usize {
        self.samples.len()
    }

    /// Each of them, by its index.
    pub fn samples(&self) -> impl Iterator<Item = &Skipped> {
        self.samples.values()
    }

    /// Counts and first names by reason.
    pub fn by_reason(&self) -> &BTreeMap<String, Tally> {
        &self.by_reason
    }
}

impl fmt::Display for BadSamples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} unreadable samples", self.total())?;
        for (reason, tally) in &self.by_reason {
            write!(f, "; {reason}: {tally}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::path::PathBuf;

    #[test]
    fn a_sample_counts_once_and_only_the_first_are_named() {
        let at = |sample: String| Place {
            file: Some("1.tar".to_owned()),
            sample,
        };
        let mut bad = BadSamples::default();
        for index in (0..8).chain(0..8) {
            let name = format!("1.tar, {index}.png");
            let message = "no text".to_owned();
            bad.add(index, &SampleError::Caption { name, message }, || at(index.to_string()));
        }
        let path = PathBuf::from("1.tar");
        let source = io::Error::other("gone");
        bad.add(9, &SampleError::Read { path, source }, || at("9".to_owned()));
        assert_eq!(bad.total(), 9);
        assert_eq!(
            bad.to_string(),
            "9 unreadable samples; cannot read file: 1 (1.tar: gone); unreadable caption: 8 (1.tar, 0.png: no text; \
             1.tar, 1.png: no text; 1.tar, 2.png: no text; 1.tar, 3.png: no text; 1.tar, 4.png: no text; …)"
        );
        let report = OpenReport {
            skipped: vec![Skipped {
                file: Some("2.tar".to_owned()),
                sample: None,
                reason: "cut short".to_owned(),
            }],
            ..OpenReport::default()
        };
        let lines: Vec<String> = replay_list(&report, &bad).collect();
        assert_eq!(lines[0], r#"{"file":"2.tar","sample":null,"reason":"cut short"}"#);
        assert_eq!(lines[8], r#"{"file":"1.tar","sample":"7","reason":"no text"}"#);
        assert_eq!(lines[9], r#"{"file":"1.tar","sample":"9","reason":"gone"}"#);
    }

    #[test]
    fn a_clean_report_says_only_the_size() {
        let mut report = OpenReport {
            num_samples: 3,
            ..OpenReport::default()
        };
        assert!(report.is_clean());
        assert_eq!(report.to_string(), "3 samples");
        report.missing_files.add(|| "a.jpg".to_owned());
        assert!(!report.is_clean());
        assert_eq!(report.to_string(), "3 samples, missing image files: 1 (a.jpg)");
    }
}
