use std::collections::HashSet;

use rand::SeedableRng;

use super::*;
use crate::dataset::scenes::{Relation, SceneEmoji};

fn config(split: ScenesSplit) -> ScenesConfig {
    ScenesConfig {
        split,
        vendors: (split != ScenesSplit::Vendor).then(|| vec![Vendor::Noto, Vendor::EmojiTwo]),
        ..ScenesConfig::default()
    }
}

fn scenes(config: &ScenesConfig, amount: u64) -> Vec<Scene> {
    let generator = SceneGenerator::new(config).unwrap();
    let draw = |seed| generator.draw(&mut ChaCha8Rng::seed_from_u64(seed));
    (0..amount).map(draw).collect()
}

fn pairs(scene: &Scene) -> Vec<[usize; 2]> {
    let emoji: Vec<usize> = scene.objects.iter().map(|object| object.emoji).collect();
    let pairs = (0..emoji.len()).flat_map(|b| (0..b).map(move |a| [a, b]));
    pairs.map(|pair| pair.map(|at| emoji[at])).collect()
}

fn has_held_out_pair(scene: &Scene) -> bool {
    pairs(scene).iter().any(|&[a, b]| is_held_out_pair(a, b))
}

#[test]
fn the_same_numbers_make_the_same_scene_and_picture() {
    let config = config(ScenesSplit::Train);
    assert_eq!(scenes(&config, 50), scenes(&config, 50));
    let generator = SceneGenerator::new(&config).unwrap();
    let scene = generator.draw(&mut ChaCha8Rng::seed_from_u64(3));
    assert_eq!(generator.paint(&scene), generator.clone().paint(&scene));
    let different: HashSet<String> = scenes(&config, 50).iter().map(|scene| format!("{scene:?}")).collect();
    assert_eq!(different.len(), 50);
}

#[test]
fn training_sees_nothing_that_is_held_out() {
    for num_emoji in [8, 32, NUM_KNOWN] {
        let config = ScenesConfig {
            num_emoji,
            ..config(ScenesSplit::Train)
        };
        for scene in scenes(&config, 1000) {
            assert!(!has_held_out_pair(&scene), "{scene:?}");
            for object in &scene.objects {
                assert!(object.emoji < num_emoji && object.vendor != Vendor::HELD_OUT);
            }
        }
    }
    assert!(!ScenesSplit::Train.vendors().contains(&Vendor::HELD_OUT));
    assert_eq!(ScenesSplit::Train.vendors().len(), 6);
}

#[test]
fn a_test_split_shows_what_it_is_named_after_and_nothing_else_new() {
    for scene in scenes(&config(ScenesSplit::Pairs), 300) {
        assert!(has_held_out_pair(&scene));
        assert!(
            scene
                .objects
                .iter()
                .all(|object| object.emoji < 32 && object.vendor != Vendor::HELD_OUT)
        );
    }
    for scene in scenes(&config(ScenesSplit::Emoji), 300) {
        let (held_out, known): (Vec<usize>, Vec<usize>) = scene
            .objects
            .iter()
            .map(|object| object.emoji)
            .partition(|&emoji| emoji >= NUM_KNOWN);
        assert_eq!(held_out.len(), 1);
        assert!(known.iter().all(|&emoji| emoji < 32) && scene.objects.iter().all(|o| o.vendor != Vendor::HELD_OUT));
    }
    for scene in scenes(&config(ScenesSplit::Vendor), 300) {
        assert!(!has_held_out_pair(&scene));
        assert!(
            scene
                .objects
                .iter()
                .all(|object| object.emoji < 32 && object.vendor == Vendor::HELD_OUT)
        );
    }
}

#[test]
fn objects_differ_and_stand_apart_inside_the_picture() {
    let mut amounts = HashSet::new();
    for image_size in [33, 64, 100] {
        let config = ScenesConfig {
            image_size,
            ..config(ScenesSplit::Train)
        };
        for scene in scenes(&config, 300) {
            amounts.insert(scene.objects.len());
            assert!(pairs(&scene).iter().all(|[a, b]| a != b));
            let boxes: Vec<PixelBox> = scene.objects.iter().map(|object| object.bounds).collect();
            for (at, a) in boxes.iter().enumerate() {
                assert!(a.right() <= image_size && a.bottom() <= image_size, "{scene:?}");
                assert_eq!(a.width.max(a.height), scene.objects[at].size.side(image_size));
                let apart = |b: &PixelBox| {
                    a.right() <= b.left || b.right() <= a.left || a.bottom() <= b.top || b.bottom() <= a.top
                };
                assert!(boxes[..at].iter().all(apart), "{scene:?}");
            }
            // and so they do with two of them exchanged
            let exchanged = scene.exchanged(0, 1);
            let [a, b] = [0, 1].map(|at| exchanged.objects[at].bounds);
            assert!(a.right() <= image_size && b.bottom() <= image_size);
            for relation in Relation::ALL {
                assert!(!scene.is(0, relation, 1) || exchanged.is(1, relation, 0), "{scene:?}");
            }
        }
    }
    assert_eq!(amounts, HashSet::from([2, 3, 4]));
}

#[test]
fn jitter_is_the_share_of_the_room_that_objects_use() {
    for jitter in [0.0, 0.25, 1.0] {
        let config = ScenesConfig {
            objects: [2, 2],
            jitter,
            ..config(ScenesSplit::Train)
        };
        let mut widest = 0.0_f64;
        for object in scenes(&config, 300).into_iter().flat_map(|scene| scene.objects) {
            let PixelBox { left, width, .. } = object.bounds;
            let middle = if left < 32 { 16.0 } else { 48.0 };
            let off = (f64::from(left) + f64::from(width) / 2.0 - middle).abs();
            let room = f64::from(32 - width);
            assert!(off <= jitter * room / 2.0 + 1.0, "{jitter}: {object:?}");
            widest = widest.max(off / room.max(1.0));
        }
        assert!(widest >= jitter * 0.4, "{jitter}: no more than {widest} of it is used");
    }
}

#[test]
fn colours_are_seen() {
    let mut white = 0;
    let mut tinted = 0;
    let mut objects = 0;
    for scene in scenes(&config(ScenesSplit::Train), 2000) {
        white += usize::from(scene.background == Colour::White);
        for object in &scene.objects {
            objects += 1;
            tinted += usize::from(object.tint.is_some());
            assert!(!object.tint.is_some_and(|tint| object.emoji().natural.contains(&tint)));
            let own = object.tint.is_none() && object.emoji().natural.contains(&scene.background);
            assert!(!own && object.tint != Some(scene.background), "{scene:?}");
        }
    }
    // half are asked for; where objects have all colours between them, it is white too
    assert!((950..1250).contains(&white), "{white}");
    let share = tinted as f64 / objects as f64;
    assert!((share - 0.2).abs() < 0.02, "{share}");
}

/// RGB pixels of a picture.
fn pixels(image: &DecodedImage) -> &[[u8; 3]] {
    image.pixels().as_chunks().0
}

#[test]
fn a_picture_shows_its_objects_in_their_boxes_and_nothing_outside() {
    let generator = SceneGenerator::new(&config(ScenesSplit::Train)).unwrap();
    for seed in 0..100 {
        let scene = generator.draw(&mut ChaCha8Rng::seed_from_u64(seed));
        let image = generator.paint(&scene);
        assert_eq!(image.background(), Some(scene.background.rgb()));
        let mut painted = vec![0; scene.objects.len()];
        for (at, &pixel) in pixels(&image).iter().enumerate() {
            let (x, y) = (at as u32 % 64, at as u32 / 64);
            let inside = |o: &SceneObject| {
                let b = o.bounds;
                (b.left..b.right()).contains(&x) && (b.top..b.bottom()).contains(&y)
            };
            match scene.objects.iter().position(inside) {
                Some(object) => painted[object] += usize::from(pixel != scene.background.rgb()),
                None => assert_eq!(pixel, scene.background.rgb()),
            }
        }
        for (object, painted) in scene.objects.iter().zip(painted) {
            let area = (object.bounds.width * object.bounds.height) as usize;
            assert!(
                painted > area / 5,
                "{} has {painted} of {area}: {scene:?}",
                object.emoji().name
            );
        }
    }
}

/// The half of an emoji's pixels that differs most from white, on average: thin lines are mixed with what is behind them.
fn mean_colour(generator: &SceneGenerator, emoji: usize, tint: Option<Colour>) -> [f64; 3] {
    let mut object = generator.draw_object(emoji, &mut ChaCha8Rng::seed_from_u64(0));
    object.tint = tint;
    let scene = Scene {
        image_size: 64,
        background: Colour::White,
        objects: vec![object],
    };
    let mut shown: Vec<[f64; 3]> = pixels(&generator.paint(&scene))
        .iter()
        .map(|pixel| pixel.map(f64::from))
        .collect();
    shown.retain(|&pixel| pixel != [255.0; 3]);
    shown.sort_by(|&a, &b| distance(b, [255.0; 3]).total_cmp(&distance(a, [255.0; 3])));
    shown.truncate(shown.len() / 2);
    [0, 1, 2].map(|c| shown.iter().map(|pixel| pixel[c]).sum::<f64>() / shown.len() as f64)
}

fn distance(a: [f64; 3], b: [f64; 3]) -> f64 {
    (0..3).map(|c| (a[c] - b[c]).powi(2)).sum::<f64>().sqrt()
}

#[test]
fn a_tint_is_the_colour_that_is_seen() {
    let generator = SceneGenerator::new(&config(ScenesSplit::Train)).unwrap();
    for (emoji, SceneEmoji { name, natural, .. }) in EMOJI.iter().enumerate() {
        let plain = mean_colour(&generator, emoji, None);
        for tint in Colour::TINTS.into_iter().filter(|tint| !natural.contains(tint)) {
            let tinted = mean_colour(&generator, emoji, Some(tint));
            let to = |colour: Colour| distance(tinted, colour.rgb().map(f64::from));
            let nearest = Colour::TINTS.into_iter().min_by(|&a, &b| to(a).total_cmp(&to(b)));
            assert_eq!(nearest, Some(tint), "{tinted:?} {name}");
            assert!(distance(plain, tinted) > 30.0, "{name} {tint}");
        }
    }
}

#[test]
#[should_panic(expected = "cannot be painted")]
fn an_object_outside_cannot_be_painted() {
    let generator = SceneGenerator::new(&config(ScenesSplit::Train)).unwrap();
    let mut scene = generator.draw(&mut ChaCha8Rng::seed_from_u64(0));
    scene.objects[0].bounds.left = 60;
    let _ = generator.paint(&scene);
}
