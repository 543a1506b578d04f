//! Scenes drawn at random, and painted.

use std::sync::Arc;

use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use rand::seq::{IndexedRandom, SliceRandom, index};

use super::sprite::Atlas;
use super::{
    CaptionStyle, Colour, EMOJI, NUM_KNOWN, ObjectSize, PixelBox, Scene, SceneObject, ScenesConfig, ScenesSplit,
    is_held_out_pair,
};
use crate::dataset::{DataError, Vendor};
use crate::decode::{DecodedImage, PixelLayout};

/// Draws descriptions of scenes as a configuration asks for them, and paints them.
#[derive(Clone, Debug)]
pub struct SceneGenerator {
    config: ScenesConfig,
    style: CaptionStyle,
    vendors: Vec<Vendor>,
    /// In the order of `vendors`.
    atlases: Vec<Arc<Atlas>>,
    /// Pairs of the first `num_emoji` emoji that training does not have.
    held_out_pairs: Vec<[usize; 2]>,
}

impl SceneGenerator {
    /// Checks the configuration and makes the pictures of objects, unless another generator has made them.
    ///
    /// # Errors
    /// Impossible settings, or a damaged embedded file.
    pub fn new(config: &ScenesConfig) -> Result<Self, DataError> {
        let vendors = config.validate()?;
        let pairs = (0..config.num_emoji).flat_map(|b| (0..b).map(move |a| [a, b]));
        Ok(Self {
            atlases: Atlas::of(&vendors, config.image_size)?,
            held_out_pairs: pairs.filter(|&[a, b]| is_held_out_pair(a, b)).collect(),
            vendors,
            style: config.caption_style(),
            config: config.clone(),
        })
    }

    /// What captions of its scenes may say.
    #[must_use]
    pub fn style(&self) -> &CaptionStyle {
        &self.style
    }

    /// A scene of the configured split.
    #[must_use]
    pub fn draw(&self, rng: &mut ChaCha8Rng) -> Scene {
        let [min, max] = self.config.objects;
        let mut emoji = self.draw_emoji(rng.random_range(min..=max), rng);
        emoji.shuffle(rng);
        let mut objects: Vec<SceneObject> = emoji.into_iter().map(|emoji| self.draw_object(emoji, rng)).collect();
        place(&mut objects, self.config.image_size, self.config.jitter, rng);
        Scene {
            image_size: self.config.image_size,
            background: self.draw_background(&objects, rng),
            objects,
        }
    }

    fn draw_emoji(&self, amount: usize, rng: &mut ChaCha8Rng) -> Vec<usize> {
        match self.config.split {
            ScenesSplit::Train | ScenesSplit::Known | ScenesSplit::Vendor => self.draw_known(amount, rng),
            ScenesSplit::Emoji => {
                let mut emoji = self.draw_known(amount - 1, rng);
                emoji.push(rng.random_range(NUM_KNOWN..EMOJI.len()));
                emoji
            }
            ScenesSplit::Pairs => {
                // `num_emoji` emoji always have such a pair: a test holds that.
                let pair = self.held_out_pairs.choose(rng).copied().unwrap_or([0, 1]);
                let others = self.draw_known(amount, rng).into_iter();
                let others = others.filter(|emoji| !pair.contains(emoji)).take(amount - 2);
                pair.into_iter().chain(others.collect::<Vec<_>>()).collect()
            }
        }
    }

    /// Different emoji that training may show, no two of which are a held-out pair.
    fn draw_known(&self, amount: usize, rng: &mut ChaCha8Rng) -> Vec<usize> {
        loop {
            let emoji = index::sample(rng, self.config.num_emoji, amount).into_vec();
            let mut pairs = (0..amount).flat_map(|b| (0..b).map(move |a| (a, b)));
            if !pairs.any(|(a, b)| is_held_out_pair(emoji[a], emoji[b])) {
                return emoji;
            }
        }
    }

    /// Somewhere: it has its size but no place yet.
    fn draw_object(&self, emoji: usize, rng: &mut ChaCha8Rng) -> SceneObject {
        let at = rng.random_range(0..self.vendors.len());
        let size = ObjectSize::ALL[rng.random_range(0..2)];
        let natural = EMOJI[emoji].natural;
        let tints: Vec<Colour> = Colour::TINTS
            .into_iter()
            .filter(|tint| !natural.contains(tint))
            .collect();
        let tint = rng
            .random_bool(self.config.tint_prob)
            .then(|| tints.choose(rng).copied())
            .flatten();
        let sprite = self.atlases[at].sprite(emoji, size);
        SceneObject {
            emoji,
            vendor: self.vendors[at],
            size,
            tint,
            bounds: PixelBox {
                left: 0,
                top: 0,
                width: sprite.width,
                height: sprite.height,
            },
        }
    }

    /// White or a colour that no object has.
    fn draw_background(&self, objects: &[SceneObject], rng: &mut ChaCha8Rng) -> Colour {
        if rng.random_bool(self.config.white_prob) {
            return Colour::White;
        }
        let has = |object: &SceneObject, colour: &Colour| match object.tint {
            Some(tint) => tint == *colour,
            None => object.emoji().natural.contains(colour),
        };
        let free = Colour::ALL
            .into_iter()
            .filter(|colour| *colour != Colour::White && !objects.iter().any(|object| has(object, colour)));
        let free: Vec<Colour> = free.collect();
        free.choose(rng).copied().unwrap_or(Colour::White)
    }

    /// The picture of `scene`, which may be one that was not drawn here.
    ///
    /// # Panics
    /// If the scene has another image size than the configuration, pictures of vendors that it does not have, or objects
    /// outside of the picture.
    #[must_use]
    pub fn paint(&self, scene: &Scene) -> DecodedImage {
        let size = self.config.image_size;
        assert_eq!(scene.image_size, size, "image size of the scene");
        let stride = size as usize;
        let mut canvas = vec![scene.background.rgb(); stride * stride];
        for object in &scene.objects {
            let bounds = object.bounds;
            let at = self.vendors.iter().position(|&vendor| vendor == object.vendor);
            let (Some(at), true) = (at, bounds.right() <= size && bounds.bottom() <= size) else {
                panic!(
                    "{object:?} cannot be painted on {size} px with pictures of {:?}",
                    self.vendors
                );
            };
            let corner = bounds.top as usize * stride + bounds.left as usize;
            let sprite = self.atlases[at].sprite(object.emoji, object.size);
            sprite.paint(object.tint, &mut canvas, corner, stride);
        }
        DecodedImage::new(size, size, PixelLayout::Rgb, canvas.into_flattened()).with_background(scene.background.rgb())
    }
}

/// Gives every object a quarter of the picture of its own, and in it a place at random: within the share `jitter` of the room
/// that it leaves, around the middle.
fn place(objects: &mut [SceneObject], image_size: u32, jitter: f64, rng: &mut ChaCha8Rng) {
    let middle = image_size / 2;
    let halves = [[0, middle], [middle, image_size]];
    let mut quarters = [[0, 0], [1, 0], [0, 1], [1, 1]];
    quarters.shuffle(rng);
    for (object, [across, down]) in objects.iter_mut().zip(quarters) {
        let mut start = |[low, high]: [u32; 2], length: u32| {
            let room = high - low - length;
            let used = (f64::from(room) * jitter).round() as u32;
            low + (room - used) / 2 + rng.random_range(0..=used)
        };
        object.bounds.left = start(halves[across], object.bounds.width);
        object.bounds.top = start(halves[down], object.bounds.height);
    }
}

#[cfg(test)]
mod tests;
