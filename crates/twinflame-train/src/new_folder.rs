//! Folders that appear under their name only once they are complete.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process;

/// A folder filled under another name beside its place and renamed at the end; dropped before that, it is removed.
#[derive(Debug)]
pub(crate) struct NewFolder {
    place: PathBuf,
    unfinished: PathBuf,
    is_finished: bool,
}

impl NewFolder {
    /// Makes an empty folder `.NAME.unfinished-PROCESS` beside `place`, and the folders above them.
    pub(crate) fn create(place: &Path) -> io::Result<Self> {
        let name = place.file_name().unwrap_or_default().to_string_lossy();
        let unfinished = place.with_file_name(format!(".{name}.unfinished-{}", process::id()));
        if let Some(parent) = place.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::create_dir(&unfinished)?;
        Ok(Self {
            place: place.to_owned(),
            unfinished,
            is_finished: false,
        })
    }

    /// Where to write.
    pub(crate) fn path(&self) -> &Path {
        &self.unfinished
    }

    /// Gives it its name, which nothing may have but an empty folder.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        if self.place.exists() {
            fs::remove_dir(&self.place)?;
        }
        fs::rename(&self.unfinished, &self.place)?;
        self.is_finished = true;
        Ok(())
    }
}

impl Drop for NewFolder {
    fn drop(&mut self) {
        if !self.is_finished {
            // The error that led here is the one to report.
            let _ = fs::remove_dir_all(&self.unfinished);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect()
    }

    #[test]
    fn it_has_its_name_once_it_is_complete() {
        let parent = tempfile::tempdir().unwrap();
        let place = parent.path().join("deep/out");
        let folder = NewFolder::create(&place).unwrap();
        fs::write(folder.path().join("file"), "text").unwrap();
        assert!(!place.exists());
        folder.finish().unwrap();
        assert_eq!(fs::read_to_string(place.join("file")).unwrap(), "text");
        // Given up, it leaves nothing, and what has the name stays.
        drop(NewFolder::create(&place).unwrap());
        assert!(NewFolder::create(&place).unwrap().finish().is_err());
        assert_eq!(names(&parent.path().join("deep")), ["out"]);
        assert_eq!(names(&place), ["file"]);
    }
}
