//! JSON lists as ALBEF's data sets have them: `[{"image": "a.jpg", "caption": "text"}, …]`.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::listed::{ListedBuilder, Place, Row, Rows};
use super::table::{text_of, texts_of};
use super::{CaptionNoise, DataError, ListedSource};

/// One or more JSON files, each a list of `{image, caption, image_id?}` where `caption` is a text or a list of texts.
///
/// Keys beyond these are ignored: the lists of ALBEF's authors carry several. A training sample is an entry (its caption is
/// drawn if there are several); in evaluation, entries with one image are one image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JsonConfig {
    /// The files, read as one list.
    pub paths: Vec<PathBuf>,
    /// Folder that image paths are relative to. Left out: the folder of the first file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<PathBuf>,
    /// Share of training captions that are replaced by others, see [`CaptionNoise`]. Default 0.
    #[serde(default, skip_serializing_if = "CaptionNoise::is_none")]
    pub caption_noise: CaptionNoise,
}

impl JsonConfig {
    /// The lists in the folder of the first one.
    pub fn new(paths: impl IntoIterator<Item = impl Into<PathBuf>>) -> Self {
        Self {
            paths: paths.into_iter().map(Into::into).collect(),
            root: None,
            caption_noise: CaptionNoise::default(),
        }
    }

    /// Reads and checks the lists, without noise on their captions.
    ///
    /// # Errors
    /// A file that is not there or no such list; an entry without image or caption; no usable entry.
    pub fn open(&self) -> Result<ListedSource, DataError> {
        let first = self.paths.first().ok_or(DataError::NoPaths)?;
        let root = match &self.root {
            Some(root) if !root.is_dir() => return Err(DataError::NotAFolder { path: root.clone() }),
            Some(root) => root.clone(),
            None => first.parent().map(Path::to_owned).unwrap_or_default(),
        };
        let (mut builder, mut rows) = (ListedBuilder::new(&root), Vec::new());
        for path in &self.paths {
            let read = |source| DataError::Read {
                path: path.clone(),
                source,
            };
            let text = fs::read_to_string(path).map_err(read)?;
            let entries: Vec<Value> = serde_json::from_str(text.trim_start_matches('\u{feff}')).map_err(|error| {
                let message = format!("{error}; expected a list of objects with image and caption");
                DataError::Row {
                    file: path.clone(),
                    place: format!("line {}", error.line()),
                    message,
                }
            })?;
            for (at, entry) in entries.into_iter().enumerate() {
                let row = row(path, at + 1, entry)?;
                let place = Place {
                    at: rows.len() as u64,
                    len: 0,
                };
                rows.push((row.image.as_str().into(), row.captions.clone().into_boxed_slice()));
                builder.add(place, row);
            }
        }
        builder.finish(Rows::Listed(rows), first)
    }
}

/// Row of entry number `number`, from 1.
fn row(path: &Path, number: usize, mut entry: Value) -> Result<Row, DataError> {
    let place = format!("entry {number}");
    let wrong = |message: String| DataError::Row {
        file: path.to_owned(),
        place: place.clone(),
        message,
    };
    let Some(object) = entry.as_object_mut() else {
        return Err(wrong("not an object with image and caption".to_owned()));
    };
    let keys = || object.keys().cloned().collect::<Vec<_>>().join(", ");
    if let Some(missing) = ["image", "caption"].into_iter().find(|key| !object.contains_key(*key)) {
        return Err(wrong(format!("no key {missing:?}; its keys are {}", keys())));
    }
    let mut take = |key| object.remove(key).unwrap_or_default();
    let image = text_of(take("image")).ok_or_else(|| wrong("\"image\" must be a path".to_owned()))?;
    let captions =
        texts_of(take("caption")).ok_or_else(|| wrong("\"caption\" must be a text or a list of texts".to_owned()))?;
    let id = match take("image_id") {
        Value::Null => None,
        id => Some(text_of(id).ok_or_else(|| wrong("\"image_id\" must be a number or a text".to_owned()))?),
    };
    Ok(Row {
        image,
        captions,
        id,
        class: None,
        place: format!("{}, {place}", path.display()),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use rand::SeedableRng;
    use rand::rngs::ChaCha8Rng;
    use tempfile::TempDir;

    use super::*;
    use crate::dataset::Source;

    fn files(lists: &[(&str, &str)]) -> (TempDir, JsonConfig) {
        let folder = tempfile::tempdir().unwrap();
        for image in ["1.jpg", "2.jpg"] {
            fs::write(folder.path().join(image), "").unwrap();
        }
        let write = |(name, text): &(&str, &str)| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let paths: Vec<PathBuf> = lists.iter().map(write).collect();
        (folder, JsonConfig::new(paths))
    }

    #[test]
    fn albef_lists_are_read() {
        let (_folder, config) = files(&[
            (
                "a.json",
                r#"[{"image": "1.jpg", "caption": "one", "image_id": "coco_1", "dataset": "x"}, {"image": "1.jpg", "caption": "uno", "image_id": "coco_1"}]"#,
            ),
            (
                "b.json",
                r#"[{"image": "2.jpg", "caption": ["two", "deux", " "], "image_id": 2}]"#,
            ),
        ]);
        let source = config.open().unwrap();
        assert_eq!(source.num_samples(), 3);
        assert_eq!([0, 1, 2].map(|index| source.image_id(index)), [0, 0, 1]);
        assert_eq!(source.captions(2).unwrap(), ["two", "deux"]);
        assert_eq!(source.eval_images(), [0, 2]);
        assert_eq!(
            source.eval_captions().unwrap(),
            [(0, "one"), (0, "uno"), (1, "two"), (1, "deux")].map(|(id, text)| (id, text.to_owned()))
        );
        assert_eq!(source.report().empty_captions.count, 1);
    }

    #[test]
    fn training_draws_among_the_captions() {
        let (folder, config) = files(&[("a.json", r#"[{"image": "1.jpg", "caption": ["one", "uno"]}]"#)]);
        image::RgbImage::new(1, 1)
            .save_with_format(folder.path().join("1.jpg"), image::ImageFormat::Png)
            .unwrap();
        let source = config.open().unwrap();
        let draw = |seed| source.draw(0, &mut ChaCha8Rng::seed_from_u64(seed)).unwrap().caption;
        assert_eq!((0..32).map(draw).collect::<HashSet<_>>().len(), 2);
    }

    #[test]
    fn mistakes_are_named() {
        let cases = [
            (r#"{"image": "1.jpg"}"#, "a.json, line 1: "),
            (
                r#"[{"image": "1.jpg", "text": "x"}]"#,
                "a.json, entry 1: no key \"caption\"; its keys are image, text",
            ),
            (
                r#"[{"image": "1.jpg", "caption": "x"}, 3]"#,
                "a.json, entry 2: not an object",
            ),
            (
                r#"[{"image": "1.jpg", "caption": ["x", 3]}]"#,
                "\"caption\" must be a text or a list of texts",
            ),
            (
                r#"[{"image": "3.jpg", "caption": "x"}]"#,
                "missing image files: 1 (3.jpg, ",
            ),
        ];
        for (text, message) in cases {
            let (_folder, config) = files(&[("a.json", text)]);
            let error = config.open().unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
        let config = |path: &str, root: Option<&str>| JsonConfig {
            root: root.map(Into::into),
            ..JsonConfig::new([path])
        };
        assert!(
            config("/no/such.json", None)
                .open()
                .unwrap_err()
                .to_string()
                .starts_with("cannot read /no/such.json")
        );
        assert!(matches!(
            config("x", Some("/no/such")).open(),
            Err(DataError::NotAFolder { .. })
        ));
        assert!(matches!(JsonConfig::new([""; 0]).open(), Err(DataError::NoPaths)));
    }
}
