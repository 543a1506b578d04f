//! What a picture shows, before it is painted.

use serde::{Deserialize, Serialize};

use super::{Colour, EMOJI, SceneEmoji};
use crate::dataset::Vendor;

/// A rectangle of pixels, from `left` and `top` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PixelBox {
    /// First column.
    pub left: u32,
    /// First row.
    pub top: u32,
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

impl PixelBox {
    /// The column after the last one.
    #[must_use]
    pub fn right(&self) -> u32 {
        self.left + self.width
    }

    /// The row after the last one.
    #[must_use]
    pub fn bottom(&self) -> u32 {
        self.top + self.height
    }
}

/// How large an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ObjectSize {
    /// The longer side is 22 of 64 pixels.
    Small,
    /// The longer side is 30 of 64 pixels.
    Large,
}

impl ObjectSize {
    /// Both sizes; `size as usize` is the position here.
    pub const ALL: [Self; 2] = [Self::Small, Self::Large];

    /// Name, as captions have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        ["small", "large"][self as usize]
    }

    /// Longer side in pixels of an object in an image of `image_size` pixels. At most half of it.
    #[must_use]
    pub fn side(self, image_size: u32) -> u32 {
        image_size * [22, 30][self as usize] / 64
    }
}

/// An emoji in a scene.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SceneObject {
    /// Position in [`EMOJI`].
    pub emoji: usize,
    /// Who drew it.
    pub vendor: Vendor,
    /// Size.
    pub size: ObjectSize,
    /// The colour it has instead of its own ones.
    pub tint: Option<Colour>,
    /// Its visible pixels are in this box and touch all four sides.
    pub bounds: PixelBox,
}

impl SceneObject {
    /// Which emoji it is.
    #[must_use]
    pub fn emoji(&self) -> &'static SceneEmoji {
        &EMOJI[self.emoji]
    }
}

/// Where one object is, seen from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Relation {
    /// In the left half, the other being in the right half.
    Left,
    /// In the right half, the other being in the left half.
    Right,
    /// In the upper half, the other being in the lower half.
    Above,
    /// In the lower half, the other being in the upper half.
    Below,
}

impl Relation {
    /// All relations; `relation as usize` is the position here.
    pub const ALL: [Self; 4] = [Self::Left, Self::Right, Self::Above, Self::Below];

    /// The ways to say it.
    #[must_use]
    pub fn wordings(self) -> [&'static str; 2] {
        [
            ["left of", "to the left of"],
            ["right of", "to the right of"],
            ["above", "over"],
            ["below", "under"],
        ][self as usize]
    }
}

/// A picture in words and numbers: no two objects are the same emoji, and none covers another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scene {
    /// Side of the square picture in pixels.
    pub image_size: u32,
    /// Colour of everything behind the objects.
    pub background: Colour,
    /// Two to four objects.
    pub objects: Vec<SceneObject>,
}

impl Scene {
    /// Whether object `a` stands in `relation` to object `b`: each is wholly in its half of the picture. Objects across
    /// the middle stand in none.
    ///
    /// # Panics
    /// If there is no such object.
    #[must_use]
    pub fn is(&self, a: usize, relation: Relation, b: usize) -> bool {
        let middle = self.image_size / 2;
        let (a, b) = (self.objects[a].bounds, self.objects[b].bounds);
        match relation {
            Relation::Left => a.right() <= middle && middle <= b.left,
            Relation::Right => b.right() <= middle && middle <= a.left,
            Relation::Above => a.bottom() <= middle && middle <= b.top,
            Relation::Below => b.bottom() <= middle && middle <= a.top,
        }
    }

    /// The object that is this emoji (a position in [`EMOJI`]).
    #[must_use]
    pub fn find(&self, emoji: usize) -> Option<usize> {
        self.objects.iter().position(|object| object.emoji == emoji)
    }

    /// The scene with objects `a` and `b` in each other's place, as near as their sizes allow. All relations that held
    /// for one now hold for the other.
    ///
    /// # Panics
    /// If there is no such object.
    #[must_use]
    pub fn exchanged(&self, a: usize, b: usize) -> Self {
        let mut scene = self.clone();
        let places = [self.objects[b].bounds, self.objects[a].bounds];
        for (index, place) in [a, b].into_iter().zip(places) {
            let PixelBox { width, height, .. } = self.objects[index].bounds;
            scene.objects[index].bounds = PixelBox {
                left: centred(place.left, place.width, width, self.image_size),
                top: centred(place.top, place.height, height, self.image_size),
                width,
                height,
            };
        }
        scene
    }
}

/// Where a stretch of `length` pixels starts that takes the place of another one: at the same centre, but in the same half
/// of the picture if that one was in a half.
fn centred(place: u32, place_length: u32, length: u32, image_size: u32) -> u32 {
    let middle = image_size / 2;
    let (low, high) = if place + place_length <= middle {
        (0, middle)
    } else if place >= middle {
        (middle, image_size)
    } else {
        (0, image_size)
    };
    let start = (2 * place + place_length).saturating_sub(length) / 2;
    start.clamp(low, high - length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scene(boxes: &[[u32; 4]]) -> Scene {
        let objects = boxes
            .iter()
            .enumerate()
            .map(|(emoji, &[left, top, width, height])| SceneObject {
                emoji,
                vendor: Vendor::Noto,
                size: ObjectSize::Small,
                tint: None,
                bounds: PixelBox {
                    left,
                    top,
                    width,
                    height,
                },
            });
        Scene {
            image_size: 64,
            background: Colour::White,
            objects: objects.collect(),
        }
    }

    #[test]
    fn relations_are_between_halves() {
        use Relation::{Above, Below, Left, Right};
        let scene = scene(&[[0, 0, 32, 20], [32, 10, 32, 30], [33, 32, 10, 10]]);
        let holds = |a, b| -> Vec<Relation> { Relation::ALL.into_iter().filter(|&r| scene.is(a, r, b)).collect() };
        assert_eq!(holds(0, 1), [Left]);
        assert_eq!(holds(1, 0), [Right]);
        assert_eq!(holds(0, 2), [Left, Above]);
        assert_eq!(holds(2, 0), [Right, Below]);
        assert_eq!(holds(1, 2), []);
    }

    #[test]
    fn exchanged_objects_take_each_others_place() {
        // a large one in the upper left corner, a small one below the middle at the right edge
        let scene = scene(&[[0, 0, 30, 30], [50, 34, 14, 20], [40, 0, 20, 20]]);
        let exchanged = scene.exchanged(0, 1);
        let boxes = exchanged.objects.iter().map(|object| object.bounds);
        let boxes: Vec<[u32; 4]> = boxes.map(|b| [b.left, b.top, b.width, b.height]).collect();
        assert_eq!(boxes, [[34, 32, 30, 30], [8, 5, 14, 20], [40, 0, 20, 20]]);
        assert!(exchanged.is(1, Relation::Left, 0) && exchanged.is(1, Relation::Above, 0));
        assert_eq!(exchanged.objects[0].emoji, 0, "what it is stays");
    }

    #[test]
    fn sizes_fit_into_halves() {
        for image_size in 32..=512 {
            let [small, large] = ObjectSize::ALL.map(|size| size.side(image_size));
            assert!(small < large && large <= image_size / 2);
        }
        assert_eq!(ObjectSize::ALL.map(|size| size.side(64)), [22, 30]);
    }
}
