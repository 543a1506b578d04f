//! Image files with captions, as a caption table or a JSON list names them.

use std::collections::HashMap;
use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};

use rand::rngs::ChaCha8Rng;
use sha2::{Digest, Sha256};

use super::source::draw_among;
use super::table::Table;
use super::{Classes, DataError, Draw, SampleError, Source};
use crate::decode::{DecodeError, DecodeLimits, DecodedImage, decode, with_ending};
use crate::report::OpenReport;

/// A row as read from a caption file.
#[derive(Debug, Default)]
pub(super) struct Row {
    /// Image file, relative to the root.
    pub(super) image: String,
    /// Captions, perhaps empty ones.
    pub(super) captions: Vec<String>,
    /// Image id, where the file gives one.
    pub(super) id: Option<String>,
    /// Class name, where the file gives one.
    pub(super) class: Option<String>,
    /// Caption file and line, for the report.
    pub(super) place: String,
}

/// Where a row is in its file: bytes, or the number of an entry and 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) at: u64,
    pub(super) len: u32,
}

impl Place {
    /// `None` for a row that is longer than any is.
    pub(super) fn new(at: u64, len: u64) -> Option<Self> {
        let len = u32::try_from(len).ok()?;
        Some(Self { at, len })
    }
}

/// Where rows are read again.
#[derive(Debug)]
pub(super) enum Rows {
    /// From a table on disk.
    Table(Table),
    /// From memory, image and captions: lists in one JSON value, which cannot be read in parts.
    Listed(Vec<(Box<str>, Box<[String]>)>),
}

/// One usable row: 32 bytes, all that is kept of it.
#[derive(Debug)]
struct Entry {
    at: u64,
    len: u32,
    /// Tells whether the row is still the one that was checked.
    check: u32,
    /// Among all rows that were added, unusable ones too.
    row: u32,
    /// Numbers the image files.
    image: u32,
    image_id: u32,
    class: Option<NonZero<u32>>,
}

/// Image files with captions. A row is a training sample; an image that several rows name is one image in evaluation.
#[derive(Debug)]
pub struct ListedSource {
    root: PathBuf,
    rows: Rows,
    entries: Vec<Entry>,
    num_images: usize,
    class_names: Vec<String>,
    report: OpenReport,
    limits: DecodeLimits,
}

/// Checks rows one by one.
#[derive(Debug)]
pub(super) struct ListedBuilder {
    root: PathBuf,
    images: Interner,
    exists: Vec<bool>,
    ids: Interner,
    image_of_id: Vec<u32>,
    classes: Interner,
    class_names: Vec<String>,
    entries: Vec<Entry>,
    num_rows: u32,
    report: OpenReport,
}

/// Numbers texts in the order in which they first appear. It keeps hashes of them, of 128 bits so that no two are taken for one.
#[derive(Debug, Default)]
struct Interner {
    numbers: HashMap<u128, u32>,
}

impl Interner {
    fn number(&mut self, text: &str) -> u32 {
        let next = self.numbers.len() as u32;
        *self.numbers.entry(hash(text)).or_insert(next)
    }
}

/// The same on every machine and in every version.
fn hash(text: &str) -> u128 {
    let digest: [u8; 32] = Sha256::digest(text.as_bytes()).into();
    u128::from_le_bytes(std::array::from_fn(|at| digest[at]))
}

/// What of a row must not change.
fn check(row: &Row) -> u32 {
    let captions = row.captions.iter().map(|caption| hash(caption));
    captions.fold(hash(&row.image), |all, caption| all.rotate_left(1) ^ caption) as u32
}

/// The captions that say anything, trimmed.
pub(super) fn told(captions: Vec<String>) -> Vec<String> {
    let trimmed = captions.iter().map(|text| text.trim()).filter(|text| !text.is_empty());
    trimmed.map(str::to_owned).collect()
}

impl ListedBuilder {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            images: Interner::default(),
            exists: Vec::new(),
            ids: Interner::default(),
            image_of_id: Vec::new(),
            classes: Interner::default(),
            class_names: Vec::new(),
            entries: Vec::new(),
            num_rows: 0,
            report: OpenReport::default(),
        }
    }

    /// Takes a row that can be read at `place` again.
    pub(super) fn add(&mut self, place: Place, row: Row) {
        let (check, number) = (check(&row), self.num_rows);
        self.num_rows += 1;
        let image = self.images.number(&row.image);
        if image as usize == self.exists.len() {
            self.exists.push(self.root.join(&row.image).is_file());
        }
        if !self.exists[image as usize] {
            return self
                .report
                .missing_files
                .add(|| format!("{}, {}", row.image, row.place));
        }
        let listed = row.captions.len();
        let captions = told(row.captions);
        for _ in captions.len()..listed.max(1) {
            self.report.empty_captions.add(|| row.place.clone());
        }
        if captions.is_empty() {
            return;
        }
        let image_id = row.id.map_or(image, |id| self.number_id(&id, image, &row.place));
        let class = row.class.and_then(|class| self.number_class(class));
        self.entries.push(Entry {
            at: place.at,
            len: place.len,
            check,
            row: number,
            image,
            image_id,
            class,
        });
    }

    fn number_id(&mut self, id: &str, image: u32, place: &str) -> u32 {
        let number = self.ids.number(id);
        if number as usize == self.image_of_id.len() {
            self.image_of_id.push(image);
        } else if self.image_of_id[number as usize] != image {
            self.report.duplicate_ids.add(|| format!("{id}, {place}"));
        }
        number
    }

    /// Counts classes from 1.
    fn number_class(&mut self, class: String) -> Option<NonZero<u32>> {
        let number = self.classes.number(&class);
        if number as usize == self.class_names.len() {
            self.class_names.push(class);
        }
        NonZero::new(number + 1)
    }

    /// The source, unless it would be empty. `path` names it in that error.
    pub(super) fn finish(mut self, rows: Rows, path: &Path) -> Result<ListedSource, DataError> {
        self.report.num_samples = self.entries.len();
        if self.entries.is_empty() {
            return Err(DataError::NoSamples {
                path: path.to_owned(),
                report: Box::new(self.report),
            });
        }
        if !self.report.is_clean() {
            tracing::warn!("{}: {}", path.display(), self.report);
        }
        Ok(ListedSource {
            root: self.root,
            rows,
            entries: self.entries,
            num_images: self.exists.len(),
            class_names: self.class_names,
            report: self.report,
            limits: DecodeLimits::default(),
        })
    }
}

impl ListedSource {
    /// Image file, as its row names it, and captions of a sample.
    fn read_row(&self, index: usize) -> Result<(String, Vec<String>), SampleError> {
        let Entry {
            at,
            len,
            check: checked,
            ..
        } = self.entries[index];
        let place = Place { at, len };
        match &self.rows {
            Rows::Listed(rows) => {
                let (image, captions) = &rows[place.at as usize];
                Ok((image.to_string(), told(captions.to_vec())))
            }
            Rows::Table(table) => {
                let row = table.read(place).map_err(SampleError::Row)?;
                if check(&row) != checked {
                    return Err(SampleError::Caption {
                        name: format!("{}, {}", table.file().display(), row.place),
                        message: "the table has changed since it was opened".to_owned(),
                    });
                }
                Ok((row.image, told(row.captions)))
            }
        }
    }

    fn read(&self, image: &str) -> Result<Vec<u8>, SampleError> {
        let path = self.root.join(image);
        fs::read(&path).map_err(|source| SampleError::Read { path, source })
    }

    fn decode(&self, image: &str) -> Result<DecodedImage, SampleError> {
        decode(&self.read(image)?, &self.limits).map_err(|source| self.no_image(image, source))
    }

    fn no_image(&self, image: &str, source: DecodeError) -> SampleError {
        SampleError::Decode {
            name: self.root.join(image).display().to_string(),
            source,
        }
    }
}

impl Source for ListedSource {
    fn num_samples(&self) -> usize {
        self.entries.len()
    }

    fn image_id(&self, index: usize) -> i64 {
        self.entries[index].image_id.into()
    }

    fn row(&self, index: usize) -> usize {
        self.entries[index].row as usize
    }

    /// The image file as the row names it.
    fn name(&self, index: usize) -> String {
        self.read_row(index)
            .map_or_else(|error| error.to_string(), |(image, _)| image)
    }

    fn draw(&self, index: usize, rng: &mut ChaCha8Rng) -> Result<Draw, SampleError> {
        // The row is read once for both.
        let (image, captions) = self.read_row(index)?;
        let caption = draw_among(captions, rng);
        Ok(Draw {
            image: self.decode(&image)?,
            caption,
            image_id: self.image_id(index),
        })
    }

    fn draw_caption(&self, index: usize, rng: &mut ChaCha8Rng) -> Result<String, SampleError> {
        Ok(draw_among(self.captions(index)?, rng))
    }

    fn image(&self, index: usize) -> Result<DecodedImage, SampleError> {
        self.decode(&self.read_row(index)?.0)
    }

    fn encoded(&self, index: usize) -> Result<(&'static str, Vec<u8>), SampleError> {
        let (image, _) = self.read_row(index)?;
        with_ending(self.read(&image)?).map_err(|source| self.no_image(&image, source))
    }

    fn captions(&self, index: usize) -> Result<Vec<String>, SampleError> {
        Ok(self.read_row(index)?.1)
    }

    fn eval_images(&self) -> Vec<usize> {
        let mut seen = vec![false; self.num_images];
        let first_of_image = |index: &usize| !std::mem::replace(&mut seen[self.entries[*index].image as usize], true);
        (0..self.entries.len()).filter(first_of_image).collect()
    }

    fn eval_captions(&self) -> Result<Vec<(i64, String)>, SampleError> {
        let mut listed = Vec::new();
        for index in 0..self.entries.len() {
            let captions = self.captions(index)?.into_iter();
            listed.extend(captions.map(|caption| (self.image_id(index), caption)));
        }
        Ok(listed)
    }

    fn classes(&self) -> Vec<Classes> {
        if self.class_names.is_empty() {
            return Vec::new();
        }
        let label = |entry: &Entry| entry.class.map(|class| class.get() as usize - 1);
        vec![Classes {
            name: "classes".to_owned(),
            names: self.class_names.clone(),
            labels: self.entries.iter().map(label).collect(),
        }]
    }

    fn report(&self) -> &OpenReport {
        &self.report
    }
}
