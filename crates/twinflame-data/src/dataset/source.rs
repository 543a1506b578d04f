//! What every source of samples offers.

use std::fmt::Debug;
use std::ops::Range;

use rand::RngExt;
use rand::rngs::ChaCha8Rng;

use super::SampleError;
use crate::decode::{DecodedImage, encode_png};
use crate::report::OpenReport;

/// One training sample, drawn.
#[derive(Debug)]
pub struct Draw {
    /// The image, with a background where the source chose one.
    pub image: DecodedImage,
    /// One caption.
    pub caption: String,
    /// Equal for images of one thing; see [`Source::image_id`].
    pub image_id: i64,
}

/// A set of classes with the class of each sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classes {
    /// What the classes are: "groups".
    pub name: String,
    /// Class names.
    pub names: Vec<String>,
    /// Index into `names` for each sample of the source; `None` where the class is not known.
    pub labels: Vec<Option<usize>>,
}

/// A true caption of an image and a false one of the same words: "a dog left of a cat" and "a cat left of a dog". What
/// takes a caption for a bag of words cannot tell them apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counterpart {
    /// The image: a sample of the [`Source`], or an image row of the [`EvalSet`](super::EvalSet).
    pub image: usize,
    /// What is true of it.
    pub caption: String,
    /// The same words, false.
    pub swapped: String,
}

/// A part of a source and how much of an epoch is of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Share {
    /// Names it in reports.
    pub name: String,
    /// Its samples.
    pub samples: Range<usize>,
    /// Its part of an epoch, relative to the weights of the others.
    pub weight: f64,
}

/// Image-caption samples with random access.
///
/// Indices are `0..num_samples()`; methods that take one panic beyond.
pub trait Source: Debug + Send + Sync {
    /// Number of training samples.
    fn num_samples(&self) -> usize;

    /// Equal for samples that show the same thing and must not be each other's negatives.
    fn image_id(&self, index: usize) -> i64;

    /// How many samples belong together: `i n` to `i n + n - 1` come in one batch in training, side by side, unless the
    /// batch ends between them. They are drawn from one seed, each with a stream of random numbers of its own.
    fn num_together(&self) -> usize {
        1
    }

    /// Sample at which each shard begins, where samples lie in shards: those of a shard are read fast one after another.
    /// Otherwise empty.
    fn shard_starts(&self) -> &[usize] {
        &[]
    }

    /// The parts of a mixture, one behind the other and together all samples. An epoch takes of each in proportion to its weight,
    /// and takes none of its samples again before it had them all. Otherwise empty: an epoch has every sample once.
    fn shares(&self) -> &[Share] {
        &[]
    }

    /// Samples of an epoch, before it is rounded down to full batches. Other than the number of samples only in a mixture.
    fn samples_per_epoch(&self) -> usize {
        self.num_samples()
    }

    /// The row of its table that a sample comes from, counted from 0 with those that cannot be used. Without a table: `index`.
    fn row(&self, index: usize) -> usize {
        index
    }

    /// Names a sample in messages: a path, or emoji and vendor.
    fn name(&self, index: usize) -> String;

    /// Draws the sample for a training step. A pure function of `index` and the state of `rng`.
    ///
    /// # Errors
    /// If the image cannot be read or decoded.
    fn draw(&self, index: usize, rng: &mut ChaCha8Rng) -> Result<Draw, SampleError>;

    /// Draws a caption for a training step, as [`draw`](Self::draw) might, without the picture where that saves work.
    ///
    /// # Errors
    /// As `draw`.
    fn draw_caption(&self, index: usize, rng: &mut ChaCha8Rng) -> Result<String, SampleError> {
        Ok(self.draw(index, rng)?.caption)
    }

    /// The image for evaluation, without any random choice.
    ///
    /// # Errors
    /// If the image cannot be read or decoded.
    fn image(&self, index: usize) -> Result<DecodedImage, SampleError>;

    /// The image for evaluation as a file: its ending, such as "jpg", and its bytes. A source without files gives a PNG.
    ///
    /// # Errors
    /// If the image cannot be read, or is none.
    fn encoded(&self, index: usize) -> Result<(&'static str, Vec<u8>), SampleError> {
        encode_png(&self.image(index)?).map_err(|source| SampleError::Decode {
            name: self.name(index),
            source,
        })
    }

    /// The captions for evaluation, at least one.
    ///
    /// # Errors
    /// If they are in a file that cannot be read.
    fn captions(&self, index: usize) -> Result<Vec<String>, SampleError>;

    /// The samples whose images an evaluation compares: each image once.
    fn eval_images(&self) -> Vec<usize>;

    /// The captions of an evaluation, each with the image id it describes. Ids without an image are allowed: such a
    /// caption is a distractor for images and no query of its own.
    ///
    /// # Errors
    /// If they are in a file that cannot be read.
    fn eval_captions(&self) -> Result<Vec<(i64, String)>, SampleError>;

    /// Class sets for zero-shot classification and linear probes.
    fn classes(&self) -> Vec<Classes>;

    /// Captions of evaluation images, each with a false one of the same words. Sources without such have none.
    fn counterparts(&self) -> Vec<Counterpart> {
        Vec::new()
    }

    /// What opening the source found.
    fn report(&self) -> &OpenReport;
}

/// [`Source::draw`] of a source whose samples have an image and captions that are the same each time.
pub(super) fn draw_listed(source: &impl Source, index: usize, rng: &mut ChaCha8Rng) -> Result<Draw, SampleError> {
    let caption = source.draw_caption(index, rng)?;
    Ok(Draw {
        image: source.image(index)?,
        caption,
        image_id: source.image_id(index),
    })
}

/// One of the captions of a sample.
///
/// # Panics
/// If there is none.
pub(super) fn draw_among(mut captions: Vec<String>, rng: &mut ChaCha8Rng) -> String {
    captions.swap_remove(rng.random_range(0..captions.len()))
}
