//! A contact sheet: the images that a search found, with rank, score and name.

use image::{DynamicImage, RgbImage};

use super::canvas::{CHAR_PX, Canvas, GREY, INK, LINE_PX, shorten, tile, wrap};

/// Images in a row.
const COLUMNS: usize = 5;
/// Side of an image.
const TILE_PX: u32 = 160;
/// Space around everything.
const GAP_PX: u32 = 14;

/// One image on a contact sheet, best first.
#[derive(Clone, Debug)]
pub struct SheetEntry {
    /// The image; `None` draws an empty tile (it could be read when it was embedded, but no longer).
    pub image: Option<DynamicImage>,
    /// Cosine with the query.
    pub score: f32,
    /// File name, as the user knows it.
    pub name: String,
}

/// Draws the sheet: the query on top, then rows of five with rank and score, and the name below.
pub fn contact_sheet(query: &str, entries: &[SheetEntry]) -> RgbImage {
    let columns = COLUMNS.min(entries.len().max(1)) as u32;
    let rows = entries.len().div_ceil(COLUMNS) as u32;
    let cell_height = TILE_PX + 2 * LINE_PX + GAP_PX;
    let width = (columns * (TILE_PX + GAP_PX) + GAP_PX).max(40 * CHAR_PX);
    let title = wrap(&format!("\"{query}\""), ((width - 2 * GAP_PX) / CHAR_PX) as usize, 2);
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
        canvas.text(x, y + TILE_PX + 2, &format!("#{} {:.3}", place + 1, entry.score), INK);
        let name = shorten_start(&entry.name, (TILE_PX / CHAR_PX) as usize);
        canvas.text(x, y + TILE_PX + 2 + LINE_PX, &name, GREY);
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
            .map(|i| SheetEntry {
                image: Some(DynamicImage::from(RgbImage::from_pixel(4, 4, Rgb([40 * i, 0, 0])))),
                score: 0.5,
                name: format!("folder/{i}.png"),
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
