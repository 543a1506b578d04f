//! Images and texts to embeddings, a batch at a time.

use std::sync::Arc;

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use indicatif::ProgressBar;
use twinflame_data::dataset::ImageList;
use twinflame_data::report::BadSamples;
use twinflame_data::{EvalImages, ImageTextBatch, LoaderConfig, Normalization, Tokenizer, Transform};
use twinflame_model::{ImageInput, Model, normalize};

use super::EvalError;
use crate::run::LoadedModel;
use crate::task::upload_pixels;

/// A model with everything that it needs to see images and read texts.
#[derive(Clone, Debug)]
pub struct Encoder<'a> {
    /// The model, off autodiff.
    pub model: &'a Model,
    /// Text to token ids.
    pub tokenizer: &'a Tokenizer,
    /// Tokens of a text, special ones included.
    pub context_length: usize,
    /// The transform of evaluation, which draws nothing at random.
    pub transform: Arc<Transform>,
    /// Pixels to model input.
    pub normalization: Normalization,
    /// How images are loaded: batch size, worker threads and how many unreadable ones are tolerated.
    pub loader: LoaderConfig,
}

impl<'a> Encoder<'a> {
    /// The encoder of a loaded run with the weights `model`, which is one of `loaded`'s; batches as its recipe says.
    pub fn new(loaded: &'a LoadedModel, model: &'a Model) -> Self {
        let recipe = &loaded.recipe.recipe;
        Self {
            model,
            tokenizer: &loaded.tokenizer,
            context_length: loaded.recipe.model.context_length(),
            transform: loaded.transform.clone(),
            normalization: loaded.normalization,
            loader: LoaderConfig {
                batch_size: recipe.eval.batch_size,
                ..recipe.loader.clone()
            },
        }
    }

    /// The same encoder, for any number of unreadable images.
    pub fn tolerant(mut self) -> Self {
        self.loader.max_bad_samples = usize::MAX;
        self
    }

    /// Where the model is.
    pub fn device(&self) -> Device {
        self.model.device()
    }

    /// Runs all images of `list` through the image tower. `receive` gets, batch after batch and in order, the rows of
    /// the images that could be read and their features; the others are in the result.
    ///
    /// Images are decoded ahead on other threads. Memory does not grow with their number.
    ///
    /// # Shapes
    /// - features: `[images of the batch, embed_dim]`, not brought to length 1
    ///
    /// # Errors
    /// More unreadable images than the loader tolerates, or what `receive` returns.
    pub fn encode_images(
        &self,
        list: Arc<dyn ImageList>,
        progress: &ProgressBar,
        mut receive: impl FnMut(&[usize], Tensor<2>) -> Result<(), EvalError>,
    ) -> Result<BadSamples, EvalError> {
        self.load_images(list, progress, |rows, input| {
            receive(rows, self.model.encode_image(input))
        })
    }

    /// Loads all images of `list`. `receive` gets, batch after batch and in order, the rows of the images that could be
    /// read and what a model sees of them; the others are in the result.
    pub(super) fn load_images(
        &self,
        list: Arc<dyn ImageList>,
        progress: &ProgressBar,
        mut receive: impl FnMut(&[usize], ImageInput) -> Result<(), EvalError>,
    ) -> Result<BadSamples, EvalError> {
        let device = self.device();
        let num_images = list.num_images() as u64;
        let start = progress.position();
        let mut images = EvalImages::over(list, self.transform.clone(), &self.loader)?;
        for batch in images.by_ref() {
            let batch = batch?;
            let tried = batch.rows.len();
            if tried > 0 {
                let pixels = ImageTextBatch {
                    images: batch.images,
                    image_size: batch.image_size,
                    ..ImageTextBatch::default()
                };
                let input = ImageInput {
                    pixels: upload_pixels(&pixels, 0..tried, &self.normalization, &device),
                    keep_patches: None,
                };
                receive(&batch.rows, input)?;
            }
            progress.inc(tried as u64);
        }
        progress.set_position(start + num_images); // unreadable ones included
        Ok(images.bad_samples().clone())
    }

    /// Embeds texts, batch after batch and in order.
    ///
    /// # Shapes
    /// - features: `[texts of the batch, embed_dim]`, not brought to length 1
    ///
    /// # Errors
    /// What `receive` returns.
    pub fn encode_texts<S: AsRef<str>>(
        &self,
        texts: &[S],
        progress: &ProgressBar,
        mut receive: impl FnMut(&[S], Tensor<2>) -> Result<(), EvalError>,
    ) -> Result<(), EvalError> {
        for texts in texts.chunks(self.loader.batch_size.max(1)) {
            receive(texts, self.model.encode_text(self.ids(texts), self.tokenizer.pad_id()))?;
            progress.inc(texts.len() as u64);
        }
        Ok(())
    }

    /// Token ids of texts, `[texts.len(), context_length]`.
    pub(super) fn ids<S: AsRef<str>>(&self, texts: &[S]) -> Tensor<2, Int> {
        let ids: Vec<i32> = texts
            .iter()
            .flat_map(|text| self.tokenizer.encode(text.as_ref(), self.context_length))
            .collect();
        let ids = TensorData::new(ids, [texts.len(), self.context_length]);
        Tensor::from_data(ids, (&self.device(), DType::I32))
    }

    /// All `texts` as one tensor.
    ///
    /// # Shapes
    /// - output: `[texts.len(), embed_dim]`, rows of length 1
    ///
    /// # Errors
    /// If there is no text.
    pub fn text_embeds<S: AsRef<str>>(&self, texts: &[S], progress: &ProgressBar) -> Result<Tensor<2>, EvalError> {
        let mut batches = Vec::new();
        self.encode_texts(texts, progress, |_, features| {
            batches.push(normalize(features));
            Ok(())
        })?;
        match batches.is_empty() {
            true => Err(EvalError::NoTexts),
            false => Ok(Tensor::cat(batches, 0)),
        }
    }

    /// All readable images of `list` as one tensor.
    ///
    /// # Errors
    /// If no image can be read, or more cannot than the loader tolerates.
    pub fn image_features(&self, list: Arc<dyn ImageList>, progress: &ProgressBar) -> Result<ImageFeatures, EvalError> {
        let mut rows = Vec::with_capacity(list.num_images());
        let mut batches = Vec::new();
        let unreadable = self.encode_images(list, progress, |batch, features| {
            rows.extend_from_slice(batch);
            batches.push(features);
            Ok(())
        })?;
        if batches.is_empty() {
            return Err(EvalError::AllUnreadable {
                bad: Box::new(unreadable),
            });
        }
        Ok(ImageFeatures {
            rows,
            features: Tensor::cat(batches, 0),
            unreadable,
        })
    }
}

/// The features of the images of a list that could be read.
#[derive(Clone, Debug)]
pub struct ImageFeatures {
    /// Row of each image in its list, ascending.
    pub rows: Vec<usize>,
    /// `[rows.len(), embed_dim]`, as the tower gives them: not brought to length 1.
    pub features: Tensor<2>,
    /// The images that could not be read.
    pub unreadable: BadSamples,
}

impl ImageFeatures {
    /// The features, each row brought to length 1.
    pub fn embeds(&self) -> Tensor<2> {
        normalize(self.features.clone())
    }

    /// The images whose row has a label, for classification.
    ///
    /// # Panics
    /// If there are fewer labels than rows.
    pub fn labelled(&self, labels: &[Option<usize>]) -> super::LabelledFeatures {
        let known = self
            .rows
            .iter()
            .enumerate()
            .filter_map(|(place, &row)| labels[row].map(|label| (label, place as i32)));
        let (labels, places): (Vec<usize>, Vec<i32>) = known.unzip();
        let places = Tensor::from_ints(places.as_slice(), &self.features.device());
        super::LabelledFeatures {
            features: self.features.clone().select(0, places),
            labels,
        }
    }
}
