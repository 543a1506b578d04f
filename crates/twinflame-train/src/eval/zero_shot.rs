//! Zero-shot classification: a class is the mean embedding of its prompts.

use burn::tensor::Tensor;
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};
use twinflame_model::normalize;

use super::retrieval::share;
use super::{Chunking, Encoder, EvalError, Relevance, Templates, ranks};

/// Factor of the logits: OpenAI's notebook and open_clip use the constant, not the learned scale.
pub const ZERO_SHOT_SCALE: f32 = 100.0;

/// Class embeddings to compare images with.
///
/// Radford et al. 2021, <https://arxiv.org/abs/2103.00020>, section 3.1.
#[derive(Clone, Debug)]
pub struct ZeroShotClassifier {
    /// `[num_classes, embed_dim]`, rows of length 1
    classes: Tensor<2>,
}

impl ZeroShotClassifier {
    /// Averages the prompts of each class: every prompt is brought to length 1, then averaged, then the mean is
    /// brought to length 1.
    ///
    /// # Shapes
    /// - prompts: `[num_classes * num_templates, embed_dim]`, class after class
    ///
    /// # Panics
    /// If `num_templates` is 0 or does not divide the number of prompts.
    pub fn new(prompts: Tensor<2>, num_templates: usize) -> Self {
        let [num_prompts, embed_dim] = prompts.dims();
        assert!(
            num_templates > 0 && num_prompts.is_multiple_of(num_templates),
            "{num_prompts} prompts from {num_templates} templates"
        );
        let num_classes = num_prompts / num_templates;
        let mean = normalize(prompts)
            .reshape([num_classes, num_templates, embed_dim])
            .mean_dim(1) // [num_classes, 1, embed_dim]
            .reshape([num_classes, embed_dim]);
        Self {
            classes: normalize(mean),
        }
    }

    /// Embeds every class in every template.
    ///
    /// # Errors
    /// If there is no class.
    pub fn for_classes(encoder: &Encoder<'_>, classes: &[String], templates: &Templates) -> Result<Self, EvalError> {
        let prompts = encoder.text_embeds(&templates.prompts(classes), &ProgressBar::hidden())?;
        Ok(Self::new(prompts, templates.len()))
    }

    /// The class embeddings, `[num_classes, embed_dim]`.
    pub fn classes(&self) -> Tensor<2> {
        self.classes.clone()
    }

    /// `100 * cosine` of each image with each class.
    ///
    /// # Shapes
    /// - image_embeds: `[num_images, embed_dim]`, rows of length 1
    /// - output: `[num_images, num_classes]`
    ///
    /// # Panics
    /// If the embedding sizes differ.
    pub fn logits(&self, image_embeds: Tensor<2>) -> Tensor<2> {
        image_embeds.matmul(self.classes.clone().transpose()) * ZERO_SHOT_SCALE
    }

    /// Accuracy on labelled images. Among equal scores the class with the lower index is first.
    ///
    /// # Shapes
    /// - image_embeds: `[num_images, embed_dim]`, rows of length 1
    ///
    /// # Errors
    /// If an embedding is not finite or the device fails.
    ///
    /// # Panics
    /// If images and labels differ in number, or `names` and classes do, or a label is no class.
    pub fn evaluate(
        &self,
        image_embeds: Tensor<2>,
        labels: &[usize],
        names: &[String],
    ) -> Result<ClassificationReport, EvalError> {
        let [num_classes, _] = self.classes.dims();
        assert_eq!(names.len(), num_classes, "one name per class");
        let relevance = Relevance::from_labels(labels, num_classes);
        let found = ranks(
            image_embeds,
            self.classes(),
            &relevance,
            Chunking::default(),
            &ProgressBar::hidden(),
        )?;
        Ok(ClassificationReport::from_ranks(&found, labels, names))
    }
}

/// How often the right class was first, or among the first five.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassificationReport {
    /// Share of images whose class came first.
    pub top_1: f64,
    /// Share of images whose class was among the first five.
    pub top_5: f64,
    /// Mean over classes of their own top-1 accuracy, so that a big class does not drown small ones.
    pub mean_per_class: f64,
    /// Images judged.
    pub num_images: usize,
    /// Classes to choose from.
    pub num_classes: usize,
    /// Classes that occur in the data, in the order of the class list.
    pub per_class: Vec<ClassAccuracy>,
}

/// One class of a [`ClassificationReport`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassAccuracy {
    /// The class.
    pub name: String,
    /// Images of that class.
    pub num_images: usize,
    /// Share of them whose class came first.
    pub top_1: f64,
}

impl ClassificationReport {
    /// From the rank of each image's own class.
    pub(crate) fn from_ranks(ranks: &[Option<usize>], labels: &[usize], names: &[String]) -> Self {
        let mut per_class = vec![(0_usize, 0_usize); names.len()]; // (images, right ones)
        let (mut first, mut five) = (0, 0);
        for (rank, &label) in ranks.iter().zip(labels) {
            let rank = rank.unwrap_or(usize::MAX);
            per_class[label].0 += 1;
            if rank == 1 {
                per_class[label].1 += 1;
                first += 1;
            }
            if rank <= 5 {
                five += 1;
            }
        }
        let per_class: Vec<ClassAccuracy> = per_class
            .into_iter()
            .zip(names)
            .filter(|((num_images, _), _)| *num_images > 0)
            .map(|((num_images, right), name)| ClassAccuracy {
                name: name.clone(),
                num_images,
                top_1: share(right, num_images),
            })
            .collect();
        let mean = per_class.iter().map(|class| class.top_1).sum::<f64>() / per_class.len().max(1) as f64;
        Self {
            top_1: share(first, ranks.len()),
            top_5: share(five, ranks.len()),
            mean_per_class: mean,
            num_images: ranks.len(),
            num_classes: names.len(),
            per_class,
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|class| format!("class {class}")).collect()
    }

    /// A long prompt must weigh no more than a short one.
    #[test]
    fn prompts_are_normalised_before_and_after_the_mean() {
        let device = Device::flex();
        let prompts = Tensor::<2>::from_floats([[10.0, 0.0], [0.0, 0.1], [0.0, 3.0], [0.0, 5.0]], &device);
        let classifier = ZeroShotClassifier::new(prompts, 2);
        let half = 0.5_f32.sqrt();
        let expected = [half, half, 0.0, 1.0];
        for (found, expected) in classifier
            .classes()
            .try_into_vec_as::<f32>()
            .unwrap()
            .iter()
            .zip(expected)
        {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
        let logits = classifier.logits(Tensor::<2>::from_floats([[1.0, 0.0]], &device));
        assert!((logits.try_into_vec_as::<f32>().unwrap()[0] - 100.0 * half).abs() < 1e-4);
    }

    #[test]
    fn accuracy_by_hand() {
        let device = Device::flex();
        let classifier = ZeroShotClassifier::new(Tensor::<2>::eye(6, &device), 1);
        // Image 0 right; image 1 sixth of six (all others score higher); image 2 ties 0 and 3: the lower index wins.
        let images = [
            [1.0, 0.0, 0.0, 0.0, 0.0, 0.0],
            [0.9, 0.0, 0.1, 0.2, 0.3, 0.4],
            [0.5, 0.0, 0.0, 0.5, 0.0, 0.0],
        ];
        let report = classifier
            .evaluate(Tensor::<2>::from_floats(images, &device), &[0, 1, 3], &names(6))
            .unwrap();
        assert_eq!((report.num_images, report.num_classes), (3, 6));
        assert!(
            (report.top_1 - 1.0 / 3.0).abs() < 1e-12 && (report.top_5 - 2.0 / 3.0).abs() < 1e-12,
            "{report:?}"
        );
        assert_eq!(report.per_class.len(), 3);
        assert_eq!(
            report.per_class[0],
            ClassAccuracy {
                name: "class 0".into(),
                num_images: 1,
                top_1: 1.0
            }
        );
        assert!((report.mean_per_class - 1.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn permuting_classes_permutes_logits() {
        let device = Device::flex();
        let prompts = Tensor::<2>::from_floats(
            [[1.0, 0.2], [0.3, 0.4], [0.1, 0.9], [0.5, 0.5], [0.7, 0.1], [0.2, 0.2]],
            &device,
        );
        let swapped = prompts
            .clone()
            .select(0, Tensor::from_ints([4, 5, 2, 3, 0, 1], &device));
        let images = Tensor::<2>::from_floats([[0.6, 0.8], [1.0, 0.0]], &device);
        let plain: Vec<f32> = ZeroShotClassifier::new(prompts, 2)
            .logits(images.clone())
            .try_into_vec_as()
            .unwrap();
        let swapped: Vec<f32> = ZeroShotClassifier::new(swapped, 2)
            .logits(images)
            .try_into_vec_as()
            .unwrap();
        for row in 0..2 {
            for (class, other) in [(0, 2), (1, 1), (2, 0)] {
                assert!((plain[row * 3 + class] - swapped[row * 3 + other]).abs() < 1e-4);
            }
        }
    }
}
