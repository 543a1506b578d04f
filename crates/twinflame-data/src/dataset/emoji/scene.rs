//! Scenes: several emoji on one canvas, with a caption that says what stands where.

use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom;

use super::sheet::{CELL_PX, Cell};
use crate::caption::with_article;

/// Emoji in a scene are halved.
const ITEM_PX: usize = CELL_PX / 2;
/// How far an item may be shifted from its half towards the other, in pixels.
const JITTER_PX: usize = 4;
/// Share of two-emoji captions that say where; the others say only what.
const RELATION_PROB: f64 = 0.6;

/// An emoji to paste.
pub(super) struct Item<'a> {
    pub(super) cell: &'a Cell,
    pub(super) label: &'a str,
}

/// A composed picture of `CELL_PX` squared RGB pixels with its caption.
pub(super) struct Scene {
    pub(super) rgb: Vec<u8>,
    pub(super) caption: String,
}

/// Puts two or three emoji on a canvas of one colour.
///
/// # Panics
/// If there are not two or three items.
pub(super) fn compose(items: &[Item<'_>], background: [u8; 3], rng: &mut ChaCha8Rng) -> Scene {
    let mut canvas = vec![background; CELL_PX * CELL_PX];
    let caption = match items {
        [first, second] => {
            let (relation, corners) = place_pair(rng);
            paste(&mut canvas, first.cell, corners[0]);
            paste(&mut canvas, second.cell, corners[1]);
            let joint = if rng.random_bool(RELATION_PROB) {
                relation
            } else {
                "and"
            };
            format!("{} {joint} {}", with_article(first.label), with_article(second.label))
        }
        [first, second, third] => {
            let mut quadrants = [[0, 0], [ITEM_PX, 0], [0, ITEM_PX], [ITEM_PX, ITEM_PX]];
            quadrants.shuffle(rng);
            for (item, corner) in items.iter().zip(quadrants) {
                paste(&mut canvas, item.cell, corner);
            }
            let names = [first, second, third].map(|item| with_article(item.label));
            format!("{}, {} and {}", names[0], names[1], names[2])
        }
        _ => panic!("a scene has two or three items, not {}", items.len()),
    };
    Scene {
        rgb: canvas.into_flattened(),
        caption,
    }
}

/// A relation of the first item to the second, with the upper left corners `[x, y]` of both.
fn place_pair(rng: &mut ChaCha8Rng) -> (&'static str, [[usize; 2]; 2]) {
    let near = rng.random_range(0..=JITTER_PX);
    let far = ITEM_PX - rng.random_range(0..=JITTER_PX);
    let [across_first, across_second] = [(); 2].map(|()| rng.random_range(0..=ITEM_PX));
    match rng.random_range(0..4) {
        0 => ("left of", [[near, across_first], [far, across_second]]),
        1 => ("right of", [[far, across_first], [near, across_second]]),
        2 => ("above", [[across_first, near], [across_second, far]]),
        _ => ("below", [[across_first, far], [across_second, near]]),
    }
}

fn paste(canvas: &mut [[u8; 3]], cell: &Cell, [x, y]: [usize; 2]) {
    for row in 0..ITEM_PX {
        for column in 0..ITEM_PX {
            let above = 2 * row * CELL_PX + 2 * column;
            let four = [
                cell[above],
                cell[above + 1],
                cell[above + CELL_PX],
                cell[above + CELL_PX + 1],
            ];
            let alpha: u32 = four.iter().map(|pixel| u32::from(pixel[3])).sum();
            let target = &mut canvas[(y + row) * CELL_PX + x + column];
            for (channel, value) in target.iter_mut().enumerate() {
                // The mean of the four pixels, each over the canvas.
                let front: u32 = four
                    .iter()
                    .map(|pixel| u32::from(pixel[channel]) * u32::from(pixel[3]))
                    .sum();
                *value = ((front + u32::from(*value) * (4 * 255 - alpha) + 2 * 255) / (4 * 255)) as u8;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    const RED: [u8; 3] = [255, 0, 0];
    const GREEN: [u8; 3] = [0, 255, 0];

    fn cell([r, g, b]: [u8; 3]) -> Vec<[u8; 4]> {
        vec![[r, g, b, 255]; CELL_PX * CELL_PX]
    }

    /// Mean position of a colour.
    fn centre(rgb: &[u8], colour: [u8; 3]) -> [f64; 2] {
        let at: Vec<usize> = (0..CELL_PX * CELL_PX)
            .filter(|&at| rgb[3 * at..3 * at + 3] == colour)
            .collect();
        let mean = |of: fn(usize) -> usize| at.iter().map(|&at| of(at) as f64).sum::<f64>() / at.len() as f64;
        [mean(|at| at % CELL_PX), mean(|at| at / CELL_PX)]
    }

    #[test]
    fn a_caption_tells_the_truth() {
        let (red, green) = (cell(RED), cell(GREEN));
        let items = [
            Item {
                cell: &red,
                label: "apple",
            },
            Item {
                cell: &green,
                label: "frog",
            },
        ];
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..64 {
            let scene = compose(&items, [9, 9, 9], &mut ChaCha8Rng::seed_from_u64(seed));
            let [red_x, red_y] = centre(&scene.rgb, RED);
            let [green_x, green_y] = centre(&scene.rgb, GREEN);
            let holds = match scene.caption.as_str() {
                "an apple left of a frog" => red_x < green_x,
                "an apple right of a frog" => red_x > green_x,
                "an apple above a frog" => red_y < green_y,
                "an apple below a frog" => red_y > green_y,
                "an apple and a frog" => true,
                other => panic!("{other}"),
            };
            assert!(holds, "{}: {red_x} {red_y}, {green_x} {green_y}", scene.caption);
            seen.insert(scene.caption);
        }
        assert_eq!(seen.len(), 5);
    }

    #[test]
    fn three_emoji_do_not_overlap() {
        let cells = [[255, 0, 0], [0, 255, 0], [0, 0, 255]].map(cell);
        let items: Vec<Item<'_>> = cells.iter().map(|cell| Item { cell, label: "Peru" }).collect();
        let scene = compose(&items, [9, 9, 9], &mut ChaCha8Rng::seed_from_u64(0));
        assert_eq!(scene.caption, "Peru, Peru and Peru");
        let background = scene
            .rgb
            .as_chunks::<3>()
            .0
            .iter()
            .filter(|pixel| **pixel == [9, 9, 9])
            .count();
        assert_eq!(background, ITEM_PX * ITEM_PX);
    }

    #[test]
    fn clear_pixels_show_the_canvas() {
        let clear = vec![[7, 7, 7, 0]; CELL_PX * CELL_PX];
        let items = [
            Item {
                cell: &clear,
                label: "a",
            },
            Item {
                cell: &clear,
                label: "b",
            },
        ];
        let scene = compose(&items, [1, 2, 3], &mut ChaCha8Rng::seed_from_u64(0));
        assert!(scene.rgb.as_chunks::<3>().0.iter().all(|pixel| *pixel == [1, 2, 3]));
    }
}
