//! The test of a run: every test set, raw weights beside averaged ones, and the picture.

use std::path::Path;
use std::sync::Arc;

use image::RgbImage;
use indicatif::ProgressBar;
use twinflame_data::dataset::{FolderConfig, JsonConfig, ParquetConfig, WebDatasetConfig, is_url};
use twinflame_data::{DataConfig, EvalSet};
use twinflame_model::Model;

use super::linear_probe::{LinearProbe, LinearProbeConfig};
use super::report::{ClassesReport, Method, SetReport, TestReport, Weights};
use super::{
    ClassFolders, Encoder, EvalConfig, EvalError, RetrievalReport, SetEmbeddings, Templates, ZeroShotClassifier,
    counterparts, rerank, retrieval_picture,
};
use crate::recipe::Recipe;
use crate::run::LoadedModel;

/// What the picture says about itself.
const PICTURE_HEADING: &str = "The five images that the model ranks first for a caption, with their cosines. Green frame: the caption \
    describes the image; red frame: it does not. Captions are picked evenly from those found first, second to fifth, and later, so the \
    rows do not show how often it succeeds; the figures do.";

/// Images with captions, under a name.
#[derive(Clone, Debug)]
pub struct TestSet {
    /// Name in the report.
    pub name: String,
    /// The set.
    pub set: EvalSet,
}

impl TestSet {
    /// Opens and checks the data.
    ///
    /// # Errors
    /// Wrong paths, columns or rows, or no usable sample.
    pub fn open(name: &str, config: &DataConfig) -> Result<Self, EvalError> {
        let source = config.open().map_err(|source| EvalError::TestSet {
            name: name.to_owned(),
            source: Box::new(source),
        })?;
        let set = EvalSet::new(source).map_err(|source| EvalError::Captions {
            name: name.to_owned(),
            source: Box::new(source),
        })?;
        Ok(Self {
            name: name.to_owned(),
            set,
        })
    }

    /// Opens the data at `path`, see [`data_config`]. Its name is that of the file or folder.
    ///
    /// # Errors
    /// As [`TestSet::open`], or a `.toml` file that cannot be read or has a wrong key or value.
    pub fn from_path(path: &Path) -> Result<Self, EvalError> {
        Self::open(&data_name(path), &data_config(path)?)
    }

    /// The test sets of a recipe, in the order of their names.
    ///
    /// # Errors
    /// As [`TestSet::open`].
    pub fn of_recipe(recipe: &Recipe) -> Result<Vec<Self>, EvalError> {
        let sets = &recipe.data.test;
        sets.iter().map(|(name, config)| Self::open(name, config)).collect()
    }
}

/// The data at a path: a folder with a caption table, a `.json` list as ALBEF's, tar shards (a path, brace list or glob that
/// ends in `.tar`, or a URL), Parquet files (likewise, `.parquet`), or a `.toml` file with the keys of a recipe's
/// `[data.test.x]`.
///
/// # Errors
/// A `.toml` file that cannot be read or has a wrong key or value.
pub fn data_config(path: &Path) -> Result<DataConfig, EvalError> {
    // Of a signed URL the ending may be anything.
    if path.to_str().is_some_and(is_url) {
        return Ok(DataConfig::WebDataset(WebDatasetConfig::new([path.to_string_lossy()])));
    }
    Ok(match path.extension().and_then(|ending| ending.to_str()) {
        Some("json") => DataConfig::Json(JsonConfig::new([path])),
        Some("tar") => DataConfig::WebDataset(WebDatasetConfig::new([path.to_string_lossy()])),
        Some("parquet") => DataConfig::Parquet(ParquetConfig::new([path.to_string_lossy()])),
        Some("toml") => {
            let text = std::fs::read_to_string(path).map_err(|source| EvalError::read(path, source))?;
            toml::from_str(&text).map_err(|source| EvalError::DataFile {
                path: path.to_owned(),
                source: Box::new(source),
            })?
        }
        _ => DataConfig::Folder(FolderConfig::new(path)),
    })
}

/// What data at a path is called in reports and file names: the file or folder without its ending.
pub fn data_name(path: &Path) -> String {
    let name = path.file_stem().or_else(|| path.iter().next_back());
    name.map_or_else(|| "data".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// What is tested.
#[derive(Clone, Debug)]
pub struct TestPlan {
    /// Sets with captions.
    pub sets: Vec<TestSet>,
    /// Folders of classes, under a name.
    pub class_folders: Vec<(String, ClassFolders)>,
    /// Prompts of zero-shot classification.
    pub templates: Templates,
    /// Whether and how linear probes are fitted, to the images that the recipe trains on.
    pub probe: Option<ProbePlan>,
}

/// How linear probes are fitted.
#[derive(Clone, Debug)]
pub struct ProbePlan {
    /// Settings; `c` counts if `cs` is empty.
    pub config: LinearProbeConfig,
    /// Values of C to choose from on held-out samples.
    pub cs: Vec<f64>,
}

impl TestPlan {
    /// The recipe's own test: its sets and templates, no probe.
    ///
    /// # Errors
    /// If a set cannot be opened or the templates file cannot be read.
    pub fn of_recipe(recipe: &Recipe) -> Result<Self, EvalError> {
        Ok(Self {
            sets: TestSet::of_recipe(recipe)?,
            class_folders: Vec::new(),
            templates: recipe.eval.load_templates()?,
            probe: None,
        })
    }
}

/// Figures and picture of a test.
#[derive(Clone, Debug)]
pub struct TestOutcome {
    /// The figures.
    pub report: TestReport,
    /// `retrieval.png`, made with the averaged weights if there are any; `None` without captions.
    pub picture: Option<RgbImage>,
}

/// A model of a run with what is computed once for all test sets.
struct Candidate<'a> {
    weights: Weights,
    encoder: Encoder<'a>,
    model: &'a Model,
    probes: Vec<FittedProbe>,
}

/// A probe for one set of classes.
struct FittedProbe {
    classes: String,
    names: Vec<String>,
    c: f64,
    probe: LinearProbe,
}

/// Judges `loaded` on everything that `plan` names: retrieval both ways, zero-shot classification into every set of
/// classes that the data knows, linear probes if wanted; raw weights beside averaged ones.
///
/// # Errors
/// If images cannot be read (more than the recipe's loader tolerates), an embedding is not finite, or the device fails.
pub fn test_report(loaded: &LoadedModel, plan: &TestPlan, progress: &ProgressBar) -> Result<TestOutcome, EvalError> {
    let config = &loaded.recipe.recipe.eval;
    let models = models(loaded);
    let train = match &plan.probe {
        Some(_) => Some(TestSet::open("train", &loaded.recipe.recipe.data.train)?.set),
        None => None,
    };
    let images = plan.sets.iter().map(|set| set.set.num_images()).sum::<usize>();
    let again = match loaded.model {
        Model::Albef(_) if config.rerank_k > 0 => images,
        _ => 0,
    };
    progress.set_length((models.len() * (num_items(plan, train.as_ref()) + again)) as u64);
    let mut candidates = Vec::new();
    for (weights, model) in models {
        let encoder = Encoder::new(loaded, model);
        let probes = match (&plan.probe, &train) {
            (Some(probe), Some(train)) => fit_probes(&encoder, train, probe, progress)?,
            _ => Vec::new(),
        };
        candidates.push(Candidate {
            weights,
            encoder,
            model,
            probes,
        });
    }
    let (mut reports, mut sections) = (Vec::new(), Vec::new());
    for set in &plan.sets {
        for (place, candidate) in candidates.iter().enumerate() {
            let embeddings = SetEmbeddings::new(&candidate.encoder, &set.set, progress)?;
            let report = candidate.judge(set, &embeddings, plan, config, progress)?;
            if place + 1 == candidates.len() && config.picture_captions > 0 {
                let title = title(&report, report.retrieval.as_ref());
                sections.push(embeddings.picture_section(title, config.picture_captions)?);
            }
            reports.push(report);
        }
    }
    for (name, folders) in &plan.class_folders {
        for candidate in &candidates {
            reports.push(candidate.judge_folders(name, folders, &plan.templates, progress)?);
        }
    }
    progress.finish_and_clear();
    Ok(TestOutcome {
        picture: (!sections.is_empty()).then(|| retrieval_picture(PICTURE_HEADING, &sections)),
        report: TestReport {
            checkpoint: loaded.checkpoint.dir.clone(),
            step: loaded.checkpoint.state.step,
            sets: reports,
        },
    })
}

/// The models of a run; the one to prefer comes last.
fn models(loaded: &LoadedModel) -> Vec<(Weights, &Model)> {
    let ema = loaded.ema.as_ref().map(|model| (Weights::Ema, model));
    std::iter::once((Weights::Raw, &loaded.model)).chain(ema).collect()
}

/// Images and captions that one model has to see.
fn num_items(plan: &TestPlan, train: Option<&EvalSet>) -> usize {
    let sets = plan
        .sets
        .iter()
        .map(|set| set.set.num_images() + set.set.num_captions());
    let folders = plan.class_folders.iter().map(|(_, folders)| folders.labels.len());
    sets.chain(folders).sum::<usize>() + train.map_or(0, EvalSet::num_images)
}

fn title(report: &SetReport, retrieval: Option<&RetrievalReport>) -> String {
    let weights = match report.weights {
        Weights::Raw => "",
        Weights::Ema => ", averaged weights",
    };
    let Some(retrieval) = retrieval else {
        return report.set.clone();
    };
    let t2i = &retrieval.text_to_image;
    let recall = t2i
        .recall
        .iter()
        .map(|recall| format!("R@{} {:.3}", recall.k, recall.value));
    format!(
        "Test set {}{weights}: {} captions, {} images; text to image {}",
        report.set,
        t2i.num_queries,
        retrieval.num_images,
        recall.collect::<Vec<_>>().join(", ")
    )
}

fn fit_probes(
    encoder: &Encoder<'_>,
    train: &EvalSet,
    plan: &ProbePlan,
    progress: &ProgressBar,
) -> Result<Vec<FittedProbe>, EvalError> {
    let images = encoder.image_features(Arc::new(train.clone()), progress)?;
    let mut probes = Vec::new();
    for classes in train.classes() {
        let data = images.labelled(&classes.labels);
        let (probe, c) = match plan.cs.as_slice() {
            [] => (plan.config.fit(&data, classes.names.len())?, plan.config.c),
            cs => {
                let best = plan.config.fit_best_c(cs, &data, classes.names.len())?;
                (best.probe, best.c)
            }
        };
        probes.push(FittedProbe {
            classes: classes.name,
            names: classes.names,
            c,
            probe,
        });
    }
    Ok(probes)
}

impl Candidate<'_> {
    /// Everything about one set with captions.
    fn judge(
        &self,
        set: &TestSet,
        embeddings: &SetEmbeddings<'_>,
        plan: &TestPlan,
        config: &EvalConfig,
        progress: &ProgressBar,
    ) -> Result<SetReport, EvalError> {
        let ks = &config.recall_ks;
        let albef = match self.model {
            Model::Albef(albef) => Some(albef),
            Model::Clip(_) => None,
        };
        let rerank = match albef {
            Some(albef) if config.rerank_k > 0 => {
                let k = config.rerank_k;
                Some(rerank(&self.encoder, albef, embeddings, k, ks, progress)?)
            }
            _ => None,
        };
        let bad = &embeddings.images.unreadable;
        let mut classification = Vec::new();
        for classes in set.set.classes() {
            if let Some(report) = embeddings.zero_shot(&self.encoder, &classes, &plan.templates)? {
                classification.push(ClassesReport {
                    classes: classes.name.clone(),
                    method: Method::ZeroShot,
                    report,
                });
            }
            for fitted in self.probes.iter().filter(|fitted| fitted.classes == classes.name) {
                // A class has its own number in every source: the name decides.
                let own = |label: usize| fitted.names.iter().position(|name| *name == classes.names[label]);
                let labels: Vec<Option<usize>> = classes.labels.iter().map(|label| label.and_then(own)).collect();
                let data = embeddings.images.labelled(&labels);
                if !data.labels.is_empty() {
                    classification.push(ClassesReport {
                        classes: classes.name.clone(),
                        method: Method::LinearProbe { c: fitted.c },
                        report: fitted.probe.evaluate(&data, &fitted.names)?,
                    });
                }
            }
        }
        Ok(SetReport {
            set: set.name.clone(),
            weights: self.weights,
            unreadable: (bad.total() > 0).then(|| bad.to_string()),
            retrieval: Some(embeddings.retrieval(ks)?),
            rerank,
            counterparts: counterparts(&self.encoder, albef, embeddings)?,
            classification,
        })
    }

    /// Zero-shot classification of a folder of classes.
    fn judge_folders(
        &self,
        name: &str,
        folders: &ClassFolders,
        templates: &Templates,
        progress: &ProgressBar,
    ) -> Result<SetReport, EvalError> {
        let images = self.encoder.image_features(folders.files.clone(), progress)?;
        let data = images.labelled(&folders.labels);
        let names = &folders.classes.names;
        let report = ZeroShotClassifier::for_classes(&self.encoder, names, templates)?.evaluate(
            data.embeds(),
            &data.labels,
            names,
        )?;
        let bad = &images.unreadable;
        Ok(SetReport {
            set: name.to_owned(),
            weights: self.weights,
            unreadable: (bad.total() > 0).then(|| bad.to_string()),
            retrieval: None,
            rerank: None,
            counterparts: None,
            classification: vec![ClassesReport {
                classes: "classes".to_owned(),
                method: Method::ZeroShot,
                report,
            }],
        })
    }
}
