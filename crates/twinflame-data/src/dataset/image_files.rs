//! The images in a folder, without captions.

use std::fs;
use std::path::{Path, PathBuf};

use super::{DataError, ImageList, SampleError};
use crate::decode::{DecodeLimits, DecodedImage, decode};

/// Endings of the files that count as images, in lower case; files are compared without regard to case.
pub const IMAGE_ENDINGS: [&str; 6] = ["jpg", "jpeg", "png", "webp", "gif", "bmp"];

/// The image files of a folder and the folders below it, in the order of their paths.
///
/// Hidden files and folders (a name that begins with a dot) are left out, and links to folders are not followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageFiles {
    root: PathBuf,
    files: Vec<PathBuf>,
    limits: DecodeLimits,
}

impl ImageFiles {
    /// Looks for images by the endings of file names; no file is opened.
    ///
    /// # Errors
    /// If `root` is not a folder or holds no image, or a folder cannot be read.
    pub fn find(root: &Path) -> Result<Self, DataError> {
        if !root.is_dir() {
            return Err(DataError::NotAFolder { path: root.to_owned() });
        }
        let mut files = Vec::new();
        let mut folders = vec![root.to_owned()];
        while let Some(folder) = folders.pop() {
            let read = |source| DataError::Read {
                path: folder.clone(),
                source,
            };
            for entry in fs::read_dir(&folder).map_err(read)? {
                let entry = entry.map_err(read)?;
                let (path, kind) = (entry.path(), entry.file_type().map_err(read)?);
                if entry.file_name().to_string_lossy().starts_with('.') {
                    continue;
                }
                if kind.is_dir() {
                    folders.push(path);
                } else if has_image_ending(&path) && path.is_file() {
                    files.push(path);
                }
            }
        }
        if files.is_empty() {
            return Err(DataError::NoImages {
                path: root.to_owned(),
                endings: IMAGE_ENDINGS.map(|ending| format!(".{ending}")).join(", "),
            });
        }
        files.sort();
        Ok(Self {
            root: root.to_owned(),
            files,
            limits: DecodeLimits::default(),
        })
    }

    /// Path of a row, `root` included.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn path(&self, row: usize) -> &Path {
        &self.files[row]
    }
}

fn has_image_ending(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    ending.is_some_and(|ending| IMAGE_ENDINGS.iter().any(|image| image.eq_ignore_ascii_case(ending)))
}

impl ImageList for ImageFiles {
    fn num_images(&self) -> usize {
        self.files.len()
    }

    /// The path relative to the folder, with `/` between its parts.
    fn image_name(&self, row: usize) -> String {
        let path = self.files[row].strip_prefix(&self.root).unwrap_or(&self.files[row]);
        let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
        parts.join("/")
    }

    fn image(&self, row: usize) -> Result<DecodedImage, SampleError> {
        let path = &self.files[row];
        let bytes = fs::read(path).map_err(|source| SampleError::Read {
            path: path.clone(),
            source,
        })?;
        decode(&bytes, &self.limits).map_err(|source| SampleError::Decode {
            name: path.display().to_string(),
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::loader::{EvalImages, LoaderConfig};
    use crate::transform::{Transform, TransformConfig};

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("b/c")).unwrap();
        fs::create_dir(folder.path().join(".cache")).unwrap();
        let grey = |shade: u8| image::GrayImage::from_pixel(4, 4, image::Luma([shade]));
        grey(10).save(folder.path().join("z.png")).unwrap();
        grey(20).save(folder.path().join("b/c/a.PNG")).unwrap();
        grey(30).save(folder.path().join(".cache/hidden.png")).unwrap();
        fs::write(folder.path().join("b/broken.jpg"), b"no image").unwrap();
        fs::write(folder.path().join("notes.txt"), b"no image").unwrap();
        folder
    }

    #[test]
    fn images_are_found_below_and_sorted() {
        let folder = folder();
        let files = ImageFiles::find(folder.path()).unwrap();
        let names: Vec<String> = (0..files.num_images()).map(|row| files.image_name(row)).collect();
        assert_eq!(names, ["b/broken.jpg", "b/c/a.PNG", "z.png"]);
    }

    #[test]
    fn unreadable_images_are_counted_and_named() {
        let folder = folder();
        let files = Arc::new(ImageFiles::find(folder.path()).unwrap());
        let config = TransformConfig {
            image_size: 2,
            ..TransformConfig::default()
        };
        let transform = Arc::new(Transform::eval(&config).unwrap());
        let mut images = EvalImages::over(files, transform, &LoaderConfig::default()).unwrap();
        let batch = images.next().unwrap().unwrap();
        assert_eq!(batch.rows, [1, 2]);
        assert_eq!(batch.images, [[20; 12], [10; 12]].concat());
        assert!(images.next().is_none());
        assert_eq!(images.bad_samples().total(), 1);
        assert!(images.bad_samples().to_string().contains("broken.jpg"));
    }

    #[test]
    fn a_folder_without_images_is_an_error_that_says_what_was_looked_for() {
        let folder = tempfile::tempdir().unwrap();
        let error = ImageFiles::find(folder.path()).unwrap_err().to_string();
        assert!(
            error.contains(&folder.path().display().to_string()) && error.contains(".webp"),
            "{error}"
        );
        let error = ImageFiles::find(&folder.path().join("none")).unwrap_err().to_string();
        assert!(error.contains("not a folder"), "{error}");
    }
}
