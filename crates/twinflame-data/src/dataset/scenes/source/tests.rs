use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use rand::{RngExt, SeedableRng};

use super::super::{CaptionStyle, Relation, Statement};
use super::*;
use crate::caption::with_article;
use crate::dataset::{CaptionNoise, DataConfig, EvalSet, NoisyCaptions, Vendor};
use crate::tokenizer::{BertVocab, Tokenizer, TokenizerConfig};

fn config(split: ScenesSplit) -> ScenesConfig {
    ScenesConfig {
        split,
        vendors: (split != ScenesSplit::Vendor).then(|| vec![Vendor::Noto]),
        num_scenes: Some(100),
        ..ScenesConfig::default()
    }
}

fn open(config: &ScenesConfig) -> ScenesSource {
    ScenesSource::open(config).unwrap()
}

const TESTS: [ScenesSplit; 4] = [
    ScenesSplit::Known,
    ScenesSplit::Pairs,
    ScenesSplit::Emoji,
    ScenesSplit::Vendor,
];

#[test]
fn training_draws_new_scenes_or_the_same_ones() {
    let captions = |source: &ScenesSource, seed| {
        let draw = source.draw(7, &mut ChaCha8Rng::seed_from_u64(seed)).unwrap();
        assert_eq!(draw.image_id == 7, !source.is_fresh());
        (draw.image, draw.caption)
    };
    let fresh = open(&config(ScenesSplit::Train));
    assert_eq!(captions(&fresh, 1), captions(&fresh, 1));
    assert_ne!(captions(&fresh, 1).0, captions(&fresh, 2).0);
    // In training, what has one index in two passes is two scenes.
    let id = |seed| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        fresh.draw(7, &mut rng).unwrap().image_id
    };
    assert_eq!(id(1), id(1));
    assert_ne!(id(1), id(2));
    let same = open(&ScenesConfig {
        fresh: false,
        ..config(ScenesSplit::Train)
    });
    let drawn: Vec<_> = (0..20).map(|seed| captions(&same, seed)).collect();
    assert!(drawn.iter().all(|(image, _)| *image == same.image(7).unwrap()));
    let captions: HashSet<&String> = drawn.iter().map(|(_, caption)| caption).collect();
    assert!(captions.len() > 5, "{captions:?}");
    // evaluation does not depend on it
    assert_eq!(fresh.image(7).unwrap(), same.image(7).unwrap());
    assert_eq!(fresh.captions(7).unwrap(), same.captions(7).unwrap());
    let other = open(&ScenesConfig {
        seed: 1,
        ..config(ScenesSplit::Train)
    });
    assert_ne!(fresh.image(7).unwrap(), other.image(7).unwrap());
}

#[test]
fn a_caption_without_a_picture_is_the_one_with_it() {
    for split in [ScenesSplit::Train, ScenesSplit::Known] {
        let source = open(&config(split));
        for index in 0..20 {
            let [mut left, mut right] = [(); 2].map(|()| ChaCha8Rng::seed_from_u64(index as u64));
            let draw = source.draw(index, &mut left).unwrap();
            assert_eq!(source.draw_caption(index, &mut right).unwrap(), draw.caption);
        }
    }
}

#[test]
fn the_same_configuration_gives_the_same_test_set() {
    for split in TESTS {
        let [a, b] = [(); 2].map(|()| open(&config(split)));
        assert_eq!(a.eval_captions().unwrap(), b.eval_captions().unwrap());
        assert_eq!(a.image(3).unwrap(), b.image(3).unwrap());
        let other = open(&ScenesConfig {
            seed: 5,
            ..config(split)
        });
        assert_ne!(a.eval_captions().unwrap(), other.eval_captions().unwrap());
    }
}

#[test]
fn no_caption_of_a_test_set_fits_two_pictures() {
    for split in TESTS {
        let set = EvalSet::new(Arc::new(open(&config(split)))).unwrap();
        assert_eq!((set.num_images(), set.num_captions()), (100, 300));
        let texts: HashSet<&String> = set.captions().iter().collect();
        assert_eq!(texts.len(), 300, "{split:?}");
        for image in 0..100 {
            assert_eq!(set.captions_of_image(image).len(), 3);
        }
        assert!((0..300).all(|caption| set.images_of_caption(caption).len() == 1));
    }
}

fn words(text: &str) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for word in text.split(' ') {
        *counts.entry(word.trim_end_matches(',')).or_default() += 1;
    }
    counts
}

#[test]
fn every_caption_has_a_counterpart_of_the_same_words_that_describes_the_next_scene() {
    for split in TESTS {
        let source = open(&config(split));
        let counterparts = source.counterparts();
        assert_eq!(counterparts.len(), 300);
        for counterpart in &counterparts {
            let Counterpart {
                image,
                caption,
                swapped,
            } = counterpart;
            assert_eq!(words(caption), words(swapped));
            assert!(source.captions(*image).unwrap().contains(caption));
            // scenes 2 i and 2 i + 1 are each other's
            assert!(source.captions(image ^ 1).unwrap().contains(swapped));
            assert!(!source.captions(*image).unwrap().contains(swapped));
        }
        for pair in 0..50 {
            let [one, other] = [source.scene(2 * pair), source.scene(2 * pair + 1)];
            let things = |scene: &Scene| -> Vec<_> {
                scene
                    .objects
                    .iter()
                    .map(|o| (o.emoji, o.vendor, o.size, o.tint))
                    .collect()
            };
            assert_eq!((things(one), one.background), (things(other), other.background));
            let moved = one
                .objects
                .iter()
                .zip(&other.objects)
                .filter(|(a, b)| a.bounds != b.bounds);
            assert_eq!(moved.count(), 2);
        }
        let set = EvalSet::new(Arc::new(source)).unwrap();
        assert_eq!(set.counterparts(), counterparts);
    }
    assert!(open(&config(ScenesSplit::Train)).counterparts().is_empty());
}

#[test]
fn noise_keeps_pictures_and_counterparts() {
    let noise = CaptionNoise::new(1.0);
    let config = |split| ScenesConfig {
        caption_noise: noise,
        fresh: false,
        ..config(split)
    };
    let train = DataConfig::Scenes(config(ScenesSplit::Train)).open().unwrap();
    let plain: Arc<dyn Source> = Arc::new(open(&config(ScenesSplit::Train)));
    let noisy = NoisyCaptions::new(plain.clone(), noise).unwrap();
    let mut same = 0;
    for index in 0..50 {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let draw = train.draw(index, &mut rng).unwrap();
        assert_eq!(draw.image, plain.image(index).unwrap());
        let other = noisy.caption_of(index);
        let seed = ChaCha8Rng::seed_from_u64(3).random();
        let expected = plain.draw_caption(other, &mut ChaCha8Rng::seed_from_u64(seed)).unwrap();
        assert_eq!(draw.caption, expected);
        same += usize::from(draw.caption == plain.draw(index, &mut ChaCha8Rng::seed_from_u64(3)).unwrap().caption);
    }
    assert_eq!(same, 0);
    let test = DataConfig::Scenes(config(ScenesSplit::Known)).open().unwrap();
    assert_eq!(test.counterparts(), open(&config(ScenesSplit::Known)).counterparts());
}

/// A scene made up on the spot must not come with another caption that was made up for it.
#[test]
fn noise_takes_captions_of_other_scenes_even_if_all_are_new() {
    for counterparts in [false, true] {
        let config = ScenesConfig {
            counterparts,
            ..config(ScenesSplit::Train)
        };
        let source = open(&config);
        let noisy = NoisyCaptions::new(Arc::new(open(&config)), CaptionNoise::new(1.0)).unwrap();
        let mut told = 0;
        for index in 0..50 {
            let rng = || ChaCha8Rng::seed_from_u64(index as u64);
            let (scene, _) = source.draw_description(index, &mut rng());
            let draw = noisy.draw(index, &mut rng()).unwrap();
            assert_eq!(draw.image, source.generator().paint(&scene));
            let names = scene.objects.iter().map(|object| object.emoji().name);
            told += usize::from(names.into_iter().all(|name| draw.caption.contains(name)));
        }
        assert!(told < 3, "{told} of 50 wrong captions name what the picture shows");
    }
}

/// As in a batch: neighbours share a seed and have streams of their own.
#[test]
fn neighbours_in_training_are_counterparts_if_asked() {
    for fresh in [true, false] {
        let source = open(&ScenesConfig {
            counterparts: true,
            fresh,
            ..config(ScenesSplit::Train)
        });
        assert_eq!(source.num_together(), 2);
        let mut shared_words = 0;
        for pair in 0..50 {
            let describe = |at: usize| {
                let mut rng = ChaCha8Rng::seed_from_u64(pair as u64);
                rng.set_stream(at as u64);
                source.draw_description(2 * pair + at, &mut rng)
            };
            let [(one, caption), (other, other_caption)] = [describe(0), describe(1)];
            assert_eq!(one.exchanged(0, 1), other);
            assert_ne!(caption, other_caption);
            shared_words += usize::from(words(&caption) == words(&other_caption));
            for (text, scene) in [(&caption, &one), (&other_caption, &other)] {
                let said = |scene: &Scene| {
                    let related = Relation::ALL
                        .into_iter()
                        .flat_map(|relation| [(0, relation, 1), (1, relation, 0)])
                        .filter(|&(a, relation, b)| scene.is(a, relation, b));
                    let mut wordings = related.flat_map(|(_, relation, _)| relation.wordings());
                    wordings.any(|wording| text.contains(wording))
                };
                assert!(said(scene), "{text}");
            }
        }
        assert!(shared_words < 25, "captions of a pair are drawn each for itself");
    }
    let test = ScenesConfig {
        counterparts: true,
        ..config(ScenesSplit::Known)
    };
    assert_eq!(open(&test).num_together(), 1, "test sets have their own order");
    assert_eq!(open(&config(ScenesSplit::Train)).num_together(), 1);
}

/// "a dog left of a cat", in training with and without counterparts and in a test.
#[test]
fn captions_state_the_relations_they_may_and_plain_ones_nothing_else() {
    for (split, counterparts) in [
        (ScenesSplit::Train, false),
        (ScenesSplit::Train, true),
        (ScenesSplit::Known, false),
    ] {
        let restricted = ScenesConfig {
            counterparts,
            objects: [2, 2],
            num_captions: 1,
            relations: vec![Relation::Left],
            ..config(split)
        };
        let plain = ScenesConfig {
            plain_captions: true,
            tint_prob: 0.0,
            ..restricted.clone()
        };
        for (config, is_plain) in [(restricted, false), (plain, true)] {
            let source = open(&config);
            let (mut told, mut left_of) = (0, 0);
            for index in 0..config.scenes() {
                let mut rng = ChaCha8Rng::seed_from_u64(index as u64 / 2);
                rng.set_stream(index as u64 % 2);
                let (scene, caption) = source.draw_description(index, &mut rng);
                let others = [Relation::Right, Relation::Above, Relation::Below].map(Relation::wordings);
                let other = others.as_flattened().iter().find(|words| caption.contains(**words));
                assert_eq!(other, None, "{caption}");
                told += usize::from(caption.contains("left of"));
                let [a, b] = [0, 1].map(|at| with_article(scene.objects[at].emoji().name));
                let plain = [format!("{a} left of {b}"), format!("{b} left of {a}")];
                let is_true = [scene.is(0, Relation::Left, 1), scene.is(1, Relation::Left, 0)];
                let found = std::iter::zip(plain, is_true).find(|(plain, _)| *plain == caption);
                left_of += usize::from(found.is_some_and(|(_, is_true)| is_true));
            }
            let related = counterparts || split == ScenesSplit::Known;
            assert!(told == config.scenes() || (!related && told > 40), "{split:?}: {told}");
            assert!(!is_plain || left_of == told, "{split:?}: {left_of} of {told}");
        }
    }
    let none = ScenesConfig {
        relations: Vec::new(),
        ..config(ScenesSplit::Train)
    };
    let error = ScenesSource::open(&none).unwrap_err().to_string();
    assert!(error.contains("relations = []"), "{error}");
}

/// The embedded vocabulary has the words of all captions and no others.
#[test]
fn the_vocabulary_of_scenes_is_theirs() {
    let tokenizer = Tokenizer::new(&TokenizerConfig::bert(BertVocab::Scenes)).unwrap();
    let special = tokenizer.special_ids().unwrap();
    let mut used =
        HashSet::from([special.pad, special.unk, special.cls, special.sep, special.mask].map(|id| id as i32));
    for split in [ScenesSplit::Train, ScenesSplit::Emoji] {
        let all = ScenesConfig {
            num_emoji: super::super::NUM_KNOWN,
            ..config(split)
        };
        let generator = SceneGenerator::new(&all).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        for _ in 0..2000 {
            let caption = Statement::draw(&generator.draw(&mut rng), &CaptionStyle::default(), &mut rng).to_string();
            let row = tokenizer.encode(&caption, 25);
            assert!(!row.contains(&(special.unk as i32)), "{caption}");
            assert!(tokenizer.count_tokens(&caption) <= 24, "{caption}");
            used.extend(row);
        }
    }
    assert_eq!(used.len(), tokenizer.vocab_size());
}

#[test]
fn impossible_settings_are_refused() {
    let refused = |change: fn(&mut ScenesConfig), message: &str| {
        let mut config = config(ScenesSplit::Known);
        change(&mut config);
        let error = ScenesSource::open(&config).unwrap_err().to_string();
        assert!(error.starts_with(message), "{error}");
    };
    refused(|c| c.num_emoji = 7, "num_emoji = 7: it must be from 8 to 64");
    refused(|c| c.image_size = 16, "image_size = 16: it must be from 32 to 512");
    refused(|c| c.num_captions = 0, "num_captions = 0: it must be from 1 to 5");
    refused(|c| c.white_prob = 1.1, "white_prob = 1.1: it is a probability");
    refused(|c| c.tint_prob = f64::NAN, "tint_prob = NaN: it is a probability");
    refused(|c| c.jitter = 1.5, "jitter = 1.5: it is a share, from 0 to 1");
    let amount = "it is the fewest and the most objects of a scene, from 2 to 4";
    refused(|c| c.objects = [1, 2], &format!("objects = [1, 2]: {amount}"));
    refused(|c| c.objects = [4, 3], &format!("objects = [4, 3]: {amount}"));
    refused(|c| c.objects = [2, 5], &format!("objects = [2, 5]: {amount}"));
    refused(
        |c| c.num_scenes = Some(9),
        "num_scenes = 9: it counts each scene and the one with two objects",
    );
    refused(|c| c.num_scenes = Some(0), "num_scenes = 0: it counts");
    refused(
        |c| (c.split, c.counterparts, c.num_scenes) = (ScenesSplit::Train, true, Some(9)),
        "num_scenes = 9: it counts each scene and the one with two objects",
    );
    refused(
        |c| c.vendors = Some(vec![Vendor::Twemoji]),
        "vendor twemoji is not part of split \"known\", which has noto, notov1, ",
    );
    refused(
        |c| {
            (c.num_emoji, c.objects, c.tint_prob, c.white_prob) = (8, [2, 2], 0.0, 1.0);
            c.num_scenes = Some(2000);
        },
        "num_scenes = 2000: with these emoji and objects no more than ",
    );
}

#[test]
fn scenes_are_named_after_what_they_show() {
    let source = open(&config(ScenesSplit::Known));
    let name = source.name(4);
    let first = source.scene(4).objects[0].emoji().name;
    assert!(name.starts_with(&format!("scene 4: {first}, ")), "{name}");
    assert_eq!(open(&config(ScenesSplit::Train)).name(4), "scene 4");
}
