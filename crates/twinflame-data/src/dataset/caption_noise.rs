//! Captions that are wrong on purpose, as those of pictures from the web often are.

use std::fmt;
use std::sync::Arc;

use rand::rngs::ChaCha8Rng;
use rand::{Rng, SeedableRng};
use serde::de::{MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Classes, Counterpart, DataError, Draw, SampleError, Source};
use crate::decode::DecodedImage;
use crate::report::OpenReport;
use crate::seed::{Purpose, derive};

/// A key of every `[data.*]`: `caption_noise = 0.4`, or `caption_noise = { prob = 0.4, seed = 1 }` to have other samples
/// hit.
///
/// It measures what momentum distillation is for (Li et al. 2021, <https://arxiv.org/abs/2107.07651>, section 3.4).
/// [`DataConfig::open`](super::DataConfig::open) applies it; see [`NoisyCaptions`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CaptionNoise {
    /// Probability that a sample has the caption of another one, from 0 (default) to 1.
    pub prob: f64,
    /// Which samples are hit, and whose captions they get. Default 0.
    pub seed: u64,
}

impl CaptionNoise {
    /// Noise with seed 0.
    #[must_use]
    pub fn new(prob: f64) -> Self {
        Self { prob, seed: 0 }
    }

    /// Whether no caption is replaced.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.prob == 0.0
    }

    /// Checks the probability.
    ///
    /// # Errors
    /// If it is none.
    pub fn validate(&self) -> Result<(), DataError> {
        if (0.0..=1.0).contains(&self.prob) {
            return Ok(());
        }
        Err(DataError::Probability {
            key: "caption_noise",
            value: self.prob,
        })
    }
}

/// The table form.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    prob: f64,
    #[serde(default)]
    seed: u64,
}

impl Serialize for CaptionNoise {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self { prob, seed: 0 } => serializer.serialize_f64(prob),
            Self { prob, seed } => Table { prob, seed }.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for CaptionNoise {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = CaptionNoise;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a probability such as 0.4, or a table such as { prob = 0.4, seed = 1 }")
            }

            fn visit_f64<E>(self, prob: f64) -> Result<CaptionNoise, E> {
                Ok(CaptionNoise::new(prob))
            }

            fn visit_i64<E>(self, prob: i64) -> Result<CaptionNoise, E> {
                Ok(CaptionNoise::new(prob as f64))
            }

            fn visit_u64<E>(self, prob: u64) -> Result<CaptionNoise, E> {
                Ok(CaptionNoise::new(prob as f64))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<CaptionNoise, A::Error> {
                let Table { prob, seed } = Table::deserialize(MapAccessDeserializer::new(map))?;
                Ok(CaptionNoise { prob, seed })
            }
        }

        deserializer.deserialize_any(Either)
    }
}

/// A source some of whose training samples have the caption of another sample.
///
/// Which ones, and whose, is a pure function of the noise's seed and the sample's index: it is the same in every epoch, so
/// that a wrong caption can be learned by heart. The other sample has another image id. Pictures and ids stay as they are,
/// as do all random choices but that of the caption, and nothing of evaluation changes.
#[derive(Debug)]
pub struct NoisyCaptions {
    source: Arc<dyn Source>,
    noise: CaptionNoise,
}

impl NoisyCaptions {
    /// Puts noise on the captions of `source`.
    ///
    /// # Errors
    /// A probability outside 0 to 1, or a source whose samples all have one image id.
    pub fn new(source: Arc<dyn Source>, noise: CaptionNoise) -> Result<Self, DataError> {
        noise.validate()?;
        let one_id = (1..source.num_samples()).all(|index| source.image_id(index) == source.image_id(0));
        if one_id && !noise.is_none() {
            return Err(DataError::NoOtherCaption {
                num_samples: source.num_samples(),
            });
        }
        Ok(Self { source, noise })
    }

    /// The sample whose caption a training draw of sample `index` shows: itself, or another one.
    ///
    /// # Panics
    /// If there is no such sample.
    #[must_use]
    pub fn caption_of(&self, index: usize) -> usize {
        let id = self.source.image_id(index);
        let draw = |part| derive(self.noise.seed, Purpose::CaptionNoise, part, index);
        // The upper 53 bits as a number from 0 to 1, as is usual.
        let point = (draw(0) >> 11) as f64 / (1_u64 << 53) as f64;
        if point >= self.noise.prob {
            return index;
        }
        let num_samples = self.source.num_samples();
        let first = (draw(1) % num_samples as u64) as usize;
        (0..num_samples)
            .map(|step| (first + step) % num_samples)
            .find(|&other| self.source.image_id(other) != id)
            .unwrap_or(index)
    }
}

impl Source for NoisyCaptions {
    fn num_samples(&self) -> usize {
        self.source.num_samples()
    }

    fn image_id(&self, index: usize) -> i64 {
        self.source.image_id(index)
    }

    fn num_together(&self) -> usize {
        self.source.num_together()
    }

    fn shard_starts(&self) -> &[usize] {
        self.source.shard_starts()
    }

    fn row(&self, index: usize) -> usize {
        self.source.row(index)
    }

    fn name(&self, index: usize) -> String {
        self.source.name(index)
    }

    fn draw(&self, index: usize, rng: &mut ChaCha8Rng) -> Result<Draw, SampleError> {
        // A generator of its own for the caption: what follows sees the same numbers as without noise. A seed of its own too,
        // for sources that make up a sample from nothing else: from the same one they would make up the same picture.
        let caption_seed = ChaCha8Rng::deserialize_state(&rng.serialize_state()).next_u64();
        let mut caption_rng = ChaCha8Rng::seed_from_u64(caption_seed);
        let mut draw = self.source.draw(index, rng)?;
        let other = self.caption_of(index);
        if other != index {
            draw.caption = self.source.draw_caption(other, &mut caption_rng)?;
        }
        Ok(draw)
    }

    fn draw_caption(&self, index: usize, rng: &mut ChaCha8Rng) -> Result<String, SampleError> {
        self.source.draw_caption(self.caption_of(index), rng)
    }

    fn image(&self, index: usize) -> Result<DecodedImage, SampleError> {
        self.source.image(index)
    }

    fn encoded(&self, index: usize) -> Result<(&'static str, Vec<u8>), SampleError> {
        self.source.encoded(index)
    }

    fn captions(&self, index: usize) -> Result<Vec<String>, SampleError> {
        self.source.captions(index)
    }

    fn eval_images(&self) -> Vec<usize> {
        self.source.eval_images()
    }

    fn eval_captions(&self) -> Result<Vec<(i64, String)>, SampleError> {
        self.source.eval_captions()
    }

    fn classes(&self) -> Vec<Classes> {
        self.source.classes()
    }

    fn counterparts(&self) -> Vec<Counterpart> {
        self.source.counterparts()
    }

    fn report(&self) -> &OpenReport {
        self.source.report()
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::dataset::{DataConfig, EmojiConfig, JsonConfig};

    fn emoji(noise: CaptionNoise) -> Arc<dyn Source> {
        let config = EmojiConfig {
            caption_noise: noise,
            ..EmojiConfig::default()
        };
        DataConfig::Emoji(config).open().unwrap()
    }

    fn noisy(prob: f64, seed: u64) -> NoisyCaptions {
        NoisyCaptions::new(emoji(CaptionNoise::default()), CaptionNoise { prob, seed }).unwrap()
    }

    #[test]
    fn the_share_is_the_one_asked_for_and_every_seed_hits_others() {
        let hit = |source: &NoisyCaptions| -> Vec<bool> {
            (0..source.num_samples())
                .map(|index| source.caption_of(index) != index)
                .collect()
        };
        for prob in [0.1, 0.4] {
            let hits = hit(&noisy(prob, 0)).into_iter().filter(|&hit| hit).count();
            let share = hits as f64 / 6798.0;
            assert!((share - prob).abs() < 0.02, "{share}");
        }
        assert!(!hit(&noisy(0.0, 0)).contains(&true));
        assert!(!hit(&noisy(1.0, 0)).contains(&false));
        assert_eq!(hit(&noisy(0.4, 1)), hit(&noisy(0.4, 1)));
        assert_ne!(hit(&noisy(0.4, 0)), hit(&noisy(0.4, 1)));
    }

    #[test]
    fn the_other_caption_is_of_another_thing() {
        let source = noisy(1.0, 3);
        for index in 0..source.num_samples() {
            let other = source.caption_of(index);
            assert_ne!(source.image_id(index), source.image_id(other));
        }
    }

    #[test]
    fn only_training_captions_change() {
        let (plain, noisy) = (
            emoji(CaptionNoise::default()),
            emoji(CaptionNoise { prob: 0.5, seed: 2 }),
        );
        let mut replaced = 0;
        for index in (0..plain.num_samples()).step_by(40) {
            let [mut left, mut right] = [(); 2].map(|()| ChaCha8Rng::seed_from_u64(index as u64));
            let (clean, dirty) = (
                plain.draw(index, &mut left).unwrap(),
                noisy.draw(index, &mut right).unwrap(),
            );
            assert_eq!((clean.image, clean.image_id), (dirty.image, dirty.image_id));
            assert_eq!(left.random::<u64>(), right.random::<u64>());
            replaced += usize::from(clean.caption != dirty.caption);
            assert_eq!(plain.captions(index).unwrap(), noisy.captions(index).unwrap());
        }
        assert!((60..110).contains(&replaced), "{replaced} of 170");
        assert_eq!(plain.eval_captions().unwrap(), noisy.eval_captions().unwrap());
        assert_eq!(plain.eval_images(), noisy.eval_images());
        assert_eq!(plain.classes(), noisy.classes());
    }

    #[test]
    fn a_number_or_a_table_says_how_much() {
        let parse = |text: &str| serde_json::from_str::<CaptionNoise>(text).map_err(|error| error.to_string());
        assert_eq!(parse("0.4"), Ok(CaptionNoise::new(0.4)));
        assert_eq!(parse("1"), Ok(CaptionNoise::new(1.0)));
        let seeded = CaptionNoise { prob: 0.4, seed: 7 };
        assert_eq!(parse(r#"{"prob": 0.4, "seed": 7}"#), Ok(seeded));
        for noise in [seeded, CaptionNoise::new(0.25)] {
            assert_eq!(parse(&serde_json::to_string(&noise).unwrap()), Ok(noise));
        }
        assert!(
            parse(r#""a""#)
                .unwrap_err()
                .contains("expected a probability such as 0.4")
        );
        assert!(parse(r#"{"share": 1}"#).unwrap_err().contains("unknown field `share`"));
    }

    #[test]
    fn one_thing_alone_has_no_other_caption() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("1.jpg"), "").unwrap();
        let list = folder.path().join("list.json");
        std::fs::write(&list, r#"[{"image": "1.jpg", "caption": ["a", "b"]}]"#).unwrap();
        let config = JsonConfig {
            caption_noise: CaptionNoise::new(0.1),
            ..JsonConfig::new([list])
        };
        assert_eq!(
            DataConfig::Json(config).open().unwrap_err().to_string(),
            "caption_noise takes captions of images with another id, but there is one id only (samples: 1)"
        );
    }

    #[test]
    fn impossible_noise_is_refused() {
        let open = |text: &str| {
            let config: DataConfig = serde_json::from_str(text).unwrap();
            config.open().unwrap_err().to_string()
        };
        let message = "caption_noise = 1.5: it is a probability, from 0 to 1";
        assert_eq!(open(r#"{"kind": "emoji", "caption_noise": 1.5}"#), message);
        assert!(CaptionNoise::new(f64::NAN).validate().is_err());
    }
}
