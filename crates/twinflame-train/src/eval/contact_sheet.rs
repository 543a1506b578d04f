//! A contact sheet: the images that a search found, or that a data set holds, with two lines each.

use image::{DynamicImage, RgbImage};

use super::canvas::{CHAR_PX, Canvas, GREY, INK, LINE_PX, shorten, tile, wrap};

/// Images in a row.
const COLUMNS: usize = 5;
/// Side of an image.
const TILE_PX: u32 = 160;
/// Characters of a line below an image.
const LINE_CHARS: usize = (TILE_PX / CHAR_PX) as usize;
/// Space around everything.
const GAP_PX: u32 = 14;

/// One image on a contact sheet.
#[derive(Clone, Debug)]
pub struct SheetEntry {
    image: Option<DynamicImage>,
    /// What stands below it.
    lines: [String; 2],
}

impl SheetEntry {
    /// An image with rank, from 1, cosine and file name below it. Without an image (it could be read when it was embedded,
    /// but no longer) its tile stays empty.
    #[must_use]
    pub fn found(image: Option<DynamicImage>, rank: usize, score: f32, name: &str) -> Self {
        Self {
            image,
            lines: [format!("#{rank} {score:.3}"), shorten_start(name, LINE_CHARS)],
        }
    }

    /// An image with a line about it and its caption below it, both cut to their places.
    #[must_use]
    pub fn captioned(image: Option<DynamicImage>, about: &str, caption: &str) -> Self {
        Self {
            image,
            lines: [about, caption].map(|line| shorten(line, LINE_CHARS)),
        }
    }
}

/// Draws the sheet: the title on top, then rows of five.
pub fn contact_sheet(title: &str, entries: &[SheetEntry]) -> RgbImage {
    let columns = COLUMNS.min(entries.len().max(1)) as u32;
    let rows = entries.len().div_ceil(COLUMNS) as u32;
    let cell_height = TILE_PX + 2 * LINE_PX + GAP_PX;
    let width = (columns * (TILE_PX + GAP_PX) + GAP_PX).max(40 * CHAR_PX);
    let title = wrap(title, ((width - 2 * GAP_PX) / CHAR_PX) as usize, 2);
    let top = GAP_PX + title.len() as u32 * LINE_PX + GAP_PX;
    let mut canvas = Canvas::new(width, top + rows * cell_height);
    for (line, text) in title.iter().enumerate() {
        canvas.text(GAP_PX, GAP_PX + line as u32 * LINE_PX, text, INK);
    }
    for (place, entry) in entries.iter().enumerate() {
        let x = GAP_PX + (place % COLUMNS) as u32 * (TILE_PX + GAP_PX);
        let y = top + (place / COLUMNS) as u32 * cell_height;
        if let Some(image) = &entry.image {
            canvas.paste([x, y], &tile(image, TILE_PX));
        }
        canvas.frame([x, y], TILE_PX, 1, GREY);
        for (line, (text, ink)) in entry.lines.iter().zip([INK, GREY]).enumerate() {
            canvas.text(x, y + TILE_PX + 2 + line as u32 * LINE_PX, text, ink);
        }
    }
    canvas.into_image()
}

/// The end of a path tells more than its beginning.
fn shorten_start(name: &str, width: usize) -> String {
    let reversed: String = name.chars().rev().collect();
    shorten(&reversed, width).chars().rev().collect()
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    #[test]
    fn images_stand_in_reading_order() {
        let entries: Vec<SheetEntry> = (0..6_u8)
            .map(|i| {
                let image = DynamicImage::from(RgbImage::from_pixel(4, 4, Rgb([40 * i, 0, 0])));
                SheetEntry::found(Some(image), usize::from(i) + 1, 0.5, "folder/image.png")
            })
            .collect();
        let sheet = contact_sheet("a query", &entries);
        let top = GAP_PX + LINE_PX + GAP_PX;
        for (place, red) in [(0_u32, 0), (1, 40), (4, 160)] {
            let x = GAP_PX + place * (TILE_PX + GAP_PX) + TILE_PX / 2;
            assert_eq!(*sheet.get_pixel(x, top + TILE_PX / 2), Rgb([red, 0, 0]));
        }
        let second_row = top + TILE_PX + 2 * LINE_PX + GAP_PX;
        assert_eq!(
            *sheet.get_pixel(GAP_PX + TILE_PX / 2, second_row + TILE_PX / 2),
            Rgb([200, 0, 0])
        );
    }

    #[test]
    fn an_empty_result_is_still_a_sheet() {
        assert!(contact_sheet("nothing", &[]).height() > LINE_PX);
    }

    #[test]
    fn names_keep_their_end() {
        assert_eq!(shorten_start("photos/2024/summer/beach.jpg", 12), "...beach.jpg");
        assert_eq!(shorten_start("a.jpg", 12), "a.jpg");
    }
}
