//! Which scenes, and how many.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::{CaptionStyle, NUM_KNOWN, Relation};
use crate::dataset::emoji::{Vendor, choose_vendors};
use crate::dataset::{CaptionNoise, DataError};

/// Scenes of a test set if the configuration does not say.
const TEST_SCENES: usize = 500;
/// Scenes of a training epoch if the configuration does not say.
const TRAIN_SCENES: usize = 8192;

/// What is new about the scenes of a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScenesSplit {
    /// Training: the first `num_emoji` emoji, all vendors but twemoji, no held-out pair.
    #[default]
    Train,
    /// Nothing: other scenes of what training shows.
    Known,
    /// The pair: each scene has one of the held-out pairs, whose emoji training shows only beside others.
    Pairs,
    /// One emoji: each scene has exactly one of the 16 held-out emoji among known ones. Training captions do not have its
    /// name either, so that it can be told by what is left over: of a dog and something unknown, the unknown word is the
    /// latter.
    Emoji,
    /// The style: known emoji and pairs as twemoji draws them.
    Vendor,
}

impl ScenesSplit {
    /// Name as in recipes.
    #[must_use]
    pub fn name(self) -> &'static str {
        ["train", "known", "pairs", "emoji", "vendor"][self as usize]
    }

    /// Vendors whose pictures the split has.
    #[must_use]
    pub fn vendors(self) -> Vec<Vendor> {
        let held_out = self == Self::Vendor;
        let vendors = Vendor::ALL.into_iter();
        vendors
            .filter(|&vendor| (vendor == Vendor::HELD_OUT) == held_out)
            .collect()
    }
}

/// `kind = "emoji-scenes"`: scenes made of the embedded emoji.
///
/// ```toml
/// [tokenizer]
/// kind = "bert"
/// vocab = "scenes"                # 113 entries: the words of these captions
///
/// [data.train]
/// kind = "emoji-scenes"
/// num_emoji = 16
/// objects = [2, 3]
/// caption_noise = 0.4             # 40 % of the captions are of other scenes
///
/// [data.test.pairs]
/// kind = "emoji-scenes"
/// split = "pairs"
/// num_emoji = 16
/// objects = [2, 3]
/// ```
///
/// Training and test sets of one task need the same `num_emoji`; which pairs are held out depends on nothing else. Leave
/// out horizontal flips: captions tell left from right.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScenesConfig {
    /// Part of the set. Default `train`.
    pub split: ScenesSplit,
    /// How many emoji the scenes are made of, 8 to 64, the first of [`EMOJI`](super::EMOJI). Fewer are easier to
    /// learn. Default 32.
    pub num_emoji: usize,
    /// Fewer vendors than the split has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vendors: Option<Vec<Vendor>>,
    /// Scenes of an epoch (default 8192), or of a test set (default 500: 250 scenes and 250 with two objects exchanged).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_scenes: Option<usize>,
    /// Fewest and most objects of a scene, within 2 to 4. Default `[2, 4]`.
    pub objects: [usize; 2],
    /// Side of the square pictures in pixels, 32 to 512. Default 64.
    pub image_size: u32,
    /// Probability that the background is white. Default .5.
    pub white_prob: f64,
    /// Probability that an object has a colour of our choice instead of its own ones. Default .2.
    pub tint_prob: f64,
    /// How far an object may be from the middle of its quarter of the picture, from 0 (not at all) to 1 (anywhere in
    /// it). Less is easier to learn. Default 1.
    pub jitter: f64,
    /// Captions of a scene in evaluation, 1 to 5. Default 3.
    pub num_captions: usize,
    /// Relations that captions state: `left`, `right`, `above`, `below`. Default all.
    pub relations: Vec<Relation>,
    /// Whether captions say no more than what is where: a relation wherever one that they may state holds, in one wording, without
    /// sizes and backgrounds.
    /// Default false.
    pub plain_captions: bool,
    /// Whether each pass over the training data shows new scenes (default), or always the same ones with other captions.
    pub fresh: bool,
    /// Whether each training scene is followed, in the same batch, by the one with two objects exchanged, as test sets
    /// have them: a negative that only what is where tells apart. All captions then say where these two are, and the
    /// exchanged scenes count in `num_scenes`. Default false.
    pub counterparts: bool,
    /// Chooses the scenes of a test set, and those of training if they are not fresh. Default 0.
    pub seed: u64,
    /// Share of training captions that are replaced by others, see [`CaptionNoise`]. Default 0.
    #[serde(skip_serializing_if = "CaptionNoise::is_none")]
    pub caption_noise: CaptionNoise,
}

impl Default for ScenesConfig {
    fn default() -> Self {
        Self {
            split: ScenesSplit::Train,
            num_emoji: 32,
            vendors: None,
            num_scenes: None,
            objects: [2, 4],
            image_size: 64,
            white_prob: 0.5,
            tint_prob: 0.2,
            jitter: 1.0,
            num_captions: 3,
            relations: Relation::ALL.to_vec(),
            plain_captions: false,
            fresh: true,
            counterparts: false,
            seed: 0,
            caption_noise: CaptionNoise::default(),
        }
    }
}

impl ScenesConfig {
    /// Scenes of the set.
    #[must_use]
    pub fn scenes(&self) -> usize {
        self.num_scenes.unwrap_or(match self.split {
            ScenesSplit::Train => TRAIN_SCENES,
            _ => TEST_SCENES,
        })
    }

    /// What captions may say.
    pub(super) fn caption_style(&self) -> CaptionStyle {
        CaptionStyle {
            relations: self.relations.clone(),
            plain: self.plain_captions,
        }
    }

    /// Checks all values and returns the vendors to use.
    pub(super) fn validate(&self) -> Result<Vec<Vendor>, DataError> {
        in_range("num_emoji", self.num_emoji, 8..=NUM_KNOWN)?;
        in_range("image_size", self.image_size as usize, 32..=512)?;
        in_range("num_captions", self.num_captions, 1..=5)?;
        for (key, value) in [("white_prob", self.white_prob), ("tint_prob", self.tint_prob)] {
            if !(0.0..=1.0).contains(&value) {
                return Err(DataError::Probability { key, value });
            }
        }
        if !(0.0..=1.0).contains(&self.jitter) {
            return Err(DataError::Setting {
                key: "jitter".into(),
                value: self.jitter.to_string(),
                expected: "it is a share, from 0 to 1".to_owned(),
            });
        }
        let [min, max] = self.objects;
        if !(2 <= min && min <= max && max <= 4) {
            return Err(DataError::Setting {
                key: "objects".into(),
                value: format!("{:?}", self.objects),
                expected: "it is the fewest and the most objects of a scene, from 2 to 4".to_owned(),
            });
        }
        if self.relations.is_empty() {
            return Err(DataError::Setting {
                key: "relations".into(),
                value: "[]".to_owned(),
                expected: "captions need at least one of left, right, above and below".to_owned(),
            });
        }
        let in_pairs = self.split != ScenesSplit::Train || self.counterparts;
        if self.scenes() == 0 || (in_pairs && !self.scenes().is_multiple_of(2)) {
            let expected = if in_pairs {
                "it counts each scene and the one with two objects exchanged, so it must be even and positive"
            } else {
                "it must be positive"
            };
            return Err(DataError::Setting {
                key: "num_scenes".into(),
                value: self.scenes().to_string(),
                expected: expected.to_owned(),
            });
        }
        choose_vendors(self.split.name(), self.split.vendors(), self.vendors.as_deref())
    }
}

fn in_range(key: &'static str, value: usize, range: RangeInclusive<usize>) -> Result<(), DataError> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(DataError::Setting {
        key: key.into(),
        value: value.to_string(),
        expected: format!("it must be from {} to {}", range.start(), range.end()),
    })
}
