//! JSON lists as ALBEF's data sets have them: `[{"image": "a.jpg", "caption": "text"}, …]`.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::folder::{text_of, texts_of};
use super::listed::{ListedBuilder, Row};
use super::{DataError, ListedSource};

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
}

impl JsonConfig {
    /// Reads and checks the lists.
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
        let mut builder = ListedBuilder::new(&root);
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
                builder.add(row(path, at + 1, entry)?);
            }
        }
        builder.finish(first)
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
