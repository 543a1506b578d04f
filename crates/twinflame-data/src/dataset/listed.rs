//! Image files with captions, as a caption table or a JSON list names them.

use std::collections::HashMap;
use std::fs;
use std::hash::Hash;
use std::path::{Path, PathBuf};

use rand::RngExt;
use rand::rngs::ChaCha8Rng;

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

/// One usable row.
#[derive(Debug)]
struct Entry {
    /// Among all rows that were added, unusable ones too.
    row: usize,
    image: usize,
    image_id: i64,
    captions: Box<[Box<str>]>,
    class: Option<usize>,
}

/// Image files with captions. A row is a training sample; an image that several rows name is one image in evaluation.
#[derive(Debug)]
pub struct ListedSource {
    root: PathBuf,
    images: Vec<String>,
    entries: Vec<Entry>,
    class_names: Vec<String>,
    report: OpenReport,
    limits: DecodeLimits,
}

/// Checks rows one by one.
#[derive(Debug)]
pub(super) struct ListedBuilder {
    root: PathBuf,
    images: Interner<String>,
    exists: Vec<bool>,
    ids: Interner<String>,
    image_of_id: Vec<usize>,
    classes: Interner<String>,
    entries: Vec<Entry>,
    num_rows: usize,
    report: OpenReport,
}

/// Numbers values in the order in which they first appear.
#[derive(Debug)]
struct Interner<T> {
    numbers: HashMap<T, usize>,
    values: Vec<T>,
}

impl<T: Clone + Eq + Hash> Interner<T> {
    fn new() -> Self {
        Self {
            numbers: HashMap::new(),
            values: Vec::new(),
        }
    }

    fn number(&mut self, value: T) -> usize {
        let next = self.values.len();
        *self.numbers.entry(value).or_insert_with_key(|value| {
            self.values.push(value.clone());
            next
        })
    }
}

impl ListedBuilder {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            images: Interner::new(),
            exists: Vec::new(),
            ids: Interner::new(),
            image_of_id: Vec::new(),
            classes: Interner::new(),
            entries: Vec::new(),
            num_rows: 0,
            report: OpenReport::default(),
        }
    }

    pub(super) fn add(&mut self, row: Row) {
        let number = self.num_rows;
        self.num_rows += 1;
        let image = self.images.number(row.image);
        if image == self.exists.len() {
            self.exists.push(self.root.join(&self.images.values[image]).is_file());
        }
        if !self.exists[image] {
            return self
                .report
                .missing_files
                .add(|| format!("{}, {}", self.images.values[image], row.place));
        }
        let captions: Box<[Box<str>]> = row
            .captions
            .iter()
            .map(|text| text.trim())
            .filter(|text| !text.is_empty())
            .map(Box::from)
            .collect();
        for _ in captions.len()..row.captions.len().max(1) {
            self.report.empty_captions.add(|| row.place.clone());
        }
        if captions.is_empty() {
            return;
        }
        let image_id = row.id.map_or(image, |id| self.number_id(id, image, &row.place));
        let class = row.class.map(|class| self.classes.number(class));
        self.entries.push(Entry {
            row: number,
            image,
            image_id: image_id as i64,
            captions,
            class,
        });
    }

    fn number_id(&mut self, id: String, image: usize, place: &str) -> usize {
        let number = self.ids.number(id);
        if number == self.image_of_id.len() {
            self.image_of_id.push(image);
        } else if self.image_of_id[number] != image {
            let id = &self.ids.values[number];
            self.report.duplicate_ids.add(|| format!("{id}, {place}"));
        }
        number
    }

    /// The source, unless it would be empty. `path` names it in that error.
    pub(super) fn finish(mut self, path: &Path) -> Result<ListedSource, DataError> {
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
            images: self.images.values,
            entries: self.entries,
            class_names: self.classes.values,
            report: self.report,
            limits: DecodeLimits::default(),
        })
    }
}

impl ListedSource {
    /// Image file of a sample.
    pub fn path(&self, index: usize) -> PathBuf {
        self.root.join(&self.images[self.entries[index].image])
    }

    fn read(&self, index: usize) -> Result<Vec<u8>, SampleError> {
        let path = self.path(index);
        fs::read(&path).map_err(|source| SampleError::Read { path, source })
    }

    fn no_image(&self, index: usize, source: DecodeError) -> SampleError {
        SampleError::Decode {
            name: self.path(index).display().to_string(),
            source,
        }
    }
}

impl Source for ListedSource {
    fn num_samples(&self) -> usize {
        self.entries.len()
    }

    fn image_id(&self, index: usize) -> i64 {
        self.entries[index].image_id
    }

    fn row(&self, index: usize) -> usize {
        self.entries[index].row
    }

    fn name(&self, index: usize) -> String {
        self.images[self.entries[index].image].clone()
    }

    fn draw(&self, index: usize, rng: &mut ChaCha8Rng) -> Result<Draw, SampleError> {
        let caption = self.draw_caption(index, rng)?;
        Ok(Draw {
            image: self.image(index)?,
            caption,
            image_id: self.image_id(index),
        })
    }

    fn draw_caption(&self, index: usize, rng: &mut ChaCha8Rng) -> Result<String, SampleError> {
        let captions = &self.entries[index].captions;
        Ok(captions[rng.random_range(0..captions.len())].to_string())
    }

    fn image(&self, index: usize) -> Result<DecodedImage, SampleError> {
        decode(&self.read(index)?, &self.limits).map_err(|source| self.no_image(index, source))
    }

    fn encoded(&self, index: usize) -> Result<(&'static str, Vec<u8>), SampleError> {
        with_ending(self.read(index)?).map_err(|source| self.no_image(index, source))
    }

    fn captions(&self, index: usize) -> Result<Vec<String>, SampleError> {
        Ok(self.entries[index]
            .captions
            .iter()
            .map(|text| text.to_string())
            .collect())
    }

    fn eval_images(&self) -> Vec<usize> {
        let mut seen = vec![false; self.images.len()];
        let first_of_image = |index: &usize| !std::mem::replace(&mut seen[self.entries[*index].image], true);
        (0..self.entries.len()).filter(first_of_image).collect()
    }

    fn eval_captions(&self) -> Result<Vec<(i64, String)>, SampleError> {
        let of_entry = |entry: &Entry| {
            let id = entry.image_id;
            entry
                .captions
                .iter()
                .map(move |caption| (id, caption.to_string()))
                .collect::<Vec<_>>()
        };
        Ok(self.entries.iter().flat_map(of_entry).collect())
    }

    fn classes(&self) -> Vec<Classes> {
        if self.class_names.is_empty() {
            return Vec::new();
        }
        vec![Classes {
            name: "classes".to_owned(),
            names: self.class_names.clone(),
            labels: self.entries.iter().map(|entry| entry.class).collect(),
        }]
    }

    fn report(&self) -> &OpenReport {
        &self.report
    }
}
