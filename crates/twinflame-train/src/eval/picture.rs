//! `retrieval.png`: captions with the five images that the model puts first, right ones framed green, wrong ones red.

use image::{DynamicImage, RgbImage};

use super::canvas::{CHAR_PX, Canvas, GREEN, GREY, INK, LINE_PX, RED, tile, wrap};

/// Images per caption.
pub const PICTURE_HITS: usize = 5;
/// Side of an image.
const TILE_PX: u32 = 84;
/// Space between things.
const GAP_PX: u32 = 16;
/// Thickness of a frame.
const FRAME_PX: u32 = 4;
/// Characters of a caption line.
const CAPTION_CHARS: u32 = 26;
/// Height of one caption with its images and scores.
const ROW_PX: u32 = TILE_PX + LINE_PX + GAP_PX;

/// A test set on the picture.
#[derive(Clone, Debug)]
pub struct PictureSection {
    /// What the set is and how the model does on it, in a line.
    pub title: String,
    /// Captions, top to bottom.
    pub rows: Vec<PictureRow>,
}

/// A caption and what the model finds for it.
#[derive(Clone, Debug)]
pub struct PictureRow {
    /// The caption.
    pub caption: String,
    /// Rank of the first right image, from 1; `None` if there is none.
    pub rank: Option<usize>,
    /// Images in the gallery.
    pub num_images: usize,
    /// The images found, best first.
    pub hits: Vec<PictureHit>,
}

/// One image found.
#[derive(Clone, Debug)]
pub struct PictureHit {
    /// The image; `None` draws an empty tile.
    pub image: Option<DynamicImage>,
    /// Cosine with the caption.
    pub score: f32,
    /// Whether the caption describes it.
    pub is_right: bool,
}

/// Draws the picture: one section under the other, captions in two columns, read row by row.
pub fn retrieval_picture(heading: &str, sections: &[PictureSection]) -> RgbImage {
    let caption_px = CAPTION_CHARS * CHAR_PX + GAP_PX;
    let column_px = caption_px + PICTURE_HITS as u32 * (TILE_PX + GAP_PX) + GAP_PX;
    let width = 2 * column_px + 2 * GAP_PX;
    let chars = ((width - 2 * GAP_PX) / CHAR_PX) as usize;
    let heading = wrap(heading, chars, 3);
    let heading_px = GAP_PX + heading.len() as u32 * LINE_PX;
    let section_px = |section: &PictureSection| 2 * GAP_PX + LINE_PX + section.rows.len().div_ceil(2) as u32 * ROW_PX;
    let height = heading_px + sections.iter().map(section_px).sum::<u32>() + GAP_PX;
    let mut canvas = Canvas::new(width, height);
    for (line, text) in heading.iter().enumerate() {
        canvas.text(GAP_PX, GAP_PX + line as u32 * LINE_PX, text, GREY);
    }
    let mut top = heading_px;
    for section in sections {
        canvas.fill([GAP_PX, top + GAP_PX / 2], [width - 2 * GAP_PX, 1], GREY);
        for title in wrap(&section.title, chars, 1) {
            canvas.text(GAP_PX, top + GAP_PX, &title, INK);
        }
        for (place, row) in section.rows.iter().enumerate() {
            let x = GAP_PX + (place % 2) as u32 * column_px;
            let y = top + 2 * GAP_PX + LINE_PX + (place / 2) as u32 * ROW_PX;
            draw_row(&mut canvas, [x, y], row);
        }
        top += section_px(section);
    }
    canvas.into_image()
}

fn draw_row(canvas: &mut Canvas, [x, y]: [u32; 2], row: &PictureRow) {
    let lines = wrap(&row.caption, CAPTION_CHARS as usize, 3);
    for (line, text) in lines.iter().enumerate() {
        canvas.text(x, y + line as u32 * LINE_PX, text, INK);
    }
    let (found, colour) = match row.rank {
        Some(1) => ("found first".to_owned(), GREEN),
        Some(rank) => (
            format!("found at {rank} of {}", row.num_images),
            if rank <= PICTURE_HITS { INK } else { RED },
        ),
        None => ("no right image".to_owned(), GREY),
    };
    canvas.text(x, y + lines.len() as u32 * LINE_PX, &found, colour);
    let first_tile = x + CAPTION_CHARS * CHAR_PX + GAP_PX;
    for (place, hit) in row.hits.iter().take(PICTURE_HITS).enumerate() {
        let corner = [first_tile + place as u32 * (TILE_PX + GAP_PX), y];
        if let Some(image) = &hit.image {
            canvas.paste(corner, &tile(image, TILE_PX));
        }
        // The mark repeats in words what the frame says by colour.
        let (colour, mark) = if hit.is_right { (GREEN, "right") } else { (RED, "") };
        canvas.frame(corner, TILE_PX, FRAME_PX, colour);
        let score = format!("{:.2} {mark}", hit.score);
        canvas.text(corner[0], y + TILE_PX + FRAME_PX + 1, score.trim_end(), colour);
    }
}

/// Chooses `count` queries for a picture: in turn one whose right answer came first, one where it came second to
/// fifth, one where it came later, each kind spread evenly over the set. No chance is involved, so the same ranks give
/// the same picture.
///
/// Returned in ascending order; a kind that has too few leaves its places to the others.
pub fn pick_queries(ranks: &[Option<usize>], count: usize) -> Vec<usize> {
    let kind = |rank: usize| match rank {
        1 => 0,
        2..=PICTURE_HITS => 1,
        _ => 2,
    };
    let mut kinds: [Vec<usize>; 3] = Default::default();
    for (query, rank) in ranks.iter().enumerate() {
        if let Some(rank) = rank {
            kinds[kind(*rank)].push(query);
        }
    }
    let mut quota = [0_usize; 3];
    let available = kinds.iter().map(Vec::len).sum::<usize>();
    let mut turn = 0;
    while quota.iter().sum::<usize>() < count.min(available) {
        if quota[turn % 3] < kinds[turn % 3].len() {
            quota[turn % 3] += 1;
        }
        turn += 1;
    }
    let mut picked: Vec<usize> = kinds
        .iter()
        .zip(quota)
        // The middle of each of `quota` equal stretches.
        .flat_map(|(queries, quota)| (0..quota).map(move |part| queries[(2 * part + 1) * queries.len() / (2 * quota)]))
        .collect();
    picked.sort_unstable();
    picked
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    #[test]
    fn kinds_take_turns_and_fill_in_for_each_other() {
        let ranks: Vec<Option<usize>> = (0..90).map(|i| Some([1, 3, 50][i % 3])).collect();
        let picked = pick_queries(&ranks, 6);
        assert_eq!(picked.len(), 6);
        for kind in 0..3 {
            assert_eq!(picked.iter().filter(|&&query| query % 3 == kind).count(), 2);
        }
        let mostly_right = [Some(1), Some(1), None, Some(1), Some(9)];
        assert_eq!(pick_queries(&mostly_right, 4), [0, 1, 3, 4]);
        assert_eq!(pick_queries(&mostly_right, 40), [0, 1, 3, 4]);
        assert!(pick_queries(&[None], 3).is_empty());
    }

    #[test]
    fn right_and_wrong_images_are_framed_differently() {
        let hit = |is_right| PictureHit {
            image: Some(DynamicImage::from(RgbImage::from_pixel(8, 8, Rgb([1, 2, 3])))),
            score: 0.5,
            is_right,
        };
        let row = PictureRow {
            caption: "a cat".into(),
            rank: Some(1),
            num_images: 2,
            hits: vec![hit(true), hit(false)],
        };
        let section = PictureSection {
            title: "set".into(),
            rows: vec![row],
        };
        let picture = retrieval_picture("heading", &[section]);
        let x = GAP_PX + CAPTION_CHARS * CHAR_PX + GAP_PX;
        let y = GAP_PX + LINE_PX + 2 * GAP_PX + LINE_PX;
        assert_eq!(*picture.get_pixel(x - 1, y + 10), GREEN);
        assert_eq!(*picture.get_pixel(x + TILE_PX + GAP_PX - 1, y + 10), RED);
        assert_eq!(*picture.get_pixel(x + TILE_PX / 2, y + TILE_PX / 2), Rgb([1, 2, 3]));
    }
}
