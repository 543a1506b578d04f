//! What a caption says, so that its truth can be computed.

use std::fmt;

use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use rand::seq::{IndexedRandom, SliceRandom};

use super::{Colour, EMOJI, ObjectSize, Relation, Scene};
use crate::caption::with_article;

/// Most words of a caption: with `[CLS]` before it and `[SEP]` after it, it fits into ALBEF's 25 tokens.
pub const MAX_WORDS: usize = 23;

/// Share of captions that say what there is and not where.
const LIST_PROB: f64 = 0.1;
/// Share of objects whose size is told.
const SIZE_PROB: f64 = 0.4;
/// Share of tinted objects whose colour is told.
const TINT_PROB: f64 = 0.8;
/// Share of captions that tell the background.
const BACKGROUND_PROB: f64 = 0.5;
/// Share of these that begin with it.
const BACKGROUND_FIRST_PROB: f64 = 0.3;

/// Which mentions a caption of two, three or four objects relates. The subject of the second relation is left out if it is
/// that of the first: "a left of b and above c".
const CLAIMS: [&[[usize; 2]]; 3] = [&[[0, 1]], &[[0, 1], [0, 2]], &[[0, 1], [2, 3]]];

/// An object as a caption names it: "a small red dog".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mention {
    /// Position in [`EMOJI`].
    pub emoji: usize,
    /// Size, where it is told.
    pub size: Option<ObjectSize>,
    /// Colour, where it is told.
    pub tint: Option<Colour>,
}

impl fmt::Display for Mention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let adjectives = [self.size.map(ObjectSize::name), self.tint.map(Colour::name)];
        let words: Vec<&str> = adjectives
            .into_iter()
            .flatten()
            .chain([EMOJI[self.emoji].name])
            .collect();
        f.write_str(&with_article(&words.join(" ")))
    }
}

/// What captions may say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptionStyle {
    /// The relations that captions state.
    pub relations: Vec<Relation>,
    /// Whether captions say where things are whenever a relation of these holds, in one wording, and neither size nor
    /// background.
    pub plain: bool,
}

impl Default for CaptionStyle {
    /// Everything.
    fn default() -> Self {
        Self {
            relations: Relation::ALL.to_vec(),
            plain: false,
        }
    }
}

impl CaptionStyle {
    /// The relations that captions may state in which object `a` stands to object `b`.
    pub(super) fn true_relations(&self, scene: &Scene, a: usize, b: usize) -> impl Iterator<Item = Relation> {
        let relations = Relation::ALL.into_iter();
        relations.filter(move |&relation| self.relations.contains(&relation) && scene.is(a, relation, b))
    }

    /// Exchanges the first two objects if a relation that may be stated holds in that direction only.
    fn put_subject_first(&self, scene: &Scene, order: &mut [usize]) {
        let holds = |a: usize, b: usize| self.true_relations(scene, a, b).next().is_some();
        if !holds(order[0], order[1]) && holds(order[1], order[0]) {
            order.swap(0, 1);
        }
    }
}

/// One of the ways to state a relation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Predicate {
    relation: Relation,
    /// Position in [`Relation::wordings`].
    wording: usize,
}

/// A sentence about a scene: all of its objects, where they stand, perhaps the background. Its `Display` is the caption.
///
/// Sizes, colours and the background may be left out; what is said is exact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    mentions: Vec<Mention>,
    /// One for each of [`CLAIMS`], or none: "a dog and a cat".
    predicates: Vec<Predicate>,
    background: Option<Colour>,
    background_first: bool,
}

impl Statement {
    /// A true statement about `scene`, in a full style nine times out of ten one that says where things are.
    ///
    /// # Panics
    /// If the scene has not two to four objects.
    #[must_use]
    pub fn draw(scene: &Scene, style: &CaptionStyle, rng: &mut ChaCha8Rng) -> Self {
        let mut order: Vec<usize> = (0..scene.objects.len()).collect();
        order.shuffle(rng);
        let relations = if !style.plain && rng.random_bool(LIST_PROB) {
            None
        } else {
            style.put_subject_first(scene, &mut order);
            Self::predicates(scene, &order, style, rng)
        };
        Self::about(scene, &order, relations.unwrap_or_default(), style, rng)
    }

    /// A true statement that relates objects `pair` of `scene` in its first words, in either order; `None` if they, or those
    /// that it relates after them, stand in no relation that `style` states.
    ///
    /// # Panics
    /// If the scene has not two to four objects, or none of these numbers.
    #[must_use]
    pub fn draw_about_pair(
        scene: &Scene,
        pair: [usize; 2],
        style: &CaptionStyle,
        rng: &mut ChaCha8Rng,
    ) -> Option<Self> {
        let mut first = pair;
        first.shuffle(rng);
        let mut others: Vec<usize> = (0..scene.objects.len()).filter(|at| !pair.contains(at)).collect();
        others.shuffle(rng);
        let mut order = [&first[..], &others].concat();
        style.put_subject_first(scene, &mut order);
        let predicates = Self::predicates(scene, &order, style, rng)?;
        Some(Self::about(scene, &order, predicates, style, rng))
    }

    fn predicates(
        scene: &Scene,
        order: &[usize],
        style: &CaptionStyle,
        rng: &mut ChaCha8Rng,
    ) -> Option<Vec<Predicate>> {
        let claims = CLAIMS[order.len() - 2].iter();
        claims
            .map(|&[a, b]| {
                let true_ones: Vec<Relation> = style.true_relations(scene, order[a], order[b]).collect();
                Some(Predicate {
                    relation: *true_ones.choose(rng)?,
                    wording: if style.plain { 0 } else { rng.random_range(0..2) },
                })
            })
            .collect()
    }

    fn about(
        scene: &Scene,
        order: &[usize],
        predicates: Vec<Predicate>,
        style: &CaptionStyle,
        rng: &mut ChaCha8Rng,
    ) -> Self {
        let mentions = order.iter().map(|&at| {
            let object = &scene.objects[at];
            Mention {
                emoji: object.emoji,
                size: Some(object.size).filter(|_| !style.plain && rng.random_bool(SIZE_PROB)),
                tint: object.tint.filter(|_| style.plain || rng.random_bool(TINT_PROB)),
            }
        });
        let mut statement = Self {
            mentions: mentions.collect(),
            predicates,
            background: None,
            background_first: false,
        };
        if style.plain {
            return statement;
        }
        statement.background = Some(scene.background).filter(|_| rng.random_bool(BACKGROUND_PROB));
        statement.background_first = rng.random_bool(BACKGROUND_FIRST_PROB);
        statement.shorten();
        statement
    }

    /// Leaves out sizes, long wordings and at last the background, until there are no more than [`MAX_WORDS`] words.
    fn shorten(&mut self) {
        while self.num_words() > MAX_WORDS {
            if let Some(mention) = self.mentions.iter_mut().rev().find(|mention| mention.size.is_some()) {
                mention.size = None;
            } else if let Some(predicate) = self.predicates.iter_mut().find(|predicate| predicate.wording > 0) {
                predicate.wording = 0;
            } else if self.background.take().is_none() {
                return;
            }
        }
    }

    fn num_words(&self) -> usize {
        self.to_string().split_whitespace().count()
    }

    /// The objects, in the order of the sentence.
    #[must_use]
    pub fn mentions(&self) -> &[Mention] {
        &self.mentions
    }

    /// What is said about places: mention, relation, mention.
    pub fn claims(&self) -> impl Iterator<Item = (usize, Relation, usize)> {
        let pairs = self.mentions.len().checked_sub(2).and_then(|at| CLAIMS.get(at));
        let pairs = pairs.into_iter().flat_map(|pairs| pairs.iter());
        pairs
            .zip(&self.predicates)
            .map(|(&[a, b], predicate)| (a, predicate.relation, b))
    }

    /// The background, where it is told.
    #[must_use]
    pub fn background(&self) -> Option<Colour> {
        self.background
    }

    /// Whether all that is said is so.
    #[must_use]
    pub fn holds(&self, scene: &Scene) -> bool {
        let found = self.mentions.iter().map(|mention| {
            let at = scene.find(mention.emoji)?;
            let object = &scene.objects[at];
            let fits = mention.size.is_none_or(|size| size == object.size)
                && mention.tint.is_none_or(|tint| Some(tint) == object.tint);
            fits.then_some(at)
        });
        let Some(objects) = found.collect::<Option<Vec<usize>>>() else {
            return false;
        };
        self.background.is_none_or(|background| background == scene.background)
            && self
                .claims()
                .all(|(a, relation, b)| scene.is(objects[a], relation, objects[b]))
    }

    /// The statement with the first two objects exchanged: the same words, true of the scene with these two
    /// [exchanged](Scene::exchanged), and false of what the statement is true of. `None` if it says nothing about places.
    #[must_use]
    pub fn swapped(&self) -> Option<Self> {
        if self.predicates.is_empty() {
            return None;
        }
        let mut swapped = self.clone();
        swapped.mentions.swap(0, 1);
        Some(swapped)
    }

    fn sentence(&self) -> String {
        let names: Vec<String> = self.mentions.iter().map(Mention::to_string).collect();
        if self.predicates.is_empty() {
            let (last, others) = names
                .split_last()
                .map_or(("", &[][..]), |(last, others)| (last.as_str(), others));
            return format!("{} and {last}", others.join(", "));
        }
        let mut subject = None;
        let clauses = self
            .claims()
            .zip(&self.predicates)
            .map(|((a, relation, b), predicate)| {
                let words = relation.wordings()[predicate.wording];
                let new_subject = subject.replace(a) != Some(a);
                if new_subject {
                    format!("{} {words} {}", names[a], names[b])
                } else {
                    format!("{words} {}", names[b])
                }
            });
        clauses.collect::<Vec<_>>().join(" and ")
    }
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sentence = self.sentence();
        let background = self
            .background
            .map(|colour| with_article(&format!("{colour} background")));
        match background {
            Some(background) if self.background_first => write!(f, "on {background}, {sentence}"),
            Some(background) => write!(f, "{sentence} on {background}"),
            None => f.write_str(&sentence),
        }
    }
}

#[cfg(test)]
mod tests;
