//! The training caption of an emoji: a draw from its label, tags, subgroup and group.
//!
//! Labels alone teach retrieval by label; that a whale is an animal is learned only from captions that say so.

use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use rand::seq::IndexedRandom;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Templates around a label; `{}` stands for the label.
const TEMPLATES: [&str; 8] = [
    "an emoji of {}",
    "a picture of {}",
    "a drawing of {}",
    "an icon of {}",
    "a symbol of {}",
    "an illustration of {}",
    "a small image of {}",
    "{} emoji",
];

/// Most tags after a label.
const MAX_TAGS_AFTER_LABEL: usize = 3;
/// Most tags in a caption that has nothing but tags.
const MAX_TAGS_ALONE: usize = 4;

/// How often which kind of caption is drawn in training. The four shares need not sum to 1: they are divided by their sum.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CaptionMix {
    /// Share of "grinning face". Default .45.
    pub label: f64,
    /// Share of the former that stands in one of `templates` ("an emoji of grinning face"). Default .5.
    pub templated: f64,
    /// Share of the label followed by one to three tags, or (every second time) by the subgroup. Default .30.
    pub label_tags: f64,
    /// Share of one to four tags without the label. Default .15.
    pub tags: f64,
    /// Share of the subgroup or (every second time) the group alone. Default .10.
    pub group: f64,
    /// Texts with one `{}`, where the label goes.
    pub templates: Vec<String>,
}

impl Default for CaptionMix {
    fn default() -> Self {
        Self {
            label: 0.45,
            templated: 0.5,
            label_tags: 0.30,
            tags: 0.15,
            group: 0.10,
            templates: TEMPLATES.map(str::to_owned).to_vec(),
        }
    }
}

/// What is known about one emoji.
#[derive(Clone, Copy, Debug)]
pub struct CaptionParts<'a> {
    /// Name, "grinning face".
    pub label: &'a str,
    /// Key words.
    pub tags: &'a [String],
    /// One of 98 subgroups.
    pub subgroup: &'a str,
    /// One of 9 groups.
    pub group: &'a str,
}

impl CaptionMix {
    /// Only the label, always.
    pub fn label_only() -> Self {
        Self {
            label: 1.0,
            templated: 0.0,
            label_tags: 0.0,
            tags: 0.0,
            group: 0.0,
            ..Self::default()
        }
    }

    /// Checks shares and templates.
    ///
    /// # Errors
    /// A share that is negative, not finite or (`templated`) above 1; no positive share; a template without exactly one
    /// `{}`; no template though some are asked for.
    pub fn validate(&self) -> Result<(), CaptionMixError> {
        let shares = self.shares();
        for (key, share) in ["label", "label_tags", "tags", "group"].into_iter().zip(shares) {
            if !share.is_finite() || share < 0.0 {
                return Err(CaptionMixError::Share { key, share });
            }
        }
        if shares.iter().sum::<f64>() <= 0.0 {
            return Err(CaptionMixError::NoShare);
        }
        if !(0.0..=1.0).contains(&self.templated) {
            return Err(CaptionMixError::Templated { share: self.templated });
        }
        if self.templates.is_empty() && self.templated > 0.0 {
            return Err(CaptionMixError::NoTemplates { share: self.templated });
        }
        match self
            .templates
            .iter()
            .find(|template| template.matches("{}").count() != 1)
        {
            Some(template) => Err(CaptionMixError::Template {
                template: template.clone(),
            }),
            None => Ok(()),
        }
    }

    /// Draws a caption.
    pub fn draw(&self, parts: CaptionParts<'_>, rng: &mut ChaCha8Rng) -> String {
        let shares = self.shares();
        let mut point = rng.random::<f64>() * shares.iter().sum::<f64>();
        let kind = shares.iter().position(|share| {
            point -= share;
            point < 0.0
        });
        match kind {
            Some(1) if rng.random_bool(0.5) => format!("{}, {}", parts.label, parts.subgroup),
            Some(1) => join_label(parts, rng),
            Some(2) if !parts.tags.is_empty() => draw_tags(parts.tags, MAX_TAGS_ALONE, rng).join(", "),
            Some(3) if rng.random_bool(0.5) => parts.subgroup.to_owned(),
            Some(3) => parts.group.to_owned(),
            _ => self.label(parts.label, rng),
        }
    }

    fn shares(&self) -> [f64; 4] {
        [self.label, self.label_tags, self.tags, self.group]
    }

    fn label(&self, label: &str, rng: &mut ChaCha8Rng) -> String {
        if rng.random_bool(self.templated)
            && let Some(template) = self.templates.choose(rng)
        {
            return template.replacen("{}", label, 1);
        }
        label.to_owned()
    }
}

fn join_label(parts: CaptionParts<'_>, rng: &mut ChaCha8Rng) -> String {
    let mut words = vec![parts.label];
    words.extend(draw_tags(parts.tags, MAX_TAGS_AFTER_LABEL, rng));
    words.join(", ")
}

/// One to `most` different tags in random order.
fn draw_tags<'a>(tags: &'a [String], most: usize, rng: &mut ChaCha8Rng) -> Vec<&'a str> {
    if tags.is_empty() {
        return Vec::new();
    }
    let amount = rng.random_range(1..=most.min(tags.len()));
    tags.sample(rng, amount).map(String::as_str).collect()
}

/// "a dog", "an apple"; names such as "flag: Peru" or "Japanese dolls" stay as they are.
pub(crate) fn with_article(label: &str) -> String {
    match label.chars().next() {
        Some('a' | 'e' | 'i' | 'o' | 'u') if !label.contains(':') => format!("an {label}"),
        Some(first) if first.is_ascii_lowercase() && !label.contains(':') => format!("a {label}"),
        _ => label.to_owned(),
    }
}

/// A caption mix that cannot be drawn from.
#[derive(Debug, Error, PartialEq)]
pub enum CaptionMixError {
    /// A share out of range.
    #[error("captions.{key} = {share}: a share must be 0 or more")]
    Share {
        /// Key in the recipe.
        key: &'static str,
        /// Value found.
        share: f64,
    },
    /// All shares are 0.
    #[error("captions: label, label_tags, tags and group are all 0; at least one must be positive")]
    NoShare,
    /// `templated` out of range.
    #[error("captions.templated = {share}: it is the share of label captions in a template, from 0 to 1")]
    Templated {
        /// Value found.
        share: f64,
    },
    /// Templates wanted, none given.
    #[error(
        "captions.templated = {share} but captions.templates is empty; give templates such as \"an emoji of {{}}\""
    )]
    NoTemplates {
        /// Value of `templated`.
        share: f64,
    },
    /// A template without exactly one place for the label.
    #[error("captions.templates: {template:?} must have exactly one {{}}, where the label goes")]
    Template {
        /// Template found.
        template: String,
    },
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    const DRAWS: usize = 20_000;

    fn draws(mix: &CaptionMix) -> Vec<String> {
        let tags = ["aa", "bb", "cc", "dd", "ee", "ff"].map(str::to_owned);
        let parts = CaptionParts {
            label: "LABEL",
            tags: &tags,
            subgroup: "SUB",
            group: "GROUP",
        };
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        (0..DRAWS).map(|_| mix.draw(parts, &mut rng)).collect()
    }

    /// Share of captions for which `holds`; its standard error is below .004.
    fn share(captions: &[String], holds: impl Fn(&str) -> bool) -> f64 {
        captions.iter().filter(|caption| holds(caption)).count() as f64 / captions.len() as f64
    }

    #[track_caller]
    fn assert_near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 0.015, "{found} is not near {expected}");
    }

    #[test]
    fn the_default_mix_has_the_shares_it_states() {
        let captions = draws(&CaptionMix::default());
        let templates: Vec<String> = TEMPLATES
            .iter()
            .map(|template| template.replace("{}", "LABEL"))
            .collect();
        assert_near(share(&captions, |caption| caption == "LABEL"), 0.225);
        assert_near(
            share(&captions, |caption| {
                templates.iter().any(|template| template == caption)
            }),
            0.225,
        );
        assert_near(share(&captions, |caption| caption == "LABEL, SUB"), 0.15);
        assert_near(
            share(&captions, |caption| {
                caption.starts_with("LABEL, ") && caption != "LABEL, SUB"
            }),
            0.15,
        );
        let only_tags = |caption: &str| caption.split(", ").all(|word| word.len() == 2);
        assert_near(share(&captions, only_tags), 0.15);
        assert_near(share(&captions, |caption| caption == "SUB"), 0.05);
        assert_near(share(&captions, |caption| caption == "GROUP"), 0.05);
        for template in &templates {
            assert!(captions.contains(template), "{template}");
        }
    }

    #[test]
    fn tags_are_few_and_differ() {
        for caption in draws(&CaptionMix {
            label: 0.0,
            label_tags: 0.0,
            group: 0.0,
            ..CaptionMix::default()
        }) {
            let mut tags: Vec<&str> = caption.split(", ").collect();
            assert!((1..=MAX_TAGS_ALONE).contains(&tags.len()), "{caption}");
            tags.sort_unstable();
            assert!(tags.windows(2).all(|pair| pair[0] != pair[1]), "{caption}");
        }
    }

    #[test]
    fn shares_need_not_sum_to_one() {
        let captions = draws(&CaptionMix {
            label: 3.0,
            templated: 0.0,
            label_tags: 0.0,
            tags: 0.0,
            group: 1.0,
            ..CaptionMix::default()
        });
        assert_near(share(&captions, |caption| caption == "LABEL"), 0.75);
        assert!(
            draws(&CaptionMix::label_only())
                .iter()
                .all(|caption| caption == "LABEL")
        );
    }

    #[test]
    fn an_impossible_mix_is_refused() {
        let base = CaptionMix::default;
        assert_eq!(base().validate(), Ok(()));
        assert_eq!(CaptionMix::label_only().validate(), Ok(()));
        let wrong = [
            (
                CaptionMix { tags: -0.1, ..base() },
                "captions.tags = -0.1: a share must be 0 or more",
            ),
            (
                CaptionMix {
                    label: f64::NAN,
                    ..base()
                },
                "captions.label = NaN: a share must be 0 or more",
            ),
            (
                CaptionMix {
                    label: 0.0,
                    ..CaptionMix::label_only()
                },
                "at least one must be positive",
            ),
            (
                CaptionMix {
                    templated: 1.5,
                    ..base()
                },
                "captions.templated = 1.5",
            ),
            (
                CaptionMix {
                    templates: vec![],
                    ..base()
                },
                "captions.templates is empty",
            ),
            (
                CaptionMix {
                    templates: vec!["a {} of {}".to_owned()],
                    ..base()
                },
                "\"a {} of {}\" must have exactly one {}",
            ),
        ];
        for (mix, message) in wrong {
            let error = mix.validate().unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
