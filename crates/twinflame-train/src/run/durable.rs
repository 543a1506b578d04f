//! Files that a crash of the machine leaves whole: they are on disk before they have their name.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Writes a file under another name, forces it to disk and renames it; if that fails, nothing is left.
pub(super) fn write(path: &Path, text: &str) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.tmp"));
    let written = write_and_sync(&temporary, text).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // The error that led here is the one to report.
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn write_and_sync(path: &Path, text: &str) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Forces a file to disk, whoever wrote it.
pub(super) fn sync(path: &Path) -> io::Result<()> {
    // Windows wants a handle that may write.
    File::options().read(true).write(true).open(path)?.sync_all()
}

/// Forces a folder's entries to disk where the system can; Windows cannot open a folder for that.
pub(super) fn sync_dir(path: &Path) {
    if let Ok(dir) = File::open(path) {
        let _ = dir.sync_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_written_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("recipe.toml");
        write(&path, "seed = 1").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "seed = 1");
        // A folder cannot be replaced by a file.
        let taken = dir.path().join("taken");
        fs::create_dir_all(taken.join("below")).unwrap();
        write(&taken, "text").unwrap_err();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}
