//! The vendors' sheets: WebP, 64x64 RGBA cells, 40 to a row, decoded once per process.

use std::sync::OnceLock;

use image::ImageFormat;
use rayon::prelude::*;

use super::Vendor;
use crate::dataset::DataError;

/// Side of a cell in pixels.
pub(in crate::dataset) const CELL_PX: usize = 64;
const COLUMNS: usize = 40;

/// Files in the order of [`Vendor::ALL`]; a `static`, since a `const` is in the binary once for each use.
static FILES: [&[u8]; Vendor::ALL.len()] = [
    include_bytes!("../../../../../assets/emoji/noto.webp"),
    include_bytes!("../../../../../assets/emoji/notov1.webp"),
    include_bytes!("../../../../../assets/emoji/fluent.webp"),
    include_bytes!("../../../../../assets/emoji/fluentflat.webp"),
    include_bytes!("../../../../../assets/emoji/twemoji.webp"),
    include_bytes!("../../../../../assets/emoji/emojitwo.webp"),
    include_bytes!("../../../../../assets/emoji/fxemoji.webp"),
];
const NAMES: [&str; Vendor::ALL.len()] = [
    "assets/emoji/noto.webp",
    "assets/emoji/notov1.webp",
    "assets/emoji/fluent.webp",
    "assets/emoji/fluentflat.webp",
    "assets/emoji/twemoji.webp",
    "assets/emoji/emojitwo.webp",
    "assets/emoji/fxemoji.webp",
];

/// A decoded sheet, straight (not premultiplied) RGBA.
#[derive(Debug)]
pub(in crate::dataset) struct Sheet {
    rgba: Vec<u8>,
    num_cells: usize,
}

/// One emoji: `CELL_PX * CELL_PX` RGBA pixels, row-major.
pub(in crate::dataset) type Cell = [[u8; 4]];

impl Sheet {
    /// The sheet of `vendor`, decoded on first use.
    ///
    /// # Errors
    /// If the file was damaged before it was embedded.
    pub(super) fn of(vendor: Vendor) -> Result<&'static Self, DataError> {
        static SHEETS: [OnceLock<Result<Sheet, String>>; Vendor::ALL.len()] =
            [const { OnceLock::new() }; Vendor::ALL.len()];
        let at = vendor as usize;
        SHEETS[at]
            .get_or_init(|| Self::decode(FILES[at]))
            .as_ref()
            .map_err(|message| DataError::Embedded {
                file: NAMES[at],
                message: message.clone(),
            })
    }

    /// The sheet of `vendor`, decoded for the caller alone.
    ///
    /// # Errors
    /// If the file was damaged before it was embedded.
    pub(in crate::dataset) fn decoded(vendor: Vendor) -> Result<Self, DataError> {
        let at = vendor as usize;
        Self::decode(FILES[at]).map_err(|message| DataError::Embedded {
            file: NAMES[at],
            message,
        })
    }

    /// Decodes the sheets of `vendors` on all cores; later calls of [`Sheet::of`] return at once, with its error if there is one.
    pub(super) fn prepare(vendors: &[Vendor]) {
        vendors.par_iter().for_each(|&vendor| drop(Self::of(vendor)));
    }

    /// Cell number `cell`.
    ///
    /// # Panics
    /// If the sheet has no such cell.
    pub(in crate::dataset) fn cell(&self, cell: u16) -> &Cell {
        let at = usize::from(cell);
        assert!(
            at < self.num_cells,
            "the sheet has {} cells, no cell {cell}",
            self.num_cells
        );
        let bytes = CELL_PX * CELL_PX * 4;
        self.rgba[at * bytes..(at + 1) * bytes].as_chunks().0
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        let image = image::load_from_memory_with_format(bytes, ImageFormat::WebP).map_err(|error| error.to_string())?;
        let image = image.into_rgba8();
        let [width, height] = [image.width() as usize, image.height() as usize];
        if width != COLUMNS * CELL_PX || height % CELL_PX != 0 {
            return Err(format!(
                "{width}x{height} px is not {COLUMNS} columns of {CELL_PX} px cells"
            ));
        }
        // From rows of the sheet to whole cells, so that a cell is one contiguous read.
        let num_cells = COLUMNS * (height / CELL_PX);
        let sheet = image.into_raw();
        let mut rgba = Vec::with_capacity(sheet.len());
        for cell in 0..num_cells {
            let corner = ((cell / COLUMNS) * CELL_PX * width + (cell % COLUMNS) * CELL_PX) * 4;
            for row in 0..CELL_PX {
                let from = corner + row * width * 4;
                rgba.extend_from_slice(&sheet[from..from + CELL_PX * 4]);
            }
        }
        Ok(Self { rgba, num_cells })
    }
}
