use std::collections::{BTreeMap, BTreeSet};

use rand::SeedableRng;

use super::*;
use crate::dataset::Vendor;
use crate::dataset::scenes::{PixelBox, SceneObject};

fn position(name: &str) -> usize {
    EMOJI.iter().position(|emoji| emoji.name == name).unwrap()
}

/// An object of 20 px with the upper left corner at `[left, top]`.
fn object(name: &str, [left, top]: [u32; 2]) -> SceneObject {
    SceneObject {
        emoji: position(name),
        vendor: Vendor::Noto,
        size: ObjectSize::Small,
        tint: None,
        bounds: PixelBox {
            left,
            top,
            width: 20,
            height: 20,
        },
    }
}

fn scene(objects: &[SceneObject]) -> Scene {
    Scene {
        image_size: 64,
        background: Colour::Blue,
        objects: objects.to_vec(),
    }
}

/// A red dog in the upper left corner, a cat in the upper right one, an octopus below the dog.
fn three() -> Scene {
    let dog = SceneObject {
        tint: Some(Colour::Red),
        ..object("dog", [0, 0])
    };
    scene(&[dog, object("cat", [40, 5]), object("octopus", [3, 40])])
}

fn mention(name: &str) -> Mention {
    Mention {
        emoji: position(name),
        size: None,
        tint: None,
    }
}

fn statement(names: &[&str], relations: &[Relation]) -> Statement {
    Statement {
        mentions: names.iter().map(|name| mention(name)).collect(),
        predicates: relations
            .iter()
            .map(|&relation| Predicate { relation, wording: 0 })
            .collect(),
        background: None,
        background_first: false,
    }
}

#[test]
fn statements_read_as_captions() {
    use Relation::{Above, Left};
    assert_eq!(
        statement(&["dog", "octopus"], &[Above]).to_string(),
        "a dog above an octopus"
    );
    let three = statement(&["dog", "cat", "octopus"], &[Left, Above]);
    assert_eq!(three.to_string(), "a dog left of a cat and above an octopus");
    let four = statement(&["dog", "cat", "octopus", "palm tree"], &[Left, Left]);
    assert_eq!(
        four.to_string(),
        "a dog left of a cat and an octopus left of a palm tree"
    );
    assert_eq!(statement(&["dog", "cat"], &[]).to_string(), "a dog and a cat");
    let mut list = statement(&["dog", "cat", "octopus"], &[]);
    assert_eq!(list.to_string(), "a dog, a cat and an octopus");
    list.background = Some(Colour::Orange);
    list.mentions[1].tint = Some(Colour::Red);
    list.mentions[2].size = Some(ObjectSize::Large);
    assert_eq!(
        list.to_string(),
        "a dog, a red cat and a large octopus on an orange background"
    );
    list.background_first = true;
    assert!(list.to_string().starts_with("on an orange background, a dog"));
}

#[test]
fn what_is_said_holds_or_not() {
    use Relation::{Above, Below, Left, Right};
    let scene = three();
    let holds = |names: &[&str], relations: &[Relation]| statement(names, relations).holds(&scene);
    assert!(holds(&["dog", "cat"], &[Left]));
    assert!(holds(&["cat", "dog"], &[Right]));
    assert!(holds(&["dog", "cat", "octopus"], &[Left, Above]));
    assert!(holds(&["octopus", "cat"], &[Left]) && holds(&["octopus", "cat"], &[Below]));
    assert!(!holds(&["cat", "dog"], &[Left]));
    // both are in the upper half
    assert!(!holds(&["dog", "cat"], &[Above]) && !holds(&["dog", "cat"], &[Below]));
    assert!(!holds(&["dog", "cat", "octopus"], &[Left, Below]));
    assert!(!holds(&["dog", "bus"], &[Left]));

    let with = |change: fn(&mut Statement)| {
        let mut statement = statement(&["dog", "cat"], &[Left]);
        change(&mut statement);
        statement.holds(&scene)
    };
    assert!(with(|statement| statement.mentions[0].tint = Some(Colour::Red)));
    assert!(!with(|statement| statement.mentions[0].tint = Some(Colour::Blue)));
    assert!(!with(|statement| statement.mentions[1].tint = Some(Colour::Red)));
    assert!(with(|statement| statement.mentions[1].size = Some(ObjectSize::Small)));
    assert!(!with(|statement| statement.mentions[1].size = Some(ObjectSize::Large)));
    assert!(with(|statement| statement.background = Some(Colour::Blue)));
    assert!(!with(|statement| statement.background = Some(Colour::Red)));
}

fn words(text: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for word in text.split(' ') {
        *counts.entry(word.trim_end_matches(',').to_owned()).or_default() += 1;
    }
    counts
}

#[test]
fn drawn_statements_are_true_and_their_counterparts_false() {
    let scene = three();
    let mut seen = BTreeSet::new();
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    for _ in 0..500 {
        let statement = Statement::draw(&scene, &CaptionStyle::default(), &mut rng);
        assert!(statement.holds(&scene), "{statement}");
        assert_eq!(statement.mentions().len(), 3);
        if let Some(swapped) = statement.swapped() {
            assert!(!swapped.holds(&scene), "{swapped}");
            assert_eq!(words(&swapped.to_string()), words(&statement.to_string()));
            let [first, second] = [0, 1].map(|at| scene.find(statement.mentions()[at].emoji).unwrap());
            let exchanged = scene.exchanged(first, second);
            assert!(swapped.holds(&exchanged) && !statement.holds(&exchanged));
        } else {
            assert_eq!(statement.claims().count(), 0);
        }
        seen.insert(statement.to_string());
    }
    assert!(seen.len() > 200, "{} different captions", seen.len());
}

#[test]
fn a_statement_about_a_pair_begins_with_it() {
    let scene = three();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for _ in 0..50 {
        let statement = Statement::draw_about_pair(&scene, [2, 0], &CaptionStyle::default(), &mut rng).unwrap();
        let mut pair = [0, 1].map(|at| scene.find(statement.mentions()[at].emoji).unwrap());
        pair.sort_unstable();
        assert_eq!(pair, [0, 2]);
    }
    // objects across the middle are in no half
    let across = self::scene(&[object("dog", [22, 22]), object("cat", [40, 22])]);
    assert_eq!(
        Statement::draw_about_pair(&across, [0, 1], &CaptionStyle::default(), &mut rng),
        None
    );
    assert!(
        Statement::draw(&across, &CaptionStyle::default(), &mut rng)
            .swapped()
            .is_none()
    );
}

#[test]
fn a_long_caption_is_shortened() {
    let mut long = statement(
        &["palm tree", "top hat", "beer mug", "bus"],
        &[Relation::Left, Relation::Right],
    );
    for mention in &mut long.mentions {
        (mention.size, mention.tint) = (Some(ObjectSize::Small), Some(Colour::Red));
    }
    long.predicates.iter_mut().for_each(|predicate| predicate.wording = 1);
    long.background = Some(Colour::Green);
    assert!(long.num_words() > MAX_WORDS);
    long.shorten();
    assert_eq!(
        long.to_string(),
        "a red palm tree left of a red top hat and a red beer mug right of a red bus"
    );
}
