//! An evaluation set, embedded once and judged several ways.

use std::sync::Arc;

use burn::tensor::Tensor;
use indicatif::ProgressBar;
use twinflame_data::EvalSet;
use twinflame_data::dataset::{EvalClasses, ImageList};

use super::canvas::to_dynamic;
use super::picture::{PICTURE_HITS, PictureHit, PictureRow, PictureSection, pick_queries};
use super::{
    Chunking, ClassificationReport, Encoder, EvalError, ImageFeatures, LabelledFeatures, Relevance, RetrievalReport,
    Templates, ZeroShotClassifier, ranks, retrieval, top_k,
};

/// The images and captions of an [`EvalSet`] in the space of one model.
#[derive(Clone, Debug)]
pub struct SetEmbeddings<'a> {
    set: &'a EvalSet,
    /// The images that could be read.
    pub images: ImageFeatures,
    /// `[num_images, embed_dim]`, rows of length 1
    image_embeds: Tensor<2>,
    /// `[num_captions, embed_dim]`, rows of length 1
    captions: Tensor<2>,
}

impl<'a> SetEmbeddings<'a> {
    /// Embeds all images and captions of `set`; the bar moves by their number.
    ///
    /// # Errors
    /// If no image can be read, or more cannot than the loader tolerates.
    pub fn new(encoder: &Encoder<'_>, set: &'a EvalSet, progress: &ProgressBar) -> Result<Self, EvalError> {
        let images = encoder.image_features(Arc::new(set.clone()), progress)?;
        Ok(Self {
            set,
            image_embeds: images.embeds(),
            captions: encoder.text_embeds(set.captions(), progress)?,
            images,
        })
    }

    /// The set that was embedded.
    pub(super) fn set(&self) -> &'a EvalSet {
        self.set
    }

    /// `[num_images, embed_dim]`, rows of length 1: the images that could be read.
    pub(super) fn image_embeds(&self) -> Tensor<2> {
        self.image_embeds.clone()
    }

    /// `[num_captions, embed_dim]`, rows of length 1.
    pub(super) fn captions(&self) -> Tensor<2> {
        self.captions.clone()
    }

    /// Captions (queries) against the images that could be read (gallery).
    pub(super) fn caption_to_image(&self) -> Relevance {
        let rows = &self.images.rows;
        let captions = |row: usize| self.set.captions_of_image(row).iter();
        let pairs = rows
            .iter()
            .enumerate()
            .flat_map(|(place, &row)| captions(row).map(move |&caption| (caption, place)));
        Relevance::from_pairs(self.set.num_captions(), rows.len(), pairs)
    }

    /// Retrieval both ways.
    ///
    /// # Errors
    /// If an embedding is not finite or the device fails.
    pub fn retrieval(&self, ks: &[usize]) -> Result<RetrievalReport, EvalError> {
        let relevance = self.caption_to_image();
        retrieval(
            self.image_embeds.clone(),
            self.captions.clone(),
            &relevance,
            ks,
            &ProgressBar::hidden(),
        )
    }

    /// Zero-shot classification of the images whose class is known; `None` if there are none.
    ///
    /// # Errors
    /// If an embedding is not finite or the device fails.
    pub fn zero_shot(
        &self,
        encoder: &Encoder<'_>,
        classes: &EvalClasses,
        templates: &Templates,
    ) -> Result<Option<ClassificationReport>, EvalError> {
        let data = self.labelled(&classes.labels);
        if data.labels.is_empty() {
            return Ok(None);
        }
        ZeroShotClassifier::for_classes(encoder, &classes.names, templates)?
            .evaluate(data.embeds(), &data.labels, &classes.names)
            .map(Some)
    }

    /// The tower's features of the images whose row has a label.
    ///
    /// # Panics
    /// If there are fewer labels than rows of the set.
    pub fn labelled(&self, labels: &[Option<usize>]) -> LabelledFeatures {
        self.images.labelled(labels)
    }

    /// `count` captions with what the model finds for them, for `retrieval.png`.
    ///
    /// # Errors
    /// If an embedding is not finite or the device fails.
    pub fn picture_section(&self, title: String, count: usize) -> Result<PictureSection, EvalError> {
        let relevance = self.caption_to_image();
        let (captions, images) = (self.captions.clone(), self.image_embeds.clone());
        let hidden = ProgressBar::hidden();
        let ranks = ranks(
            captions.clone(),
            images.clone(),
            &relevance,
            Chunking::default(),
            &hidden,
        )?;
        let picked = pick_queries(&ranks, count);
        if picked.is_empty() {
            return Ok(PictureSection {
                title,
                rows: Vec::new(),
            });
        }
        let indices: Vec<i32> = picked.iter().map(|&query| query as i32).collect();
        let queries = captions.select(0, Tensor::from_ints(indices.as_slice(), &images.device()));
        let lists = top_k(queries, images, PICTURE_HITS, Chunking::default())?;
        let hit = |query: usize, hit: super::Hit| PictureHit {
            image: self
                .set
                .image(self.images.rows[hit.index])
                .ok()
                .as_ref()
                .map(to_dynamic),
            score: hit.score,
            is_right: relevance.is_positive(query, hit.index),
        };
        let rows = std::iter::zip(&picked, lists)
            .map(|(&query, hits)| PictureRow {
                caption: self.set.captions()[query].clone(),
                rank: ranks[query],
                num_images: self.images.rows.len(),
                hits: hits.into_iter().map(|found| hit(query, found)).collect(),
            })
            .collect();
        Ok(PictureSection { title, rows })
    }
}
