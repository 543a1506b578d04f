//! Labelled images: one folder per class.

use std::path::Path;
use std::sync::Arc;

use twinflame_data::dataset::{ImageFiles, ImageList};

use super::{ClassList, EvalError};

/// Images in folders that are named after their classes, as ImageNet is usually stored.
#[derive(Clone, Debug)]
pub struct ClassFolders {
    /// The images.
    pub files: Arc<ImageFiles>,
    /// The classes to choose from.
    pub classes: ClassList,
    /// Class of each image.
    pub labels: Vec<Option<usize>>,
}

impl ClassFolders {
    /// Finds the images below `root`; the first folder of an image's path below `root` is its label.
    ///
    /// Without a class list, the folders are the classes. A class of the list may have no folder.
    ///
    /// # Errors
    /// If there is no image, an image is in no class folder, or a folder is not in the list.
    pub fn open(root: &Path, classes: Option<ClassList>) -> Result<Self, EvalError> {
        let files = Arc::new(ImageFiles::find(root)?);
        let folders: Vec<String> = (0..files.num_images())
            .map(|row| {
                let name = files.image_name(row);
                match name.split_once('/') {
                    Some((folder, _)) => Ok(folder.to_owned()),
                    None => Err(EvalError::NoClassFolder {
                        path: root.join(name),
                        root: root.to_owned(),
                    }),
                }
            })
            .collect::<Result<_, _>>()?;
        let classes = match classes {
            Some(classes) => classes,
            None => {
                let mut names = folders.clone();
                names.dedup(); // paths are sorted
                ClassList::new(names, &root.display().to_string())?
            }
        };
        let by_label = classes.by_label();
        let labels = folders
            .iter()
            .map(|folder| match by_label.get(folder.as_str()) {
                Some(&class) => Ok(Some(class)),
                None => Err(EvalError::UnknownLabel {
                    path: root.to_owned(),
                    label: folder.clone(),
                    num_classes: classes.len(),
                    first: classes.labels.iter().take(5).cloned().collect::<Vec<_>>().join(", "),
                }),
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { files, classes, labels })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, []).unwrap();
        }
        folder
    }

    #[test]
    fn folders_are_labels() {
        let folder = folder(&["fox/b/1.png", "fox/2.png", "cat/1.jpg"]);
        let found = ClassFolders::open(folder.path(), None).unwrap();
        assert_eq!(found.classes.names, ["cat", "fox"]);
        assert_eq!(found.labels, [Some(0), Some(1), Some(1)]);
    }

    #[test]
    fn a_class_list_gives_names_and_order_and_may_hold_more() {
        let folder = folder(&["n02/1.png", "n01/1.png"]);
        let list = tempfile::NamedTempFile::new().unwrap();
        fs::write(list.path(), "red fox\tn02\ncat\tn01\nbird\tn03\n").unwrap();
        let classes = ClassList::from_file(list.path()).unwrap();
        let found = ClassFolders::open(folder.path(), Some(classes)).unwrap();
        assert_eq!(found.labels, [Some(1), Some(0)]); // n01 is read before n02
        assert_eq!(found.classes.names[0], "red fox");
    }

    #[test]
    fn mistakes_name_the_folder_or_file() {
        let stray = folder(&["cat/1.png", "lost.png"]);
        let error = ClassFolders::open(stray.path(), None).unwrap_err().to_string();
        assert!(error.contains("lost.png"), "{error}");
        let unknown = folder(&["cat/1.png", "dgo/1.png"]);
        let classes = ClassList::new(vec!["cat".into(), "dog".into()], "test").unwrap();
        let error = ClassFolders::open(unknown.path(), Some(classes))
            .unwrap_err()
            .to_string();
        assert!(error.contains("`dgo`") && error.contains("cat, dog"), "{error}");
    }
}
