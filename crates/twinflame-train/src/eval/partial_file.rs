//! Files that appear under their name only once they are complete.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use super::EvalError;

/// A file written under `NAME.partial` and renamed at the end; dropped before that, it is removed.
#[derive(Debug)]
pub struct PartialFile {
    path: PathBuf,
    partial: PathBuf,
    file: Option<BufWriter<File>>,
}

impl PartialFile {
    /// Begins a file that will be at `path`.
    ///
    /// # Errors
    /// If the temporary file cannot be created.
    pub fn create(path: &Path) -> Result<Self, EvalError> {
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let file = File::create(&partial).map_err(|source| EvalError::write(path, source))?;
        Ok(Self {
            path: path.to_owned(),
            partial,
            file: Some(BufWriter::new(file)),
        })
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), EvalError> {
        self.with(|file| file.write_all(bytes))
    }

    pub(crate) fn with(
        &mut self,
        act: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>,
    ) -> Result<(), EvalError> {
        match &mut self.file {
            Some(file) => act(file).map_err(|source| EvalError::write(&self.path, source)),
            None => Ok(()),
        }
    }

    /// Flushes, renames and returns the final path.
    ///
    /// # Errors
    /// If the disk refuses; nothing is left then.
    pub fn finish(mut self) -> Result<PathBuf, EvalError> {
        let path = self.path.clone();
        if let Some(file) = self.file.take() {
            let moved = file
                .into_inner()
                .map_err(|error| error.into_error())
                .and_then(|file| file.sync_all())
                .and_then(|()| std::fs::rename(&self.partial, &path));
            if moved.is_err() {
                // The write error is the one to report.
                let _ = std::fs::remove_file(&self.partial);
            }
            moved.map_err(|source| EvalError::write(&path, source))?;
        }
        Ok(path)
    }
}

impl Write for PartialFile {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.file.as_mut().map_or(Ok(bytes.len()), |file| file.write(bytes))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.as_mut().map_or(Ok(()), Write::flush)
    }
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            // Nothing can be done about a temporary file that does not go away.
            let _ = std::fs::remove_file(&self.partial);
        }
    }
}

/// Writes `bytes` to `path` in one go.
///
/// # Errors
/// If the disk refuses; nothing is left then.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), EvalError> {
    let mut file = PartialFile::create(path)?;
    file.write(bytes)?;
    file.finish().map(|_| ())
}
