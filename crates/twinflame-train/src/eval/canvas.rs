//! Drawing for result pictures: text, scaled images, frames.

use std::io::Cursor;
use std::path::Path;

use image::imageops::{self, FilterType};
use image::{DynamicImage, ImageFormat, Rgb, RgbImage, RgbaImage};
use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};
use twinflame_data::DecodedImage;

use super::EvalError;
use super::partial_file::write_whole;

/// Height of a text line in pixels.
pub(crate) const LINE_PX: u32 = RasterHeight::Size16.val() as u32 + 2;
/// Width of a character in pixels.
pub(crate) const CHAR_PX: u32 = get_raster_width(FontWeight::Regular, RasterHeight::Size16) as u32;

pub(crate) const INK: Rgb<u8> = Rgb([24, 24, 27]);
pub(crate) const GREY: Rgb<u8> = Rgb([100, 100, 108]);
pub(crate) const PAPER: Rgb<u8> = Rgb([255, 255, 255]);
pub(crate) const GREEN: Rgb<u8> = Rgb([0, 150, 60]);
pub(crate) const RED: Rgb<u8> = Rgb([214, 40, 40]);

/// A white sheet to draw on. What falls outside is cut off.
pub(crate) struct Canvas(RgbImage);

impl Canvas {
    pub(crate) fn new(width: u32, height: u32) -> Self {
        Self(RgbImage::from_pixel(width, height, PAPER))
    }

    /// Writes one line with its top left corner at `(x, y)`. A character that the font lacks becomes `?`.
    pub(crate) fn text(&mut self, x: u32, y: u32, text: &str, ink: Rgb<u8>) {
        for (place, character) in text.chars().map(plain).enumerate() {
            let glyph = get_raster(character, FontWeight::Regular, RasterHeight::Size16)
                .or_else(|| get_raster('?', FontWeight::Regular, RasterHeight::Size16));
            let Some(glyph) = glyph else { continue };
            let left = x + place as u32 * CHAR_PX;
            for (row, line) in glyph.raster().iter().enumerate() {
                for (column, &coverage) in line.iter().enumerate() {
                    self.blend(left + column as u32, y + row as u32, ink, coverage);
                }
            }
        }
    }

    fn blend(&mut self, x: u32, y: u32, ink: Rgb<u8>, coverage: u8) {
        if let Some(pixel) = self.0.get_pixel_mut_checked(x, y) {
            let coverage = u16::from(coverage);
            for (below, ink) in pixel.0.iter_mut().zip(ink.0) {
                *below = ((u16::from(*below) * (255 - coverage) + u16::from(ink) * coverage + 127) / 255) as u8;
            }
        }
    }

    pub(crate) fn fill(&mut self, [x, y]: [u32; 2], [width, height]: [u32; 2], colour: Rgb<u8>) {
        for row in y..(y + height).min(self.0.height()) {
            for column in x..(x + width).min(self.0.width()) {
                self.0.put_pixel(column, row, colour);
            }
        }
    }

    /// A frame of `thickness` pixels just outside the square of `side` at `(x, y)`.
    pub(crate) fn frame(&mut self, [x, y]: [u32; 2], side: u32, thickness: u32, colour: Rgb<u8>) {
        let outer = side + 2 * thickness;
        let (left, top) = (x.saturating_sub(thickness), y.saturating_sub(thickness));
        self.fill([left, top], [outer, thickness], colour);
        self.fill([left, y + side], [outer, thickness], colour);
        self.fill([left, top], [thickness, outer], colour);
        self.fill([x + side, top], [thickness, outer], colour);
    }

    /// Puts a tile made by [`tile`] at `(x, y)`.
    pub(crate) fn paste(&mut self, [x, y]: [u32; 2], tile: &RgbImage) {
        imageops::replace(&mut self.0, tile, i64::from(x), i64::from(y));
    }

    pub(crate) fn into_image(self) -> RgbImage {
        self.0
    }
}

/// The font has Latin letters only; quotes and dashes of typography have a plain twin.
fn plain(character: char) -> char {
    match character {
        '\u{2018}' | '\u{2019}' => '\'',
        '\u{201c}' | '\u{201d}' => '"',
        '\u{2010}'..='\u{2015}' => '-',
        other => other,
    }
}

/// An image as the model's pipeline has it, to be drawn.
pub fn to_dynamic(image: &DecodedImage) -> DynamicImage {
    let rgb = RgbImage::from_raw(image.width(), image.height(), image.to_rgb());
    DynamicImage::ImageRgb8(rgb.unwrap_or_default())
}

/// An image scaled to fit into a white square of `side` pixels, transparency on white.
pub(crate) fn tile(image: &DynamicImage, side: u32) -> RgbImage {
    let scaled = image.resize(side, side, FilterType::CatmullRom).to_rgba8();
    let mut square = RgbaImage::from_pixel(side, side, image::Rgba([255, 255, 255, 255]));
    let (left, top) = (
        (side - scaled.width().min(side)) / 2,
        (side - scaled.height().min(side)) / 2,
    );
    imageops::overlay(&mut square, &scaled, i64::from(left), i64::from(top));
    DynamicImage::from(square).to_rgb8()
}

/// Breaks `text` at spaces into at most `max_lines` lines of `width` characters; what does not fit ends in `...`.
pub(crate) fn wrap(text: &str, width: usize, max_lines: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let fits = lines
            .last()
            .is_some_and(|line| line.chars().count() + 1 + word.chars().count() <= width);
        match lines.last_mut() {
            Some(line) if fits => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    let overflow = lines.len() > max_lines;
    lines.truncate(max_lines);
    if let Some(last) = lines.last_mut().filter(|_| overflow) {
        last.push_str(" ...");
    }
    lines.iter().map(|line| shorten(line, width)).collect()
}

/// `text` in at most `width` characters, the cut marked by `...`.
pub(crate) fn shorten(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(3)).collect();
    format!("{}...", kept.trim_end_matches([' ', '.']))
}

/// Writes a picture as PNG; the file appears under its name only when it is complete.
///
/// # Errors
/// If the file cannot be written.
pub fn save_png(image: &RgbImage, path: &Path) -> Result<(), EvalError> {
    let mut bytes = Cursor::new(Vec::new());
    image
        .write_to(&mut bytes, ImageFormat::Png)
        .map_err(|source| EvalError::Picture {
            path: path.to_owned(),
            source,
        })?;
    write_whole(path, &bytes.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_leaves_ink_and_stays_on_the_sheet() {
        let mut canvas = Canvas::new(40, 20);
        canvas.text(0, 0, "Wide text that does not fit", INK);
        let dark = canvas.into_image().pixels().filter(|pixel| pixel.0[0] < 100).count();
        assert!(dark > 30, "{dark}");
    }

    #[test]
    fn wrapping_marks_what_is_missing() {
        assert_eq!(wrap("a red apple on a tree", 8, 9), ["a red", "apple on", "a tree"]);
        assert_eq!(wrap("a red apple on a tree", 9, 2), ["a red", "apple..."]);
        assert_eq!(wrap("extraordinarily", 8, 2), ["extra..."]);
        assert_eq!(wrap("", 8, 2), Vec::<String>::new());
    }

    #[test]
    fn a_tile_keeps_the_proportions_on_white() {
        let red = DynamicImage::from(RgbImage::from_pixel(20, 10, RED));
        let tile = tile(&red, 40);
        assert_eq!(tile.dimensions(), (40, 40));
        assert_eq!(*tile.get_pixel(20, 20), RED);
        assert_eq!(*tile.get_pixel(20, 5), PAPER);
    }

    #[test]
    fn a_frame_surrounds_and_does_not_cover() {
        let mut canvas = Canvas::new(20, 20);
        canvas.frame([5, 5], 10, 2, GREEN);
        let image = canvas.into_image();
        for (x, y) in [(3, 3), (4, 10), (15, 10), (16, 16), (10, 3), (10, 16)] {
            assert_eq!(*image.get_pixel(x, y), GREEN, "{x},{y}");
        }
        for (x, y) in [(2, 10), (5, 5), (14, 14), (17, 10)] {
            assert_eq!(*image.get_pixel(x, y), PAPER, "{x},{y}");
        }
    }
}
