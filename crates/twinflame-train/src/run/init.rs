//! Weights that a run starts from: `[init]` of a recipe.

use std::path::Path;

use burn::tensor::Device;
use twinflame_model::Model;
use twinflame_model::weights::{Allow, LoadReport, WeightsError, import, import_image_encoder, import_text_encoder};

use super::checkpoint::{RECIPE_FILE, STATE_FILE};
use super::error::RunError;
use crate::card::Card;
use crate::recipe::ResolvedRecipe;
use crate::task::Task;

/// The task with the weights that the recipe names, and a line for each about what that did.
pub(super) fn initialised(
    mut task: Task,
    recipe: &ResolvedRecipe,
    card: &Card,
    device: &Device,
) -> Result<(Task, Vec<String>), RunError> {
    let init = &recipe.recipe.init;
    let allow = Allow::new(&init.allow);
    let mut notes = Vec::new();
    if let Some(path) = &init.model {
        let source = Source::of_model(path, recipe, &allow, device)?;
        let same_kind = matches!(
            (&task, &source.model),
            (Task::Clip(_), Model::Clip(_)) | (Task::Albef(_), Model::Albef(_))
        );
        // A card of another kind of model differs in details that explain nothing.
        if let (Some(of_source), true) = (&source.card, same_kind) {
            let checked = of_source.check(card, &allow);
            checked.map_err(|mismatch| wrong("model", path, mismatch.to_string()))?;
        }
        let (started, mut report) =
            started_from(task, &source.model).map_err(|message| wrong("model", path, message))?;
        // What reading the file did comes before what moving it did.
        for (all, of_file) in [
            (&mut report.resized, source.report.resized),
            (&mut report.ignored, source.report.ignored),
            (&mut report.missing, source.report.missing),
        ] {
            all.splice(0..0, of_file);
        }
        notes.push(note("model", path, &source.place, &report));
        task = started;
    }
    let towers: [(_, _, ImportTower); 2] = [
        ("image", &init.image, import_image_encoder),
        ("text", &init.text, import_text_encoder),
    ];
    for (key, path, import_tower) in towers {
        if let Some(path) = path {
            let mut model = match &task {
                Task::Clip(task) => Model::Clip(task.model.clone()),
                Task::Albef(task) => Model::Albef(task.model.clone()),
            };
            let report = import_tower(&mut model, path, &allow).map_err(|error| wrong(key, path, error.to_string()))?;
            (task, _) = started_from(task, &model).map_err(|message| wrong(key, path, message))?;
            notes.push(note(key, path, "", &report));
        }
    }
    Ok((task, notes))
}

type ImportTower = fn(&mut Model, &Path, &Allow) -> Result<LoadReport, WeightsError>;

/// A model to start from.
struct Source {
    model: Model,
    /// What reading it left out or changed.
    report: LoadReport,
    /// Which of the weights at the path, in words.
    place: String,
    /// What they say about themselves; files of other programs say nothing.
    card: Option<Card>,
}

impl Source {
    fn of_model(path: &Path, recipe: &ResolvedRecipe, allow: &Allow, device: &Device) -> Result<Self, RunError> {
        if is_foreign(path) {
            let imported = import(path, Some(&recipe.model), allow, &device.clone().without_autodiff());
            let imported = imported.map_err(|error| wrong("model", path, error.to_string()))?;
            return Ok(Self {
                model: imported.model,
                report: imported.report,
                place: String::new(),
                card: Card::of_weights(path).map_err(|error| wrong("model", path, error.to_string()))?,
            });
        }
        let other = super::load(path, device).map_err(|error| RunError::InitLoad {
            path: path.to_owned(),
            source: Box::new(error),
        })?;
        Ok(Self {
            model: other.best_weights().clone(),
            report: LoadReport::default(),
            place: format!(", step {}", other.checkpoint.state.step),
            card: Some(other.card),
        })
    }
}

/// Whether there is something at this path, and it is neither a run nor a checkpoint of one.
fn is_foreign(path: &Path) -> bool {
    path.exists() && ![RECIPE_FILE, STATE_FILE].iter().any(|name| path.join(name).is_file())
}

fn wrong(key: &'static str, path: &Path, message: String) -> RunError {
    RunError::Init {
        key,
        path: path.to_owned(),
        message,
    }
}

/// The task with the weights of another model of its kind.
pub(super) fn started_from(task: Task, other: &Model) -> Result<(Task, LoadReport), String> {
    match (task, other) {
        (Task::Clip(task), Model::Clip(other)) => task
            .started_from(other)
            .map(|(task, report)| (Task::Clip(task), report)),
        (Task::Albef(task), Model::Albef(other)) => task
            .started_from(other)
            .map(|(task, report)| (Task::Albef(task), report)),
        _ => return Err("it holds a model of another kind".into()),
    }
    .map_err(|error| error.to_string())
}

fn note(key: &str, path: &Path, place: &str, report: &LoadReport) -> String {
    let mut note = format!("init.{key}: {} tensors from {}{place}", report.loaded, path.display());
    for (names, what) in [
        (&report.resized, "resampled"),
        (&report.ignored, "without use here"),
        (&report.missing, "missing there"),
    ] {
        if !names.is_empty() {
            note.push_str(&format!("; {what}: {}", some(names)));
        }
    }
    note
}

/// The names, or the first of many.
fn some(names: &[String]) -> String {
    const SHOWN: usize = 8;
    match names.len() {
        few if few <= SHOWN => names.join(", "),
        many => format!("{}, .. ({many})", names[..SHOWN].join(", ")),
    }
}
