//! Prompt templates and class lists of zero-shot classification, built in or read from a text file.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::EvalError;

/// Where a class name goes in a template.
const SLOT: &str = "{}";

/// The subset of OpenAI's 80 ImageNet templates that does about as well as all of them
/// (<https://github.com/openai/CLIP/blob/main/notebooks/Prompt_Engineering_for_ImageNet.ipynb>); the grammar is theirs.
const OPENAI_7: [&str; 7] = [
    "itap of a {}.",
    "a bad photo of the {}.",
    "a origami {}.",
    "a photo of the large {}.",
    "a {} in a video game.",
    "art of the {}.",
    "a photo of the small {}.",
];

/// Sentences around a class name; a class is represented by the mean over them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Templates(Vec<String>);

impl Templates {
    /// OpenAI's seven templates, meant for photographs.
    pub fn openai_7() -> Self {
        Self(OPENAI_7.map(String::from).to_vec())
    }

    /// The bare class name.
    pub fn bare() -> Self {
        Self(vec![SLOT.to_owned()])
    }

    /// Templates given as a list, each with `{}` exactly once.
    ///
    /// # Errors
    /// If the list is empty or a template has no `{}` or several; `origin` (a recipe key, say) is named.
    pub fn new(templates: Vec<String>, origin: &str) -> Result<Self, EvalError> {
        for (index, template) in templates.iter().enumerate() {
            check_template(template, &format!("{origin}, template {}", index + 1))?;
        }
        if templates.is_empty() {
            return Err(EvalError::EmptyList {
                origin: origin.to_owned(),
                what: "template",
            });
        }
        Ok(Self(templates))
    }

    /// Templates from a file, one a line; empty lines and lines that start with `#` are left out.
    ///
    /// # Errors
    /// If the file cannot be read, holds no template, or a line has no `{}` or several: the file and the line are
    /// named.
    pub fn from_file(path: &Path) -> Result<Self, EvalError> {
        let lines = read_lines(path)?;
        for (number, line) in &lines {
            check_template(line, &format!("{}:{number}", path.display()))?;
        }
        if lines.is_empty() {
            return Err(EvalError::EmptyList {
                origin: path.display().to_string(),
                what: "template",
            });
        }
        Ok(Self(lines.into_iter().map(|(_, line)| line).collect()))
    }

    /// Number of templates, at least 1.
    #[expect(clippy::len_without_is_empty, reason = "never empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// All prompts, class after class: `classes.len() * self.len()`.
    pub fn prompts(&self, classes: &[String]) -> Vec<String> {
        let prompts = |class: &String| {
            self.0
                .iter()
                .map(move |template| template.replacen(SLOT, class, 1))
                .collect()
        };
        classes.iter().flat_map::<Vec<String>, _>(prompts).collect()
    }
}

fn check_template(template: &str, place: &str) -> Result<(), EvalError> {
    match template.matches(SLOT).count() {
        1 => Ok(()),
        slots => Err(EvalError::Template {
            place: place.to_owned(),
            template: template.to_owned(),
            slots,
        }),
    }
}

/// The classes of a zero-shot task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassList {
    /// Names as they go into the templates.
    pub names: Vec<String>,
    /// The folder or label that stands for each class in the data: the name itself unless the file says otherwise.
    pub labels: Vec<String>,
}

impl ClassList {
    /// Classes whose label is their name.
    ///
    /// # Errors
    /// If the list is empty; `origin` is named.
    pub fn new(names: Vec<String>, origin: &str) -> Result<Self, EvalError> {
        if names.is_empty() {
            return Err(EvalError::EmptyList {
                origin: origin.to_owned(),
                what: "class",
            });
        }
        Ok(Self {
            labels: names.clone(),
            names,
        })
    }

    /// Classes from a file, one a line: the name, and after a tab, where it differs from the name, the label that the
    /// data uses (`tench<TAB>n01440764`). Empty lines and lines that start with `#` are left out.
    ///
    /// # Errors
    /// If the file cannot be read, holds no class, or a label comes twice: the file and the line are named.
    pub fn from_file(path: &Path) -> Result<Self, EvalError> {
        let mut list = Self {
            names: Vec::new(),
            labels: Vec::new(),
        };
        let mut seen = HashSet::new();
        for (number, line) in read_lines(path)? {
            let (name, label) = line.split_once('\t').unwrap_or((&line, &line));
            let (name, label) = (name.trim(), label.trim());
            let place = format!("{}:{number}", path.display());
            if name.is_empty() || label.is_empty() {
                return Err(EvalError::EmptyClass { place });
            }
            if !seen.insert(label.to_owned()) {
                return Err(EvalError::RepeatedClass {
                    place,
                    label: label.to_owned(),
                });
            }
            list.names.push(name.to_owned());
            list.labels.push(label.to_owned());
        }
        if list.names.is_empty() {
            return Err(EvalError::EmptyList {
                origin: path.display().to_string(),
                what: "class",
            });
        }
        Ok(list)
    }

    /// Number of classes, at least 1.
    #[expect(clippy::len_without_is_empty, reason = "never empty")]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Position of each label.
    pub fn by_label(&self) -> HashMap<&str, usize> {
        self.labels
            .iter()
            .enumerate()
            .map(|(class, label)| (label.as_str(), class))
            .collect()
    }
}

/// Lines that say something, with their numbers from 1.
pub(crate) fn read_lines(path: &Path) -> Result<Vec<(usize, String)>, EvalError> {
    let text = std::fs::read_to_string(path).map_err(|source| EvalError::read(path, source))?;
    let lines = text.trim_start_matches('\u{feff}').lines().enumerate();
    Ok(lines
        .map(|(index, line)| (index + 1, line.trim().to_owned()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn prompts_are_class_major() {
        let classes = ClassList::new(vec!["cat".into(), "dog".into()], "test").unwrap();
        let templates = Templates::new(vec!["a {}.".into(), "the {}".into()], "test").unwrap();
        assert_eq!(
            templates.prompts(&classes.names),
            ["a cat.", "the cat", "a dog.", "the dog"]
        );
        assert_eq!(Templates::openai_7().len(), 7);
        assert_eq!(
            Templates::openai_7().prompts(&classes.names)[7 + 4],
            "a dog in a video game."
        );
    }

    #[test]
    fn files_may_have_comments_blank_lines_and_labels() {
        let classes = file("\u{feff}# animals\ntench\tn01440764\r\n\nred fox\n");
        let classes = ClassList::from_file(classes.path()).unwrap();
        assert_eq!(classes.names, ["tench", "red fox"]);
        assert_eq!(classes.labels, ["n01440764", "red fox"]);
        let templates = file("a photo of {}\n\n# no\nart of {}\n");
        assert_eq!(Templates::from_file(templates.path()).unwrap().len(), 2);
    }

    #[test]
    fn errors_name_the_file_and_the_line() {
        let no_slot = file("a photo of {}\na photo\n");
        let error = Templates::from_file(no_slot.path()).unwrap_err().to_string();
        assert!(
            error.contains(&format!("{}:2", no_slot.path().display())) && error.contains("`a photo`"),
            "{error}"
        );
        let twice = file("cat\ndog\ncat\n");
        let error = ClassList::from_file(twice.path()).unwrap_err().to_string();
        assert!(
            error.contains(&format!("{}:3", twice.path().display())) && error.contains("cat"),
            "{error}"
        );
        let empty = file("# nothing\n");
        let error = ClassList::from_file(empty.path()).unwrap_err().to_string();
        assert!(error.contains(&empty.path().display().to_string()), "{error}");
        let error = Templates::from_file(Path::new("no/such/file.txt"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("no/such/file.txt"), "{error}");
    }
}
