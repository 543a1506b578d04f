//! Which emoji, and how training draws them.

use serde::{Deserialize, Serialize};

use super::{Background, Entry, Vendor};
use crate::caption::CaptionMix;
use crate::dataset::{CaptionNoise, DataError};

/// Part of the embedded set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EmojiSplit {
    /// 6,798 pairs: training emoji, all vendors but twemoji.
    #[default]
    Train,
    /// Test set A, 1,614 images: training emoji in the held-out style. 1,620 captions: six emoji have no other picture
    /// than twemoji's, so that they are not known, and stay as distractors.
    A,
    /// Test set B, 1,286 images, 294 captions: unknown emoji, known styles.
    B,
    /// Test set C, 294 images, 294 captions: unknown emoji in the held-out style.
    C,
}

impl EmojiSplit {
    /// Name as in recipes.
    pub fn name(self) -> &'static str {
        ["train", "a", "b", "c"][self as usize]
    }

    /// Vendors whose pictures the split has.
    pub fn vendors(self) -> Vec<Vendor> {
        let held_out = matches!(self, Self::A | Self::C);
        Vendor::ALL
            .into_iter()
            .filter(|&vendor| (vendor == Vendor::HELD_OUT) == held_out)
            .collect()
    }

    /// Whether the captions of `entry` belong to the split.
    pub(super) fn has_caption(self, entry: &Entry) -> bool {
        entry.held_out == matches!(self, Self::B | Self::C)
    }

    /// Whether the pictures of `entry` belong to the split.
    pub(super) fn has_pictures(self, entry: &Entry) -> bool {
        let known_elsewhere = || {
            Vendor::ALL
                .iter()
                .any(|&vendor| vendor != Vendor::HELD_OUT && entry.has(vendor))
        };
        self.has_caption(entry) && (self != Self::A || known_elsewhere())
    }
}

/// The embedded emoji set.
///
/// Everything below `split` and `vendors` concerns training draws; evaluation shows the picture on white (or the fixed
/// background) with its label.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EmojiConfig {
    /// Part of the set. Default `train`.
    pub split: EmojiSplit,
    /// Fewer vendors than the split has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vendors: Option<Vec<Vendor>>,
    /// `"random"` (default) or a colour.
    pub background: Background,
    /// Probability that a random background is white. Default .8.
    pub white_prob: f64,
    /// Probability that a sample becomes a scene: two or three emoji, the drawn one first, on one canvas with a caption
    /// such as "a red apple left of a dog". Default 0.
    pub scene_prob: f64,
    /// Kinds of captions.
    pub captions: CaptionMix,
    /// Share of training captions that are replaced by others, see [`CaptionNoise`]. Default 0.
    #[serde(skip_serializing_if = "CaptionNoise::is_none")]
    pub caption_noise: CaptionNoise,
}

impl Default for EmojiConfig {
    fn default() -> Self {
        Self {
            split: EmojiSplit::Train,
            vendors: None,
            background: Background::Random,
            white_prob: 0.8,
            scene_prob: 0.0,
            captions: CaptionMix::default(),
            caption_noise: CaptionNoise::default(),
        }
    }
}

impl EmojiConfig {
    /// Checks probabilities, caption mix and vendors, and returns the vendors to use.
    pub(super) fn validate(&self) -> Result<Vec<Vendor>, DataError> {
        for (key, value) in [("white_prob", self.white_prob), ("scene_prob", self.scene_prob)] {
            if !(0.0..=1.0).contains(&value) {
                return Err(DataError::Probability { key, value });
            }
        }
        self.captions.validate()?;
        choose_vendors(self.split.name(), self.split.vendors(), self.vendors.as_deref())
    }
}

/// The `allowed` vendors of a split that a configuration asks for, all if it asks for none in particular.
pub(in crate::dataset) fn choose_vendors(
    split: &'static str,
    allowed: Vec<Vendor>,
    asked: Option<&[Vendor]>,
) -> Result<Vec<Vendor>, DataError> {
    let Some(asked) = asked else {
        return Ok(allowed);
    };
    if asked.is_empty() {
        return Err(DataError::NoVendors);
    }
    if let Some(&vendor) = asked.iter().find(|vendor| !allowed.contains(vendor)) {
        let allowed = allowed.into_iter().map(Vendor::name).collect();
        return Err(DataError::Vendor { vendor, split, allowed });
    }
    Ok(allowed.into_iter().filter(|vendor| asked.contains(vendor)).collect())
}
