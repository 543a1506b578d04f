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
    /// Selects the pictures, without noise on their captions.
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

    fn captions(&self, index: usize) -> Result<Vec<String>, SampleError> {
        Ok(vec![self.entry(index).label.clone()])
    }

    fn eval_images(&self) -> Vec<usize> {
        (0..self.samples.len()).collect()
    }

    fn eval_captions(&self) -> Result<Vec<(i64, String)>, SampleError> {
        let entries = self.catalog.entries.iter().enumerate();
        let of_split = entries.filter(|(_, entry)| self.config.split.has_caption(entry));
        Ok(of_split.map(|(at, entry)| (at as i64, entry.label.clone())).collect())
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

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use rand::SeedableRng;

    use super::*;
    use crate::dataset::emoji::EmojiSplit;

    fn open(split: EmojiSplit) -> EmojiSource {
        EmojiSource::open(&EmojiConfig {
            split,
            ..EmojiConfig::default()
        })
        .unwrap()
    }

    #[test]
    fn the_splits_have_the_published_sizes() {
        let sizes = [
            (EmojiSplit::Train, 6798, 1620),
            (EmojiSplit::A, 1614, 1620),
            (EmojiSplit::B, 1286, 294),
            (EmojiSplit::C, 294, 294),
        ];
        for (split, images, captions) in sizes {
            let source = open(split);
            assert_eq!(
                (source.num_samples(), source.eval_captions().unwrap().len()),
                (images, captions),
                "{split:?}"
            );
            assert_eq!(source.report().num_samples, images);
        }
    }

    #[test]
    fn nothing_held_out_is_trained_on() {
        let train = open(EmojiSplit::Train);
        let known: HashSet<&str> = (0..train.num_samples())
            .map(|index| train.entry(index).label.as_str())
            .collect();
        assert!((0..train.num_samples()).all(|index| train.vendor(index) != Vendor::HELD_OUT));
        let [a, b, c] = [EmojiSplit::A, EmojiSplit::B, EmojiSplit::C].map(open);
        assert!((0..a.num_samples()).all(|index| known.contains(a.entry(index).label.as_str())));
        for test in [b, c] {
            assert!((0..test.num_samples()).all(|index| !known.contains(test.entry(index).label.as_str())));
        }
    }

    #[test]
    fn vendors_narrow_a_split_and_cannot_widen_it() {
        let config = |vendors| EmojiConfig {
            vendors: Some(vendors),
            ..EmojiConfig::default()
        };
        let noto = EmojiSource::open(&config(vec![Vendor::Noto])).unwrap();
        assert!((0..noto.num_samples()).all(|index| noto.vendor(index) == Vendor::Noto));
        assert!((1000..1620).contains(&noto.num_samples()));
        let error = EmojiSource::open(&config(vec![Vendor::Noto, Vendor::Twemoji]))
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("vendor twemoji is not part of split \"train\", which has noto, notov1, "),
            "{error}"
        );
        assert!(matches!(EmojiSource::open(&config(vec![])), Err(DataError::NoVendors)));
        let error = EmojiSource::open(&EmojiConfig {
            scene_prob: 1.5,
            ..EmojiConfig::default()
        })
        .unwrap_err();
        assert!(error.to_string().starts_with("scene_prob = 1.5"), "{error}");
    }

    #[test]
    fn every_picture_shows_something() {
        for split in [EmojiSplit::Train, EmojiSplit::A, EmojiSplit::B, EmojiSplit::C] {
            let source = open(split);
            for index in 0..source.num_samples() {
                let visible = source
                    .cell(index)
                    .unwrap()
                    .iter()
                    .filter(|pixel| pixel[3] > 128)
                    .count();
                assert!(visible > 40, "{}: {visible} visible pixels", source.name(index));
            }
        }
    }

    #[test]
    fn evaluation_is_on_white_with_the_label() {
        let source = open(EmojiSplit::Train);
        let grinning = (0..source.num_samples())
            .find(|&index| source.vendor(index) == Vendor::Noto)
            .unwrap();
        assert_eq!(source.captions(grinning).unwrap(), ["grinning face"]);
        assert_eq!(source.name(grinning), "grinning face (noto)");
        let image = source.image(grinning).unwrap();
        let pixel = |x: usize, y: usize| &image.pixels()[(y * CELL_PX + x) * 3..][..3];
        assert_eq!(pixel(0, 0), [255; 3]);
        // The face is yellow: much red and green, little blue.
        let [red, green, blue] = pixel(32, 12) else {
            panic!("three channels")
        };
        assert!(*red > 180 && *green > 140 && *blue < 120, "{red} {green} {blue}");
    }

    #[test]
    fn scenes_have_ids_and_captions_of_their_own() {
        let config = EmojiConfig {
            scene_prob: 1.0,
            ..EmojiConfig::default()
        };
        let source = EmojiSource::open(&config).unwrap();
        let mut ids = HashSet::new();
        for index in 0..200 {
            let draw = source.draw(index, &mut ChaCha8Rng::seed_from_u64(9)).unwrap();
            assert!(draw.image_id < 0 && ids.insert(draw.image_id));
            assert!(draw.caption.contains(&source.entry(index).label), "{}", draw.caption);
        }
    }

    #[test]
    fn every_sample_has_its_classes() {
        let source = open(EmojiSplit::C);
        let [groups, subgroups] = &source.classes()[..] else {
            panic!("two class sets")
        };
        assert_eq!((groups.names.len(), subgroups.names.len()), (9, 98));
        for index in 0..source.num_samples() {
            assert_eq!(groups.labels[index], Some(source.entry(index).group));
            assert_eq!(subgroups.labels[index], Some(source.entry(index).subgroup));
        }
    }
}
