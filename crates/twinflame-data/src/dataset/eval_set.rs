//! The two sides of a retrieval evaluation and which belongs to which.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Counterpart, SampleError, Source};

/// Images, captions and the relation between them, many to many.
///
/// Both sides are dense rows from 0. An image and a caption match if the caption describes the image's id or has the same
/// text as one that does (compared after trimming): of two photos captioned "a dog", both are right answers to
/// "a dog". A query counts as found when any of its positives is in the top k.
///
/// Captions stay as many as the source lists, as the published protocols count them: 5 per image in Flickr30k and COCO,
/// one per emoji here (several vendors' pictures share it).
#[derive(Clone, Debug)]
pub struct EvalSet {
    source: Arc<dyn Source>,
    samples: Vec<usize>,
    captions: Vec<String>,
    image_captions: Vec<Vec<usize>>,
    caption_images: Vec<Vec<usize>>,
    counterparts: Vec<Counterpart>,
}

/// A class set with the class of each image row of an [`EvalSet`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvalClasses {
    /// What the classes are: "groups".
    pub name: String,
    /// Class names.
    pub names: Vec<String>,
    /// Index into `names` for each image row; `None` where the class is not known.
    pub labels: Vec<Option<usize>>,
}

impl EvalSet {
    /// The evaluation set of a source.
    ///
    /// # Errors
    /// If the captions cannot be read.
    pub fn new(source: Arc<dyn Source>) -> Result<Self, SampleError> {
        let samples = source.eval_images();
        let listed = source.eval_captions()?;

        // Captions with one text form a group; an image matches all captions of each group that describes its id.
        let mut group_of_text: HashMap<&str, usize> = HashMap::new();
        let mut captions_of_group: Vec<Vec<usize>> = Vec::new();
        let mut groups_of_id: HashMap<i64, Vec<usize>> = HashMap::new();
        for (row, (image_id, text)) in listed.iter().enumerate() {
            let group = *group_of_text.entry(text.trim()).or_insert_with(|| {
                captions_of_group.push(Vec::new());
                captions_of_group.len() - 1
            });
            captions_of_group[group].push(row);
            let groups = groups_of_id.entry(*image_id).or_default();
            if !groups.contains(&group) {
                groups.push(group);
            }
        }

        let mut caption_images = vec![Vec::new(); listed.len()];
        let image_captions: Vec<Vec<usize>> = samples
            .iter()
            .enumerate()
            .map(|(image, &sample)| {
                let groups = groups_of_id
                    .get(&source.image_id(sample))
                    .map_or(&[][..], Vec::as_slice);
                let mut captions: Vec<usize> = groups
                    .iter()
                    .flat_map(|&group| &captions_of_group[group])
                    .copied()
                    .collect();
                captions.sort_unstable();
                for &caption in &captions {
                    caption_images[caption].push(image);
                }
                captions
            })
            .collect();
        let captions = listed.into_iter().map(|(_, text)| text).collect();
        let row_of_sample: HashMap<usize, usize> = samples.iter().copied().zip(0..).collect();
        let counterparts = source.counterparts().into_iter().filter_map(|counterpart| {
            let image = *row_of_sample.get(&counterpart.image)?;
            Some(Counterpart { image, ..counterpart })
        });
        Ok(Self {
            counterparts: counterparts.collect(),
            source,
            samples,
            captions,
            image_captions,
            caption_images,
        })
    }

    /// Number of image rows.
    pub fn num_images(&self) -> usize {
        self.samples.len()
    }

    /// Number of caption rows.
    pub fn num_captions(&self) -> usize {
        self.captions.len()
    }

    /// The captions, in row order.
    pub fn captions(&self) -> &[String] {
        &self.captions
    }

    /// The captions that match image row `image`, ascending. Empty if none describes it.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn captions_of_image(&self, image: usize) -> &[usize] {
        &self.image_captions[image]
    }

    /// The images that match caption row `caption`, ascending. Empty for a caption that is only a distractor: leave it out as a query.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn images_of_caption(&self, caption: usize) -> &[usize] {
        &self.caption_images[caption]
    }

    /// Captions of image rows, each with a false one of the same words: what [`Source::counterparts`] has, `image` being a
    /// row.
    pub fn counterparts(&self) -> &[Counterpart] {
        &self.counterparts
    }

    /// Where the images come from.
    pub fn source(&self) -> &Arc<dyn Source> {
        &self.source
    }

    /// The sample of the source that image row `image` shows.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn sample(&self, image: usize) -> usize {
        self.samples[image]
    }

    /// Names image row `image` in tables and messages.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn image_name(&self, image: usize) -> String {
        self.source.name(self.samples[image])
    }

    /// The class sets of the source, labelled by image row.
    pub fn classes(&self) -> Vec<EvalClasses> {
        let by_row = |labels: &[Option<usize>]| self.samples.iter().map(|&sample| labels[sample]).collect();
        let sets = self.source.classes().into_iter();
        sets.map(|set| EvalClasses {
            labels: by_row(&set.labels),
            name: set.name,
            names: set.names,
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::dataset::{DataConfig, EmojiConfig, EmojiSplit, JsonConfig};

    fn listed(text: &str) -> EvalSet {
        let folder = tempfile::tempdir().unwrap();
        for image in ["1.jpg", "2.jpg", "3.jpg"] {
            fs::write(folder.path().join(image), "").unwrap();
        }
        fs::write(folder.path().join("list.json"), text).unwrap();
        let config = JsonConfig::new([folder.path().join("list.json")]);
        EvalSet::new(DataConfig::Json(config).open().unwrap()).unwrap()
    }

    #[test]
    fn several_captions_per_image() {
        let set = listed(
            r#"[{"image": "1.jpg", "caption": ["one", "uno"]}, {"image": "2.jpg", "caption": "two"}, {"image": "1.jpg", "caption": "un"}]"#,
        );
        assert_eq!((set.num_images(), set.num_captions()), (2, 4));
        assert_eq!(set.captions(), ["one", "uno", "two", "un"]);
        assert_eq!(
            [set.captions_of_image(0), set.captions_of_image(1)],
            [&[0, 1, 3][..], &[2]]
        );
        assert_eq!(set.images_of_caption(3), [0]);
        assert_eq!(set.image_name(1), "2.jpg");
    }

    #[test]
    fn one_text_of_two_images_is_right_for_both() {
        let set = listed(
            r#"[{"image": "1.jpg", "caption": "a dog"}, {"image": "2.jpg", "caption": ["a dog", "rex"]}, {"image": "3.jpg", "caption": "a cat"}]"#,
        );
        assert_eq!(set.num_captions(), 4, "each listed caption stays a query");
        assert_eq!(
            [set.images_of_caption(0), set.images_of_caption(1)],
            [&[0, 1][..], &[0, 1]]
        );
        assert_eq!(set.captions_of_image(0), [0, 1]);
        assert_eq!(set.captions_of_image(1), [0, 1, 2]);
        assert_eq!(set.images_of_caption(3), [2]);
    }

    #[test]
    fn one_id_of_two_images_is_right_for_both() {
        let set = listed(
            r#"[{"image": "1.jpg", "caption": "a", "image_id": 5}, {"image": "2.jpg", "caption": "b", "image_id": 5}]"#,
        );
        assert_eq!(
            [set.captions_of_image(0), set.captions_of_image(1)],
            [&[0, 1][..], &[0, 1]]
        );
        assert_eq!(set.images_of_caption(0), [0, 1]);
    }

    #[test]
    fn emoji_share_captions_and_leave_distractors() {
        let set = |split| {
            EvalSet::new(
                DataConfig::Emoji(EmojiConfig {
                    split,
                    ..EmojiConfig::default()
                })
                .open()
                .unwrap(),
            )
            .unwrap()
        };
        let a = set(EmojiSplit::A);
        assert_eq!((a.num_images(), a.num_captions()), (1614, 1620));
        assert!((0..1614).all(|image| a.captions_of_image(image).len() == 1));
        assert_eq!(
            (0..1620)
                .filter(|&caption| a.images_of_caption(caption).is_empty())
                .count(),
            6
        );
        let b = set(EmojiSplit::B);
        let matches: usize = (0..294).map(|caption| b.images_of_caption(caption).len()).sum();
        assert_eq!((b.num_images(), matches), (1286, 1286));
        let names: Vec<String> = b.classes().into_iter().map(|classes| classes.name).collect();
        assert_eq!(names, ["groups", "subgroups"]);
        assert!(b.classes().iter().all(|classes| classes.labels.len() == 1286));
    }
}
