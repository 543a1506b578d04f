//! The library code of a crate: no comments, no test modules.

use std::fs;
use std::path::{Path, PathBuf};

/// A crate of the workspace.
pub(crate) struct Crate {
    root: PathBuf,
}

/// One line of library code.
pub(crate) struct Line {
    pub(crate) path: String,
    pub(crate) number: usize,
    pub(crate) code: String,
}

impl Crate {
    pub(crate) fn open(name: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates").join(name);
        assert!(root.is_dir(), "{} is missing", root.display());
        Self { root }
    }

    /// Names in `[dependencies]`, sorted.
    pub(crate) fn dependencies(&self) -> Vec<String> {
        let manifest = fs::read_to_string(self.root.join("Cargo.toml")).unwrap();
        let mut names: Vec<String> = manifest
            .lines()
            .skip_while(|line| *line != "[dependencies]")
            .skip(1)
            .take_while(|line| !line.starts_with('['))
            .filter_map(|line| line.split(['.', ' ', '=']).next())
            .filter(|name| !name.is_empty() && !name.starts_with('#'))
            .map(str::to_owned)
            .collect();
        names.sort();
        names
    }

    /// Every line of `src/` up to a file's test module, without `//` comments.
    pub(crate) fn lines(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        for path in rust_files(&self.root.join("src")) {
            let text = fs::read_to_string(&path).unwrap();
            let code = text
                .lines()
                .enumerate()
                // By convention the test module ends a file.
                .take_while(|(_, line)| !line.starts_with("#[cfg(test)]") && !line.starts_with("#[cfg(all(test"));
            lines.extend(code.map(|(index, line)| Line {
                path: path.display().to_string(),
                number: index + 1,
                code: line.split("//").next().unwrap_or_default().to_owned(),
            }));
        }
        lines
    }
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            // `tests` folders hold the test modules of long files.
            if !path.ends_with("tests") {
                files.extend(rust_files(&path));
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}
