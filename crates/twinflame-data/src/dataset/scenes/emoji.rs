//! The emoji that scenes are made of.

use super::Colour;
use super::Colour::{Blue, Green, Grey, Orange, Pink, Purple, Red, Yellow};
use crate::seed::{Purpose, derive};

/// One pair in this many is held out.
const HELD_OUT_PAIR_EVERY: u64 = 5;

/// Of the hash that chooses them: one that gives the first few emoji their share too.
const HELD_OUT_PAIR_SEED: u64 = 3;

/// An emoji of the catalog that every vendor draws and that a short, concrete word names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SceneEmoji {
    /// Label in the [catalog](crate::dataset::emoji::Catalog).
    pub label: &'static str,
    /// Name in captions: one or two words in the singular, without a colour. No two emoji share one.
    pub name: &'static str,
    /// Colours that a quarter of some vendor's picture has. It is never tinted with these, or "a red tomato" would say
    /// nothing, nor put on such a background.
    pub natural: &'static [Colour],
}

const fn emoji(label: &'static str, name: &'static str, natural: &'static [Colour]) -> SceneEmoji {
    SceneEmoji { label, name, natural }
}

/// How many of [`EMOJI`] may be trained on; those after them are held out. They are the catalog's own split.
pub const NUM_KNOWN: usize = 64;

/// All emoji of scenes. The first ones differ most, so that few of them make an easy set.
pub const EMOJI: [SceneEmoji; 80] = [
    emoji("dog", "dog", &[Orange]),
    emoji("banana", "banana", &[Orange, Yellow]),
    emoji("bus", "bus", &[Grey, Yellow, Green]),
    emoji("frog", "frog", &[Yellow, Green]),
    emoji("guitar", "guitar", &[Red, Orange]),
    emoji("crown", "crown", &[Orange, Yellow]),
    emoji("whale", "whale", &[Grey, Blue]),
    emoji("cactus", "cactus", &[Green]),
    emoji("elephant", "elephant", &[Grey, Blue]),
    emoji("tomato", "tomato", &[Red, Green]),
    emoji("rocket", "rocket", &[Grey, Red, Orange, Blue]),
    emoji("key", "key", &[Orange, Yellow]),
    emoji("pig", "pig", &[Pink]),
    emoji("umbrella", "umbrella", &[Grey, Red, Yellow, Blue, Purple]),
    emoji("tulip", "tulip", &[Red, Orange, Green, Purple, Pink]),
    emoji("bicycle", "bicycle", &[Grey, Red, Orange, Blue]),
    emoji("cat", "cat", &[Orange, Yellow]),
    emoji("pineapple", "pineapple", &[Orange, Yellow, Green]),
    emoji("bell", "bell", &[Grey, Orange, Yellow]),
    emoji("turtle", "turtle", &[Grey, Yellow, Green]),
    emoji("camera", "camera", &[Grey, Purple]),
    emoji("mushroom", "mushroom", &[Red, Orange, Pink]),
    emoji("tractor", "tractor", &[Grey, Red, Orange, Yellow, Green]),
    emoji("octopus", "octopus", &[Red, Orange, Purple, Pink]),
    emoji("bear", "bear", &[]),
    emoji("watermelon", "watermelon", &[Red, Green]),
    emoji("helicopter", "helicopter", &[Grey, Red, Orange, Yellow]),
    emoji("candle", "candle", &[Grey, Orange, Yellow]),
    emoji("rooster", "rooster", &[Grey, Red, Orange, Green]),
    emoji("hamburger", "hamburger", &[Orange, Yellow]),
    emoji("sailboat", "sailboat", &[Grey, Red, Orange, Blue]),
    emoji("hammer", "hammer", &[Grey, Orange, Yellow]),
    emoji("monkey", "monkey", &[Orange, Yellow]),
    emoji("pear", "pear", &[Yellow, Green]),
    emoji("house", "house", &[Grey, Red, Yellow]),
    emoji("spider", "spider", &[Grey, Blue]),
    emoji("balloon", "balloon", &[Red, Orange]),
    emoji("doughnut", "doughnut", &[Red, Orange]),
    emoji("anchor", "anchor", &[Grey, Blue]),
    emoji("snail", "snail", &[Grey, Orange, Green, Purple, Pink]),
    emoji("koala", "koala", &[Grey]),
    emoji("sunflower", "sunflower", &[Orange, Yellow, Green]),
    emoji("taxi", "taxi", &[Yellow]),
    emoji("telephone", "telephone", &[Grey, Red, Blue]),
    emoji("horse", "horse", &[Orange]),
    emoji("lemon", "lemon", &[Yellow]),
    emoji("television", "television", &[Grey, Yellow, Blue, Purple]),
    emoji("trophy", "trophy", &[Orange, Yellow]),
    emoji("panda", "panda", &[Grey, Pink]),
    emoji("peach", "peach", &[Red, Orange, Pink]),
    emoji("airplane", "airplane", &[Grey, Blue]),
    emoji("bomb", "bomb", &[Purple]),
    emoji("camel", "camel", &[Orange, Yellow]),
    emoji("palm tree", "palm tree", &[Green]),
    emoji("pencil", "pencil", &[Red, Orange, Yellow]),
    emoji("castle", "castle", &[Grey]),
    emoji("cow", "cow", &[Grey]),
    emoji("lollipop", "lollipop", &[Red, Orange, Yellow, Green, Purple, Pink]),
    emoji("ambulance", "ambulance", &[Red, Pink]),
    emoji("top hat", "top hat", &[Grey, Purple]),
    emoji("mouse", "mouse", &[Grey, Pink]),
    emoji("backpack", "backpack", &[Grey, Red, Orange, Pink]),
    emoji("alarm clock", "clock", &[Grey, Red, Blue, Pink]),
    emoji("fish", "fish", &[Grey, Blue]),
    emoji("penguin", "penguin", &[Grey, Blue, Purple, Pink]),
    emoji("strawberry", "strawberry", &[Red, Yellow, Green]),
    emoji("snake", "snake", &[Yellow, Green]),
    emoji("violin", "violin", &[Red, Orange]),
    emoji("eggplant", "eggplant", &[Purple, Pink]),
    emoji("rose", "rose", &[Red, Orange, Green]),
    emoji("pizza", "pizza", &[Red, Orange, Yellow]),
    emoji("trumpet", "trumpet", &[Orange, Yellow]),
    emoji("basketball", "basketball", &[Grey, Red, Orange]),
    emoji("cookie", "cookie", &[Grey, Orange, Yellow]),
    emoji("wastebasket", "wastebasket", &[Grey, Blue]),
    emoji("cocktail glass", "cocktail", &[Grey, Yellow, Green]),
    emoji("beer mug", "beer mug", &[Orange, Yellow]),
    emoji("microscope", "microscope", &[Grey, Blue]),
    emoji("paintbrush", "paintbrush", &[Red, Orange, Blue]),
    emoji("tangerine", "tangerine", &[Orange, Yellow]),
];

/// Whether training never shows these two together: one pair in five, by a hash of their positions in [`EMOJI`], whatever
/// the configuration is. Of no consequence for emoji that are held out themselves.
#[must_use]
pub fn is_held_out_pair(a: usize, b: usize) -> bool {
    derive(HELD_OUT_PAIR_SEED, Purpose::HeldOutPair, a.min(b), a.max(b)).is_multiple_of(HELD_OUT_PAIR_EVERY)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::dataset::Vendor;
    use crate::dataset::emoji::Catalog;

    #[test]
    fn every_vendor_draws_them_and_the_split_is_the_catalogs() {
        let catalog = Catalog::embedded().unwrap();
        for (at, emoji) in EMOJI.iter().enumerate() {
            let entry = catalog.entries.iter().find(|entry| entry.label == emoji.label).unwrap();
            assert!(Vendor::ALL.iter().all(|&vendor| entry.has(vendor)), "{}", emoji.label);
            assert_eq!(entry.held_out, at >= NUM_KNOWN, "{}", emoji.label);
        }
    }

    #[test]
    fn names_are_short_and_tell_no_colour() {
        let names: HashSet<&str> = EMOJI.iter().map(|emoji| emoji.name).collect();
        assert_eq!(names.len(), EMOJI.len());
        for name in names {
            let words: Vec<&str> = name.split(' ').collect();
            assert!(words.len() <= 2, "{name}");
            assert!(
                !Colour::ALL.iter().any(|colour| words.contains(&colour.name())),
                "{name}"
            );
        }
    }

    #[test]
    fn there_is_a_colour_left_for_each() {
        for emoji in &EMOJI {
            assert!(
                Colour::TINTS.iter().any(|tint| !emoji.natural.contains(tint)),
                "{}",
                emoji.name
            );
        }
    }

    /// However few emoji there are, some pairs are held out and four emoji are left that may all be together.
    #[test]
    fn a_fifth_of_the_pairs_is_held_out() {
        for num_emoji in 8..=NUM_KNOWN {
            let pairs = (0..num_emoji).flat_map(|b| (0..b).map(move |a| (a, b)));
            let held_out = pairs.clone().filter(|&(a, b)| is_held_out_pair(a, b)).count();
            let share = held_out as f64 / pairs.count() as f64;
            assert!((0.1..0.3).contains(&share), "{share} of {num_emoji}");
        }
        let together = |a: usize, b: usize| a < b && !is_held_out_pair(a, b);
        let four =
            (0..8).flat_map(|a| (0..8).flat_map(move |b| (0..8).flat_map(move |c| (0..8).map(move |d| [a, b, c, d]))));
        let fits = |&[a, b, c, d]: &[usize; 4]| {
            [(a, b), (a, c), (a, d), (b, c), (b, d), (c, d)]
                .iter()
                .all(|&(x, y)| together(x, y))
        };
        assert!(four.filter(fits).count() > 5);
        assert_eq!(is_held_out_pair(3, 7), is_held_out_pair(7, 3));
    }
}
