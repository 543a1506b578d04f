//! Which samples are used, and which of them show one thing.

use std::collections::HashMap;
use std::path::PathBuf;

use super::WebDatasetConfig;
use super::index::Opened;
use super::sample_list::SampleList;
use super::scan::Scan;
use crate::dataset::DataError;
use crate::report::{MAX_NAMED, OpenReport, Tally};

/// The lists of a configuration.
#[derive(Debug)]
pub(super) struct Lists {
    keep: Option<SampleList>,
    groups: Option<SampleList>,
}

/// Where the samples of a shard stand in the lists.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Places in the list of samples to use.
    kept: Vec<usize>,
    /// Places in the list of groups, each with the sample's number among those that are used.
    grouped: Vec<(Option<usize>, usize)>,
    num_used: usize,
}

/// What is known once all shards are read.
#[derive(Debug)]
pub(super) struct Found {
    kept: Vec<bool>,
    grouped: Vec<bool>,
    first_of_group: HashMap<u64, usize>,
    /// Samples that share a group with an earlier one, and the first one of the group. Ascending.
    pub(super) joined: Vec<(usize, usize)>,
}

impl Lists {
    /// Reads the lists that the configuration names.
    ///
    /// # Errors
    /// As [`SampleList::read`]; an empty list of samples to use.
    pub(super) fn read(config: &WebDatasetConfig, shards: &[PathBuf]) -> Result<Self, DataError> {
        let read = |key, path: &Option<PathBuf>, groups| {
            let path = path.as_deref();
            path.map(|path| SampleList::read(key, path, shards, groups)).transpose()
        };
        let keep = read("keep", &config.keep, false)?;
        match keep {
            Some(keep) if keep.is_empty() => Err(keep.nothing_left()),
            keep => Ok(Self {
                keep,
                groups: read("groups", &config.groups, true)?,
            }),
        }
    }

    /// Whether the shard has samples to use, as far as the lists know.
    pub(super) fn names_shard(&self, shard: usize) -> bool {
        self.keep.as_ref().is_none_or(|keep| keep.names_shard(shard))
    }

    /// Leaves of a shard the samples to use only, and the faults of those that are listed.
    pub(super) fn select(&self, shard: usize, opened: &mut Opened) -> Seen {
        let mut seen = Seen::default();
        let mut keys = std::mem::take(&mut opened.keys).into_iter();
        opened
            .entries
            .retain(|_| keys.next().is_some_and(|key| self.picks(shard, &key, &mut seen)));
        self.select_faults(shard, &mut opened.scan, &mut seen);
        seen
    }

    /// Whether the next usable sample of a shard is one to use.
    pub(super) fn picks(&self, shard: usize, key: &str, seen: &mut Seen) -> bool {
        let used = self.is_used(shard, key, seen);
        if let Some(place) = self.groups.as_ref().and_then(|groups| groups.find(shard, key)) {
            seen.grouped.push((used.then_some(seen.num_used), place));
        }
        seen.num_used += usize::from(used);
        used
    }

    /// Leaves the faults of samples to use.
    pub(super) fn select_faults(&self, shard: usize, scan: &mut Scan, seen: &mut Seen) {
        scan.faulty.retain(|faulty| self.is_used(shard, &faulty.key, seen));
    }

    fn is_used(&self, shard: usize, key: &str, seen: &mut Seen) -> bool {
        let Some(keep) = &self.keep else {
            return true;
        };
        let place = keep.find(shard, key);
        seen.kept.extend(place);
        place.is_some()
    }

    /// Nothing seen yet.
    pub(super) fn found(&self) -> Found {
        let places = |list: &Option<SampleList>| vec![false; list.as_ref().map_or(0, SampleList::len)];
        Found {
            kept: places(&self.keep),
            grouped: places(&self.groups),
            first_of_group: HashMap::new(),
            joined: Vec::new(),
        }
    }

    /// Adds what a shard has, whose first sample is number `start` of all.
    pub(super) fn add(&self, found: &mut Found, seen: Seen, start: usize) {
        seen.kept.into_iter().for_each(|place| found.kept[place] = true);
        let Some(groups) = &self.groups else {
            return;
        };
        for (number, place) in seen.grouped {
            found.grouped[place] = true;
            let Some(sample) = number.map(|number| start + number) else {
                continue;
            };
            let first = *found.first_of_group.entry(groups.group(place)).or_insert(sample);
            if first != sample {
                found.joined.push((sample, first));
            }
        }
    }

    /// Counts what a list names and the shards lack.
    ///
    /// # Errors
    /// A list that names nothing that is there.
    pub(super) fn check(&self, found: &Found, shards: &[PathBuf], report: &mut OpenReport) -> Result<(), DataError> {
        // Where not all samples are used, groups of others are no mistake.
        let groups = self.groups.as_ref().filter(|_| self.keep.is_none());
        let lists = [(self.keep.as_ref(), &found.kept), (groups, &found.grouped)];
        for (list, found) in lists.into_iter().filter_map(|(list, found)| Some((list?, found))) {
            if found.iter().all(|&found| found) && list.num_elsewhere() == 0 {
                continue;
            }
            let mut missing = Tally::default();
            list.for_each_missing(found, shards, |file, sample| {
                missing.add(|| format!("{file}, {sample}"))
            })?;
            // Shards that cannot be read are told as such.
            if !found.contains(&true) && missing.count > 0 && report.broken_files.count == 0 {
                return Err(list.fits_not(&missing.named[0], &shards[0]));
            }
            report.not_found.count += missing.count;
            report.not_found.named.extend(missing.named);
            report.not_found.named.truncate(MAX_NAMED);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::tests::{Shards, good, tar_of};
    use super::*;
    use crate::dataset::{Source, WebDatasetSource};

    /// Samples 0 to 3 and 10 to 13, and a shard whose only sample lacks its image.
    fn shards() -> Shards {
        let no_image = tar_of(&[("0020.txt", b"no image")]);
        Shards::new(&[("0.tar", good(0, 4)), ("1.tar", good(10, 4)), ("2.tar", no_image)])
    }

    fn open(shards: &Shards, keep: Option<&str>, groups: Option<&str>) -> Result<WebDatasetSource, String> {
        let list = |name: &str, text: Option<&str>| {
            text.map(|text| {
                fs::write(shards.path(name), text).unwrap();
                shards.path(name)
            })
        };
        let config = WebDatasetConfig {
            keep: list("keep", keep),
            groups: list("groups", groups),
            ..shards.config("{0..2}.tar")
        };
        let folder = shards.path("").display().to_string();
        config.open().map_err(|error| error.to_string().replace(&folder, ""))
    }

    fn captions(source: &WebDatasetSource) -> Vec<String> {
        (0..source.num_samples())
            .map(|sample| source.captions(sample).unwrap().remove(0))
            .collect()
    }

    #[test]
    fn listed_samples_are_used_and_no_other_is_looked_at() {
        let shards = shards();
        // In any order, twice, with empty lines and keys of others.
        let keep = r#"{"sample": "0011", "file": "1.tar", "sum": 3}

            {"file": "0.tar", "sample": "0002"}
            {"file": "1.tar", "sample": "0011"}
            {"file": "0.tar", "sample": "0000"}"#;
        let source = open(&shards, Some(keep), None).unwrap();
        assert_eq!(captions(&source), ["grey 0", "grey 2", "grey 11"]);
        // The damaged sample is none of those that are used.
        assert!(source.report().is_clean(), "{}", source.report());
        assert_eq!(source.shard_starts(), [0, 2, 3]);
        let damaged = r#"{"file": "2.tar", "sample": "0020"}"#;
        let source = open(&shards, Some(&format!("{keep}\n{damaged}")), None).unwrap();
        assert_eq!((source.num_samples(), source.report().no_image.count), (3, 1));
        assert_eq!(source.report().not_found.count, 0, "it is there");
    }

    #[test]
    fn what_the_shards_lack_is_counted_and_named() {
        let keep = r#"{"file": "0.tar", "sample": "0002"}
            {"file": "0.tar", "sample": "0007"}
            {"file": "7.tar", "sample": "0070"}"#;
        let shards = shards();
        let source = open(&shards, Some(keep), None).unwrap();
        assert_eq!(captions(&source), ["grey 2"]);
        assert_eq!(
            source.report().to_string(),
            "1 samples, listed samples that the shards lack: 2 (0.tar, 0007; 7.tar, 0070)"
        );
    }

    #[test]
    fn samples_of_a_group_have_the_id_of_its_first() {
        let groups = r#"{"file": "1.tar", "sample": "0012", "group": 5}
            {"file": "0.tar", "sample": "0001", "group": 5}
            {"file": "1.tar", "sample": "0010", "group": 5}
            {"file": "0.tar", "sample": "0003", "group": 6}
            {"file": "0.tar", "sample": "0002", "group": 6}
            {"file": "1.tar", "sample": "0013", "group": 7}"#;
        let ids = |source: WebDatasetSource| -> Vec<i64> {
            (0..source.num_samples())
                .map(|sample| source.image_id(sample))
                .collect()
        };
        let shards = shards();
        assert_eq!(
            ids(open(&shards, None, Some(groups)).unwrap()),
            [0, 1, 2, 2, 1, 5, 1, 7]
        );
        let keep = r#"{"file": "1.tar", "sample": "0010"}
            {"file": "1.tar", "sample": "0011"}
            {"file": "1.tar", "sample": "0012"}"#;
        let source = open(&shards, Some(keep), Some(groups)).unwrap();
        assert!(source.report().is_clean(), "{}", source.report());
        assert_eq!(
            ids(source),
            [0, 1, 0],
            "without the first of the group, the next one gives the id"
        );
        assert_eq!(ids(open(&shards, None, Some("")).unwrap()), [0, 1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn mistakes_are_named() {
        let shards = shards();
        let error = |keep: Option<&str>, groups: Option<&str>| open(&shards, keep, groups).unwrap_err();
        let line = r#"{"file": "0.tar", "sample": "0001"}"#;
        assert_eq!(
            error(Some("\n"), None),
            "keep = \"keep\": the list is empty, so that no sample would be left"
        );
        let nowhere = error(Some(r#"{"file": "9.tar", "sample": "0001"}"#), None);
        assert_eq!(
            nowhere,
            "keep = \"keep\": none of its samples is in these shards. One of the list is 9.tar, 0001; the first shard is 0.tar"
        );
        let other_keys = error(None, Some(r#"{"file": "0.tar", "sample": "1", "group": 1}"#));
        assert!(other_keys.contains("One of the list is 0.tar, 1; "), "{other_keys}");
        let example = r#"a line of keep is an object such as {"file": "00000.tar", "sample": "000123"}"#;
        assert_eq!(
            error(Some(&format!("{line}\n\n{{\"file\": \"0.tar\"}}")), None),
            format!("keep, line 3: missing field `sample`; {example}")
        );
        let no_object = error(Some("0.tar 0001"), None);
        assert!(
            no_object.starts_with("keep, line 1: ") && no_object.ends_with(example),
            "{no_object}"
        );
        assert!(error(None, Some(line)).starts_with("groups, line 1: no key \"group\"; "));
        let [one, two] = [1, 2].map(|group| line.replace('}', &format!(r#", "group": {group}}}"#)));
        let both = error(None, Some(&format!("{one}\n{one}\n{two}")));
        assert!(
            both.starts_with("groups, line 3: 0.tar, 0001 is in group 1 already; "),
            "{both}"
        );
        fs::write(shards.path("keep"), line.replace("0.tar", "7.tar")).unwrap();
        let config = WebDatasetConfig {
            keep: Some(shards.path("keep")),
            ..shards.config("{7..8}.tar")
        };
        let no_shard = config.open().unwrap_err().to_string();
        assert!(no_shard.contains("broken shards: 1 ("), "{no_shard}");
        let config = WebDatasetConfig {
            keep: Some("/no/such/list".into()),
            ..shards.config("0.tar")
        };
        assert!(
            config
                .open()
                .unwrap_err()
                .to_string()
                .starts_with("cannot read /no/such/list: ")
        );
    }
}
