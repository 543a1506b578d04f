//! What can go wrong in an evaluation.

use std::path::{Path, PathBuf};

use burn::tensor::TensorReadError;
use twinflame_data::report::BadSamples;
use twinflame_data::{DataError, LoaderError, SampleError};

/// A failed evaluation, embedding or search.
#[derive(Debug, thiserror::Error)]
pub enum EvalError {
    /// The device failed while results were read back.
    #[error("the device failed during evaluation")]
    Device(#[from] TensorReadError),
    /// The model produced a NaN or an infinity.
    #[error("the {what} embeddings hold a NaN or an infinity: the model has diverged, evaluate an earlier checkpoint")]
    NotFinite {
        /// Which embeddings.
        what: &'static str,
    },
    /// A file or folder could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A template without its slot, or with several.
    #[error(
        "{place}: a template has {{}} exactly once, where the class name goes, but `{template}` has it {slots} times"
    )]
    Template {
        /// File and line, or recipe key and position.
        place: String,
        /// The template.
        template: String,
        /// How often `{}` occurs.
        slots: usize,
    },
    /// A list that needs at least one entry.
    #[error("{origin}: no {what} in it; write one a line")]
    EmptyList {
        /// File or recipe key.
        origin: String,
        /// What the list is of.
        what: &'static str,
    },
    /// A class line with nothing before or after its tab.
    #[error("{place}: expected a class name, or a name, a tab and the label that the data uses")]
    EmptyClass {
        /// File and line.
        place: String,
    },
    /// The same label on two lines.
    #[error("{place}: `{label}` is in the list already; every class needs a label of its own")]
    RepeatedClass {
        /// File and line.
        place: String,
        /// The label.
        label: String,
    },
    /// A folder of labelled images has a subfolder that is no class.
    #[error("{}: folder `{label}` is not in the class list ({num_classes} classes; the first are {first})", path.display())]
    UnknownLabel {
        /// The folder of folders.
        path: PathBuf,
        /// The subfolder.
        label: String,
        /// Length of the class list.
        num_classes: usize,
        /// A few classes that there are.
        first: String,
    },
    /// An image outside any class folder.
    #[error("{} is in no class folder: images of class `cat` are expected in {}", path.display(), root.join("cat").display())]
    NoClassFolder {
        /// The image.
        path: PathBuf,
        /// The folder of class folders.
        root: PathBuf,
    },
    /// Not one image could be read.
    #[error("no image could be read: {bad}")]
    AllUnreadable {
        /// What was tried.
        bad: Box<BadSamples>,
    },
    /// No text to embed.
    #[error("there is no text to embed")]
    NoTexts,
    /// A folder of images, or a data set.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A test set of a recipe.
    #[error("test set {name}: {source}")]
    TestSet {
        /// Name of the set.
        name: String,
        /// Why.
        source: Box<DataError>,
    },
    /// Captions of a test set that cannot be read.
    #[error("test set {name}, captions: {source}")]
    Captions {
        /// Name of the set.
        name: String,
        /// Why.
        source: Box<SampleError>,
    },
    /// A file that describes a test set.
    #[error("{}: {source}", path.display())]
    DataFile {
        /// The file.
        path: PathBuf,
        /// Line, key and what is allowed.
        source: Box<toml::de::Error>,
    },
    /// Loading images.
    #[error(transparent)]
    Loader(#[from] LoaderError),
    /// An output whose ending names no known format.
    #[error("{}: write embeddings to a file that ends in .npy or .safetensors", path.display())]
    OutputFormat {
        /// The output asked for.
        path: PathBuf,
    },
    /// A class without any training sample, or fewer than two classes: there is nothing to fit.
    #[error("a linear probe needs at least two classes and one sample, but got {num_classes} and {num_samples}")]
    ProbeData {
        /// Classes.
        num_classes: usize,
        /// Training samples.
        num_samples: usize,
    },
    /// A setting outside its range.
    #[error("{name} = {value}: {expected}")]
    Setting {
        /// Which setting.
        name: &'static str,
        /// The value given.
        value: String,
        /// What would be right.
        expected: &'static str,
    },
    /// A picture could not be encoded.
    #[error("cannot write {}", path.display())]
    Picture {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: image::ImageError,
    },
}

impl EvalError {
    pub(crate) fn read(path: &Path, source: std::io::Error) -> Self {
        Self::Read {
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn write(path: &Path, source: std::io::Error) -> Self {
        Self::Write {
            path: path.to_owned(),
            source,
        }
    }
}
