//! The pictures of objects: cut out, scaled once, kept.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;

use super::{Colour, EMOJI, ObjectSize};
use crate::dataset::emoji::{CELL_PX, Catalog, Sheet};
use crate::dataset::{DataError, Vendor};
use crate::decode::{DecodedImage, PixelLayout};
use crate::resize::{Interpolation, composite, resize};

/// Pixels fainter than this do not count when a picture is cut out.
const MIN_ALPHA: u8 = 32;

/// How much of the differences in luminance a tinted picture keeps, of 256.
const TINT_CONTRAST: i32 = 200;

/// A cut-out at the size it is painted with, without clear margins.
#[derive(Debug)]
pub(super) struct Sprite {
    pub(super) width: u32,
    pub(super) height: u32,
    /// Not premultiplied, `[height, width]`.
    rgba: Vec<[u8; 4]>,
    /// Median luminance of the visible pixels: where a tint shows as it is.
    median: i32,
}

impl Sprite {
    fn new(cut_out: &DecodedImage, side: u32) -> Self {
        let (width, height) = (cut_out.width(), cut_out.height());
        let longer = width.max(height);
        let scaled = |length: u32| ((2 * length * side + longer) / (2 * longer)).max(1);
        let image = resize(cut_out, scaled(width), scaled(height), Interpolation::Bicubic);
        let rgba = image.pixels().as_chunks().0.to_vec();
        Self {
            width: image.width(),
            height: image.height(),
            median: median_luminance(&rgba),
            rgba,
        }
    }

    /// Paints over `canvas`, whose rows have `stride` pixels, from the pixel `at` on.
    pub(super) fn paint(&self, tint: Option<Colour>, canvas: &mut [[u8; 3]], at: usize, stride: usize) {
        let rows = self.rgba.chunks_exact(self.width as usize);
        for (row, target) in rows.zip(canvas[at..].chunks_mut(stride)) {
            for (&[r, g, b, alpha], pixel) in row.iter().zip(target) {
                let colour = tint.map_or([r, g, b], |tint| self.tinted([r, g, b], tint));
                *pixel = composite(colour, alpha, *pixel);
            }
        }
    }

    /// A colour with the luminance of a pixel: the colour itself at the median, towards black below, towards white above.
    /// A mere product would leave black things black, and make yellow ones olive.
    fn tinted(&self, rgb: [u8; 3], tint: Colour) -> [u8; 3] {
        let shade = (luminance(rgb) - self.median) * TINT_CONTRAST / 256;
        tint.rgb().map(|channel| {
            let channel = i32::from(channel);
            let room = if shade < 0 { channel } else { 255 - channel };
            (channel + room * shade / 255) as u8
        })
    }
}

/// Of 255, by ITU-R BT.601.
fn luminance([r, g, b]: [u8; 3]) -> i32 {
    (299 * i32::from(r) + 587 * i32::from(g) + 114 * i32::from(b)) / 1000
}

fn median_luminance(rgba: &[[u8; 4]]) -> i32 {
    let visible = rgba.iter().filter(|pixel| pixel[3] >= MIN_ALPHA);
    let mut luminances: Vec<i32> = visible.map(|&[r, g, b, _]| luminance([r, g, b])).collect();
    luminances.sort_unstable();
    luminances.get(luminances.len() / 2).copied().unwrap_or(0)
}

/// The sprites of one vendor at one image size.
#[derive(Debug)]
pub(super) struct Atlas {
    /// By position in [`EMOJI`] and [`ObjectSize`].
    sprites: Vec<[Sprite; 2]>,
}

impl Atlas {
    /// The sprites of each of `vendors` for images of `image_size` pixels, made on first use on all cores and kept for the
    /// life of the process (about 400 kB each at 64 pixels).
    ///
    /// # Errors
    /// If an embedded file was damaged before it was embedded.
    pub(super) fn of(vendors: &[Vendor], image_size: u32) -> Result<Vec<Arc<Self>>, DataError> {
        static ATLASES: Mutex<BTreeMap<(Vendor, u32), Arc<Atlas>>> = Mutex::new(BTreeMap::new());
        let kept = || ATLASES.lock().unwrap_or_else(PoisonError::into_inner);
        // Not under the lock: two threads that come first at one time do the same work twice.
        let known = vendors.iter().map(|&vendor| kept().get(&(vendor, image_size)).cloned());
        let known: Vec<Option<Arc<Self>>> = known.collect();
        let make = |(&vendor, known): (&Vendor, Option<Arc<Self>>)| match known {
            Some(atlas) => Ok(atlas),
            None => Self::new(vendor, image_size).map(Arc::new),
        };
        let atlases: Vec<Arc<Self>> = vendors
            .par_iter()
            .zip(known)
            .map(make)
            .collect::<Result<_, DataError>>()?;
        kept().extend(
            vendors
                .iter()
                .map(|&vendor| (vendor, image_size))
                .zip(atlases.iter().cloned()),
        );
        Ok(atlases)
    }

    fn new(vendor: Vendor, image_size: u32) -> Result<Self, DataError> {
        let catalog = Catalog::embedded()?;
        let cells: HashMap<&str, u16> = catalog
            .entries
            .iter()
            .filter_map(|entry| Some((entry.label.as_str(), entry.cells[vendor as usize]?)))
            .collect();
        // Decoded for this once: a sheet takes 31 MB, its sprites a hundredth of that.
        let sheet = Sheet::decoded(vendor)?;
        let sprites = EMOJI.iter().map(|emoji| {
            let cell = *cells.get(emoji.label).ok_or_else(|| DataError::Embedded {
                file: "assets/emoji/emoji.jsonl.gz",
                message: format!("{} does not draw {:?}", vendor.name(), emoji.label),
            })?;
            let cut_out = cut_out(sheet.cell(cell));
            Ok(ObjectSize::ALL.map(|size| Sprite::new(&cut_out, size.side(image_size))))
        });
        Ok(Self {
            sprites: sprites.collect::<Result<_, DataError>>()?,
        })
    }

    pub(super) fn sprite(&self, emoji: usize, size: ObjectSize) -> &Sprite {
        &self.sprites[emoji][size as usize]
    }
}

/// The visible part of a cell.
fn cut_out(cell: &[[u8; 4]]) -> DecodedImage {
    let visible = cell.iter().enumerate().filter(|(_, pixel)| pixel[3] >= MIN_ALPHA);
    let [mut left, mut top, mut right, mut bottom] = [CELL_PX, CELL_PX, 0, 0];
    for (at, _) in visible {
        let (x, y) = (at % CELL_PX, at / CELL_PX);
        (left, top) = (left.min(x), top.min(y));
        (right, bottom) = (right.max(x + 1), bottom.max(y + 1));
    }
    let pixels = cell.as_flattened().to_vec();
    let image = DecodedImage::new(CELL_PX as u32, CELL_PX as u32, PixelLayout::Rgba, pixels);
    if right == 0 {
        return image;
    }
    image.crop(left as u32, top as u32, (right - left) as u32, (bottom - top) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names that pixels are sorted by: those of [`Colour`], and two that scenes do not use.
    fn palette() -> Vec<(Option<Colour>, [f64; 3])> {
        let named = Colour::ALL.into_iter().map(|colour| (Some(colour), colour.rgb()));
        let unused = [[25, 25, 25], [140, 90, 50]].map(|black_or_brown| (None, black_or_brown));
        named.chain(unused).map(|(colour, rgb)| (colour, lab(rgb))).collect()
    }

    /// CIE L*a*b* of sRGB, white point D65.
    fn lab(rgb: [u8; 3]) -> [f64; 3] {
        let [r, g, b] = rgb.map(|channel| {
            let value = f64::from(channel) / 255.0;
            if value > 0.04045 {
                ((value + 0.055) / 1.055).powf(2.4)
            } else {
                value / 12.92
            }
        });
        let [x, y, z] = [
            (0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.9505,
            0.2126 * r + 0.7152 * g + 0.0722 * b,
            (0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.089,
        ]
        .map(|value: f64| {
            if value > 0.008856 {
                value.cbrt()
            } else {
                7.787 * value + 16.0 / 116.0
            }
        });
        [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
    }

    /// [`SceneEmoji::natural`](super::super::SceneEmoji) is what a quarter of a picture has.
    #[test]
    fn natural_colours_are_those_of_the_pictures() {
        let (palette, catalog) = (palette(), Catalog::embedded().unwrap());
        let mut shares = vec![[0.0_f64; Colour::ALL.len()]; EMOJI.len()];
        for vendor in Vendor::ALL {
            let sheet = Sheet::decoded(vendor).unwrap();
            for (emoji, shares) in EMOJI.iter().zip(&mut shares) {
                let entry = catalog.entries.iter().find(|entry| entry.label == emoji.label).unwrap();
                let pixels = sheet.cell(entry.cells[vendor as usize].unwrap()).iter();
                let visible: Vec<[f64; 3]> = pixels
                    .filter(|p| p[3] > 128)
                    .map(|&[r, g, b, _]| lab([r, g, b]))
                    .collect();
                let mut counts = [0; Colour::ALL.len()];
                for pixel in &visible {
                    let distance = |other: &[f64; 3]| (0..3).map(|c| (pixel[c] - other[c]).powi(2)).sum::<f64>();
                    let nearest = palette.iter().min_by(|a, b| distance(&a.1).total_cmp(&distance(&b.1)));
                    if let Some((Some(colour), _)) = nearest {
                        counts[*colour as usize] += 1;
                    }
                }
                for (share, count) in shares.iter_mut().zip(counts) {
                    *share = share.max(f64::from(count) / visible.len() as f64);
                }
            }
        }
        for (emoji, shares) in EMOJI.iter().zip(shares) {
            for colour in Colour::ALL.into_iter().filter(|&colour| colour != Colour::White) {
                let (share, listed) = (shares[colour as usize], emoji.natural.contains(&colour));
                assert_eq!(listed, share >= 0.25, "{} is {colour} to {share}", emoji.name);
            }
        }
    }

    #[test]
    fn sprites_have_no_margin_and_their_size() {
        for atlas in Atlas::of(&[Vendor::Noto, Vendor::HELD_OUT], 64).unwrap() {
            for emoji in 0..EMOJI.len() {
                let sprite = atlas.sprite(emoji, ObjectSize::Large);
                assert_eq!(sprite.width.max(sprite.height), 30);
                let rows: Vec<&[[u8; 4]]> = sprite.rgba.chunks_exact(sprite.width as usize).collect();
                let is_seen = |pixel: &[u8; 4]| pixel[3] > 0;
                let last = rows[0].len() - 1;
                assert!(rows[0].iter().any(is_seen) && rows[rows.len() - 1].iter().any(is_seen));
                assert!(rows.iter().any(|row| is_seen(&row[0])) && rows.iter().any(|row| is_seen(&row[last])));
            }
        }
    }

    #[test]
    fn a_clear_cell_is_left_whole() {
        let image = cut_out(&vec![[0; 4]; CELL_PX * CELL_PX]);
        assert_eq!((image.width(), image.height()), (64, 64));
        let mut cell = vec![[0; 4]; CELL_PX * CELL_PX];
        cell[5 * CELL_PX + 7] = [1, 2, 3, 255];
        cell[6 * CELL_PX + 9] = [1, 2, 3, 40];
        cell[60 * CELL_PX + 60] = [1, 2, 3, 20];
        let image = cut_out(&cell);
        assert_eq!((image.width(), image.height()), (3, 2));
    }
}
