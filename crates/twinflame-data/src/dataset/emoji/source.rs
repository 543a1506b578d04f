//! The embedded set as a [`Source`].

use std::sync::OnceLock;

use rand::RngExt;
use rand::rngs::ChaCha8Rng;

use super::scene::{self, Item};
use super::sheet::{CELL_PX, Cell, Sheet};
use super::{Catalog, EmojiConfig, Entry, Vendor};
use crate::caption::CaptionParts;
use crate::dataset::{Classes, DataError, Draw, SampleError, Source};
use crate::decode::{DecodedImage, PixelLayout};
use crate::report::OpenReport;

/// Share of scenes with three emoji; the others have two.
const THREE_ITEMS_PROB: f64 = 0.3;

/// One picture of the set.
#[derive(Clone, Copy, Debug)]
struct Sample {
    entry: usize,
    vendor: Vendor,
    cell: u16,
}

/// A split of the embedded emoji. The image id is the emoji, so that all vendors' pictures of one share it.
///
/// Sheets are decoded at the first picture asked for, on all cores, and kept for the life of the process
/// (4 bytes a pixel: 137 MB for the six training vendors, 31 MB for twemoji).
#[derive(Debug)]
pub struct EmojiSource {
    config: EmojiConfig,
    catalog: &'static Catalog,
    vendors: Vec<Vendor>,
    samples: Vec<Sample>,
    report: OpenReport,
    /// Set once the sheets are decoded.
    prepared: OnceLock<()>,
}

impl EmojiSource {
    /// Selects the pictures.
    ///
    /// # Errors
    /// Impossible settings; see [`DataError`].
    pub fn open(config: &EmojiConfig) -> Result<Self, DataError> {
        let vendors = config.validate()?;
        let catalog = Catalog::embedded()?;
        let samples: Vec<Sample> = catalog
            .entries
            .iter()
            .enumerate()
            .filter(|(_, entry)| config.split.has_pictures(entry))
            .flat_map(|(at, entry)| {
                vendors.iter().filter_map(move |&vendor| {
                    entry.cells[vendor as usize].map(|cell| Sample {
                        entry: at,
                        vendor,
                        cell,
                    })
                })
            })
            .collect();
        let report = OpenReport {
            num_samples: samples.len(),
            ..OpenReport::default()
        };
        Ok(Self {
            config: config.clone(),
            catalog,
            vendors,
            samples,
            report,
            prepared: OnceLock::new(),
        })
    }

    /// The emoji of a sample.
    pub fn entry(&self, index: usize) -> &'static Entry {
        &self.catalog.entries[self.samples[index].entry]
    }

    /// Who drew a sample.
    pub fn vendor(&self, index: usize) -> Vendor {
        self.samples[index].vendor
    }

    fn cell(&self, index: usize) -> Result<&'static Cell, SampleError> {
        let sample = self.samples[index];
        self.prepared.get_or_init(|| Sheet::prepare(&self.vendors));
        Ok(Sheet::of(sample.vendor)
            .map_err(SampleError::Embedded)?
            .cell(sample.cell))
    }

    /// The picture over a colour, which stays known to the transform. As RGB at once: three channels are cheaper to move and
    /// resize than four.
    fn on(&self, index: usize, background: [u8; 3]) -> Result<DecodedImage, SampleError> {
        let rgba = self.cell(index)?.as_flattened().to_vec();
        let cut_out = DecodedImage::new(CELL_PX as u32, CELL_PX as u32, PixelLayout::Rgba, rgba);
        Ok(cut_out.with_background(background).to_rgb_image())
    }

    fn draw_one(&self, index: usize, rng: &mut ChaCha8Rng) -> Result<Draw, SampleError> {
        let entry = self.entry(index);
        let parts = CaptionParts {
            label: &entry.label,
            tags: &entry.tags,
            subgroup: &self.catalog.subgroups[entry.subgroup],
            group: &self.catalog.groups[entry.group],
        };
        let caption = self.config.captions.draw(parts, rng);
        let background = self.config.background.draw(self.config.white_prob, rng);
        Ok(Draw {
            image: self.on(index, background)?,
            caption,
            image_id: self.image_id(index),
        })
    }

    fn draw_scene(&self, index: usize, rng: &mut ChaCha8Rng) -> Result<Draw, SampleError> {
        let others = if rng.random_bool(THREE_ITEMS_PROB) { 2 } else { 1 };
        let mut items = vec![self.item(index)?];
        for _ in 0..others {
            items.push(self.item(rng.random_range(0..self.samples.len()))?);
        }
        let background = self.config.background.draw(self.config.white_prob, rng);
        let scene = scene::compose(&items, background, rng);
        // Below every emoji's id, and another for each sample: a scene shows nothing that another picture shows whole.
        let image_id = -1 - index as i64;
        let image = DecodedImage::new(CELL_PX as u32, CELL_PX as u32, PixelLayout::Rgb, scene.rgb);
        Ok(Draw {
            image: image.with_background(background),
            caption: scene.caption,
            image_id,
        })
    }

    fn item(&self, index: usize) -> Result<Item<'static>, SampleError> {
        Ok(Item {
            cell: self.cell(index)?,
            label: &self.entry(index).label,
        })
    }
}

impl Source for EmojiSource {
    fn num_samples(&self) -> usize {
        self.samples.len()
    }

    fn image_id(&self, index: usize) -> i64 {
        self.samples[index].entry as i64
    }

    fn name(&self, index: usize) -> String {
        format!("{} ({})", self.entry(index).label, self.vendor(index).name())
    }

    fn draw(&self, index: usize, rng: &mut ChaCha8Rng) -> Result<Draw, SampleError> {
        if self.config.scene_prob > 0.0 && rng.random_bool(self.config.scene_prob) {
            self.draw_scene(index, rng)
        } else {
            self.draw_one(index, rng)
        }
    }

    fn image(&self, index: usize) -> Result<DecodedImage, SampleError> {
        self.on(index, self.config.background.for_evaluation())
    }

    fn captions(&self, index: usize) -> Vec<&str> {
        vec![&self.entry(index).label]
    }

    fn eval_images(&self) -> Vec<usize> {
        (0..self.samples.len()).collect()
    }

    fn eval_captions(&self) -> Vec<(i64, &str)> {
        let entries = self.catalog.entries.iter().enumerate();
        let of_split = entries.filter(|(_, entry)| self.config.split.has_caption(entry));
        of_split.map(|(at, entry)| (at as i64, entry.label.as_str())).collect()
    }

    fn classes(&self) -> Vec<Classes> {
        let labels = |of: fn(&Entry) -> usize| {
            self.samples
                .iter()
                .map(|sample| Some(of(&self.catalog.entries[sample.entry])))
                .collect()
        };
        vec![
            Classes {
                name: "groups".to_owned(),
                names: self.catalog.groups.clone(),
                labels: labels(|entry| entry.group),
            },
            Classes {
                name: "subgroups".to_owned(),
                names: self.catalog.subgroups.clone(),
                labels: labels(|entry| entry.subgroup),
            },
        ]
    }

    fn report(&self) -> &OpenReport {
        &self.report
    }
}
