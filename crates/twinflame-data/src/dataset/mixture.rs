//! Several sources as one, in stated proportions.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::rngs::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::{Classes, Counterpart, DataConfig, DataError, Draw, SampleError, Share, Source};
use crate::decode::DecodedImage;
use crate::report::OpenReport;
use crate::seed::{Purpose, derive};

/// Several sources, each with its share of an epoch.
///
/// ```toml
/// [data.train]
/// kind = "mixture"
/// samples_per_epoch = 1_000_000
///
/// [data.train.sources.cc3m]
/// kind = "webdataset"
/// shards = "cc3m/{00000..00331}.tar"
/// weight = 3.0
///
/// [data.train.sources.own]
/// kind = "folder"
/// path = "photos"
/// weight = 1.0
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MixtureConfig {
    /// Samples that make an epoch, rounded down to full batches. Left out: as many as the sources have together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples_per_epoch: Option<usize>,
    /// The sources by name, which reports use.
    pub sources: BTreeMap<String, MixturePart>,
}

/// A source of a mixture: the keys of `[data.train]` and its weight.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MixturePart {
    /// Part of the epoch that is of this source, relative to the weights of the others. An epoch of 1000 with weights of 3 and 1
    /// has 750 and 250. Within a source nothing is repeated before all of it was used, across epochs too. Left out in all:
    /// every sample is as likely as any other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
    /// The source. Not a mixture itself.
    #[serde(flatten)]
    pub data: DataConfig,
}

impl MixtureConfig {
    /// Opens all sources.
    ///
    /// # Errors
    /// Weights that are no proportions, a source that cannot be part of a mixture, and what opening one says, with its name.
    pub fn open(&self) -> Result<MixtureSource, DataError> {
        self.validate()?;
        let mut parts = Vec::with_capacity(self.sources.len());
        for (name, part) in &self.sources {
            let in_part = |error: DataError| DataError::Part {
                name: name.clone(),
                source: Box::new(error),
            };
            let source = part.data.open().map_err(in_part)?;
            let num_together = source.num_together();
            if num_together > 1 {
                return Err(DataError::PartTogether {
                    name: name.clone(),
                    num_together,
                });
            }
            parts.push((name.clone(), source, part.weight));
        }
        Ok(MixtureSource::new(parts, self.samples_per_epoch))
    }

    fn validate(&self) -> Result<(), DataError> {
        let wrong = |key: String, value: String, expected: &str| DataError::Setting {
            key: key.into(),
            value,
            expected: expected.to_owned(),
        };
        if self.sources.is_empty() {
            return Err(wrong("sources".into(), "{}".into(), "name at least one source"));
        }
        if self.samples_per_epoch == Some(0) {
            return Err(wrong("samples_per_epoch".into(), "0".into(), "at least 1"));
        }
        let weighted = self.sources.values().filter(|part| part.weight.is_some()).count();
        for (name, MixturePart { weight, data }) in &self.sources {
            if matches!(data, DataConfig::Mixture(_)) {
                let kind = format!("sources.{name}.kind");
                return Err(wrong(kind, "\"mixture\"".into(), "list its sources here"));
            }
            let key = || format!("sources.{name}.weight");
            match weight {
                Some(weight) if !(weight.is_finite() && *weight > 0.0) => {
                    return Err(wrong(key(), weight.to_string(), "a weight is a number above 0"));
                }
                None if weighted > 0 => {
                    return Err(wrong(key(), "(none)".into(), "other sources have one: give it too"));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// The samples of several sources, one behind the other. How often each comes in training is in [`Source::shares`].
#[derive(Debug)]
pub struct MixtureSource {
    sources: Vec<Arc<dyn Source>>,
    shares: Vec<Share>,
    shard_starts: Vec<usize>,
    samples_per_epoch: usize,
    report: OpenReport,
}

impl MixtureSource {
    /// Sources with names and weights; `None` for as likely as its number of samples makes it.
    ///
    /// # Panics
    /// If there is none, or some have a weight and others have none.
    fn new(parts: Vec<(String, Arc<dyn Source>, Option<f64>)>, samples_per_epoch: Option<usize>) -> Self {
        let (mut sources, mut shares, mut shard_starts) = (Vec::new(), Vec::new(), Vec::new());
        let (mut start, mut report) = (0, OpenReport::default());
        for (name, source, weight) in parts {
            let samples = start..start + source.num_samples();
            // A source without shards is one shard.
            match source.shard_starts() {
                [] => shard_starts.push(start),
                starts => shard_starts.extend(starts.iter().map(|at| start + at)),
            }
            start = samples.end;
            report.join(&name, source.report());
            shares.push(Share {
                name,
                weight: weight.unwrap_or(samples.len() as f64),
                samples,
            });
            sources.push(source);
        }
        // Without shards in any part they would only say which part is which.
        if sources.iter().all(|source| source.shard_starts().is_empty()) {
            shard_starts.clear();
        }
        Self {
            sources,
            shares,
            shard_starts,
            samples_per_epoch: samples_per_epoch.unwrap_or(start),
            report,
        }
    }

    /// The part that sample `index` is of, and its index there.
    fn part(&self, index: usize) -> (usize, usize) {
        let part = part_of(&self.shares, index);
        (part, index - self.shares[part].samples.start)
    }

    fn of(&self, index: usize) -> (&dyn Source, usize) {
        let (part, local) = self.part(index);
        (self.sources[part].as_ref(), local)
    }

    /// What every part has, each with the index of its first sample and a number of its own.
    fn parts(&self) -> impl Iterator<Item = (usize, usize, &dyn Source)> {
        let numbered = self.sources.iter().zip(&self.shares).enumerate();
        numbered.map(|(part, (source, share))| (part, share.samples.start, source.as_ref()))
    }
}

/// Ids of different sources have nothing to do with each other, though each may count from 0.
fn id_in_part(part: usize, id: i64) -> i64 {
    derive(part as u64, Purpose::Part, 0, id as usize) as i64
}

impl Source for MixtureSource {
    fn num_samples(&self) -> usize {
        self.shares.last().map_or(0, |share| share.samples.end)
    }

    fn image_id(&self, index: usize) -> i64 {
        let (part, local) = self.part(index);
        id_in_part(part, self.sources[part].image_id(local))
    }

    fn shard_starts(&self) -> &[usize] {
        &self.shard_starts
    }

    fn shares(&self) -> &[Share] {
        &self.shares
    }

    fn samples_per_epoch(&self) -> usize {
        self.samples_per_epoch
    }

    fn name(&self, index: usize) -> String {
        let (part, local) = self.part(index);
        format!("{}: {}", self.shares[part].name, self.sources[part].name(local))
    }

    fn draw(&self, index: usize, rng: &mut ChaCha8Rng) -> Result<Draw, SampleError> {
        let (source, local) = self.of(index);
        Ok(Draw {
            image_id: self.image_id(index),
            ..source.draw(local, rng)?
        })
    }

    fn draw_caption(&self, index: usize, rng: &mut ChaCha8Rng) -> Result<String, SampleError> {
        let (source, local) = self.of(index);
        source.draw_caption(local, rng)
    }

    fn image(&self, index: usize) -> Result<DecodedImage, SampleError> {
        let (source, local) = self.of(index);
        source.image(local)
    }

    fn encoded(&self, index: usize) -> Result<(&'static str, Vec<u8>), SampleError> {
        let (source, local) = self.of(index);
        source.encoded(local)
    }

    fn captions(&self, index: usize) -> Result<Vec<String>, SampleError> {
        let (source, local) = self.of(index);
        source.captions(local)
    }

    fn eval_images(&self) -> Vec<usize> {
        let of_part = |(_, start, source): (usize, usize, &dyn Source)| {
            let images = source.eval_images().into_iter();
            images.map(move |image| start + image).collect::<Vec<_>>()
        };
        self.parts().flat_map(of_part).collect()
    }

    fn eval_captions(&self) -> Result<Vec<(i64, String)>, SampleError> {
        let mut captions = Vec::new();
        for (part, _, source) in self.parts() {
            let of_part = source.eval_captions()?.into_iter();
            captions.extend(of_part.map(|(id, caption)| (id_in_part(part, id), caption)));
        }
        Ok(captions)
    }

    /// Those of each part, under the part's name; samples of other parts have no label.
    fn classes(&self) -> Vec<Classes> {
        let mut sets = Vec::new();
        for (part, start, source) in self.parts() {
            for Classes { name, names, labels } in source.classes() {
                let mut all = vec![None; self.num_samples()];
                all[start..start + labels.len()].clone_from_slice(&labels);
                sets.push(Classes {
                    name: format!("{name} of {}", self.shares[part].name),
                    names,
                    labels: all,
                });
            }
        }
        sets
    }

    fn counterparts(&self) -> Vec<Counterpart> {
        let of_part = |(_, start, source): (usize, usize, &dyn Source)| {
            let counterparts = source.counterparts().into_iter();
            let moved = counterparts.map(move |counterpart| Counterpart {
                image: start + counterpart.image,
                ..counterpart
            });
            moved.collect::<Vec<_>>()
        };
        self.parts().flat_map(of_part).collect()
    }

    fn report(&self) -> &OpenReport {
        &self.report
    }
}

/// Which part has sample `index`; their number, if none has.
fn part_of(shares: &[Share], index: usize) -> usize {
    shares.partition_point(|share| share.samples.end <= index)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use rand::SeedableRng;

    use super::*;
    use crate::dataset::{EmojiConfig, EmojiSplit, EvalSet, ScenesConfig};

    fn emoji(split: EmojiSplit, weight: Option<f64>) -> MixturePart {
        let config = EmojiConfig {
            split,
            ..EmojiConfig::default()
        };
        MixturePart {
            weight,
            data: DataConfig::Emoji(config),
        }
    }

    fn mixture(parts: [(&str, MixturePart); 2]) -> MixtureConfig {
        MixtureConfig {
            samples_per_epoch: None,
            sources: parts.map(|(name, part)| (name.to_owned(), part)).into(),
        }
    }

    #[test]
    fn samples_are_those_of_the_parts() {
        let config = mixture([
            ("a", emoji(EmojiSplit::A, Some(3.0))),
            ("b", emoji(EmojiSplit::B, Some(1.0))),
        ]);
        let source = config.open().unwrap();
        let parts = [EmojiSplit::A, EmojiSplit::B].map(|split| emoji(split, None).data.open().unwrap());
        let sizes = parts.each_ref().map(|part| part.num_samples());
        assert_eq!(source.num_samples(), sizes[0] + sizes[1]);
        assert_eq!(source.samples_per_epoch(), sizes[0] + sizes[1]);
        let shares: Vec<_> = source
            .shares()
            .iter()
            .map(|share| (share.samples.clone(), share.weight))
            .collect();
        assert_eq!(shares, [(0..sizes[0], 3.0), (sizes[0]..sizes[0] + sizes[1], 1.0)]);
        for (part, start, index) in [
            (0, 0, 0),
            (0, 0, sizes[0] - 1),
            (1, sizes[0], 0),
            (1, sizes[0], sizes[1] - 1),
        ] {
            let ours = start + index;
            assert_eq!(source.captions(ours).unwrap(), parts[part].captions(index).unwrap());
            assert_eq!(
                source.name(ours),
                format!("{}: {}", ["a", "b"][part], parts[part].name(index))
            );
            let rng = || ChaCha8Rng::seed_from_u64(9);
            let drawn = source.draw(ours, &mut rng()).unwrap();
            assert_eq!(drawn.caption, parts[part].draw(index, &mut rng()).unwrap().caption);
            assert_eq!(drawn.image_id, source.image_id(ours));
        }
        assert!(source.shard_starts().is_empty());
    }

    #[test]
    fn an_evaluation_keeps_the_parts_apart() {
        // Twice the same source: its ids must not meet.
        let source = mixture([("a", emoji(EmojiSplit::A, None)), ("b", emoji(EmojiSplit::A, None))])
            .open()
            .unwrap();
        let one = EvalSet::new(emoji(EmojiSplit::A, None).data.open().unwrap()).unwrap();
        let ids: HashSet<i64> = (0..source.num_samples()).map(|index| source.image_id(index)).collect();
        let half = source.num_samples() / 2;
        let of_half: HashSet<i64> = (0..half).map(|index| source.image_id(index)).collect();
        assert_eq!(ids.len(), 2 * of_half.len());
        let classes = source.classes();
        assert!(classes[0].name.ends_with(" of a") && classes[0].labels[half..].iter().all(Option::is_none));
        let both = EvalSet::new(Arc::new(source)).unwrap();
        assert_eq!(both.num_images(), 2 * one.num_images());
        assert_eq!(both.num_captions(), 2 * one.num_captions());
    }

    #[test]
    fn a_recipe_names_the_sources() {
        let text = r#"{"kind": "mixture", "samples_per_epoch": 500, "sources": {
            "a": {"kind": "emoji", "split": "a", "weight": 2}, "s": {"kind": "emoji-scenes", "weight": 0.5}}}"#;
        let config: DataConfig = serde_json::from_str(text).unwrap();
        let scenes = MixturePart {
            weight: Some(0.5),
            data: DataConfig::Scenes(ScenesConfig::default()),
        };
        let expected = MixtureConfig {
            samples_per_epoch: Some(500),
            ..mixture([("a", emoji(EmojiSplit::A, Some(2.0))), ("s", scenes)])
        };
        assert_eq!(config, DataConfig::Mixture(expected));
        let written = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<DataConfig>(&written).unwrap(), config);
        assert_eq!(config.open().unwrap().samples_per_epoch(), 500);
        let typo = text.replace("split", "splt");
        let error = serde_json::from_str::<DataConfig>(&typo).unwrap_err().to_string();
        assert!(error.contains("unknown field `splt`"), "{error}");
    }

    #[test]
    fn mistakes_are_named() {
        let message = |config: MixtureConfig| config.open().unwrap_err().to_string();
        let a = || emoji(EmojiSplit::A, Some(1.0));
        assert_eq!(
            message(mixture([("a", a()), ("b", emoji(EmojiSplit::B, None))])),
            "sources.b.weight = (none): other sources have one: give it too"
        );
        assert_eq!(
            message(mixture([("a", a()), ("b", emoji(EmojiSplit::B, Some(-1.0)))])),
            "sources.b.weight = -1: a weight is a number above 0"
        );
        let nested = MixturePart {
            weight: Some(1.0),
            data: DataConfig::Mixture(mixture([("a", a()), ("b", a())])),
        };
        assert!(message(mixture([("a", a()), ("n", nested)])).starts_with("sources.n.kind = \"mixture\""));
        let none = MixtureConfig {
            samples_per_epoch: None,
            sources: BTreeMap::new(),
        };
        assert_eq!(message(none), "sources = {}: name at least one source");
        let folder = MixturePart {
            weight: Some(1.0),
            data: serde_json::from_str(r#"{"kind": "folder", "path": "/no/such"}"#).unwrap(),
        };
        let error = message(mixture([("a", a()), ("own", folder)]));
        assert!(
            error.starts_with("sources.own: data path /no/such is not a folder"),
            "{error}"
        );
        let together = ScenesConfig {
            counterparts: true,
            ..ScenesConfig::default()
        };
        let scenes = MixturePart {
            weight: Some(1.0),
            data: DataConfig::Scenes(together),
        };
        assert!(
            message(mixture([("a", a()), ("s", scenes)])).starts_with("sources.s: 2 of its samples belong together")
        );
    }
}
