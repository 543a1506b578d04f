//! Comparison with what a reference computed.
//!
//! A fixture is a folder with `config.json`, `weights`, `inputs` and any of `outputs`, `grads` and `after_step`
//! (`.safetensors`), made with open_clip or salesforce/ALBEF. [`verify`] computes what the reference computed from the same
//! weights and inputs, with the code that trains and evaluates, and [`Verification`] says how far it is from the
//! reference, or stores it under the reference's names. What a fixture holds is read from its configuration and from the
//! names of its tensors, never from its own name.

pub mod albef;
pub mod clip;
mod compare;
mod error;
mod fixture;
mod gradients;
mod outputs;
mod pos_embed;
mod preprocess;
mod schedules;
mod step;
mod write;
mod zero_shot;

use burn::tensor::Device;
use serde_json::Value;

pub use compare::{Check, Failure, FileReport, GRADIENT_TOLERANCE, Levels, OUTPUT_TOLERANCE, Rule, Steps, Widened};
pub use error::VerifyError;
pub use fixture::{Fixture, Inputs, Tensors};
pub use gradients::{from_named_gradients, named_gradients};

/// What a fixture holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A CLIP or SigLIP and one training step.
    Clip,
    /// A batch of a CLIP in micro-batches.
    Accumulation,
    /// Zero-shot classification by a CLIP.
    ZeroShot,
    /// Position tables for another size.
    PositionTables,
    /// Learning rates.
    Schedules,
    /// Images and their pixels.
    Preprocessing,
    /// An ALBEF and steps of pre-training.
    AlbefPretraining,
    /// An ALBEF, a step of fine-tuning for retrieval, and evaluation.
    AlbefRetrieval,
}

impl Kind {
    /// What this fixture holds.
    ///
    /// # Errors
    /// If it is nothing that is computed here, or its inputs cannot be read.
    pub fn of(fixture: &Fixture) -> Result<Self, VerifyError> {
        let has = |key: &str| !fixture.value(key).is_null();
        let inputs = fixture.tensors_if_any("inputs")?.unwrap_or_default();
        let kind = if has("model_cfg") {
            match (has("classes") && has("templates"), has("accum_freq")) {
                (true, _) => Some(Self::ZeroShot),
                (_, true) => Some(Self::Accumulation),
                _ => Some(Self::Clip),
            }
        } else if has("albef_cfg") {
            match (
                inputs.contains_key(albef::FIRST_LABELS),
                inputs.contains_key(albef::IDS),
            ) {
                (true, _) => Some(Self::AlbefPretraining),
                (_, true) => Some(Self::AlbefRetrieval),
                _ => None,
            }
        } else if has("open_clip") && has("albef") {
            Some(Self::Schedules)
        } else if has("images") && has("mean") {
            Some(Self::Preprocessing)
        } else {
            pos_embed::are_inputs(&inputs).then_some(Self::PositionTables)
        };
        kind.ok_or_else(|| fixture.unsupported())
    }
}

/// A fixture, computed.
#[derive(Clone, Debug)]
pub struct Verification {
    /// The fixture.
    pub fixture: Fixture,
    /// What it holds.
    pub kind: Kind,
    /// What was computed, file by file.
    pub checks: Vec<Check>,
    /// How far that is from the reference, for every file that the fixture has.
    pub reports: Vec<FileReport>,
    /// The configuration; for [`Kind::Schedules`] with the computed rates in it.
    config: Value,
}

impl Verification {
    /// Whether everything that the fixture has is close enough.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.reports.iter().all(FileReport::passed)
    }
}

/// Computes a fixture on a device and compares with what it has: all files whose names start with `outputs`, `grads` and
/// `after_step`.
///
/// # Errors
/// [`VerifyError`] if something is missing, unreadable, of the wrong shape or not supported. A difference is none.
pub fn verify(fixture: Fixture, device: &Device) -> Result<Verification, VerifyError> {
    let kind = Kind::of(&fixture)?;
    let mut config = fixture.config().clone();
    let mut reports = Vec::new();
    let mut checks = match kind {
        Kind::Clip => clip::checks(&fixture, device)?,
        Kind::Accumulation => clip::accumulated(&fixture, device)?,
        Kind::ZeroShot => zero_shot::checks(&fixture, device)?,
        Kind::PositionTables => pos_embed::checks(&fixture, &fixture.tensors("inputs")?)?,
        Kind::Preprocessing => preprocess::checks(&fixture)?,
        Kind::AlbefPretraining => albef::pretraining(&fixture, device)?,
        Kind::AlbefRetrieval => albef::retrieval(&fixture, device)?,
        Kind::Schedules => {
            let (report, computed) = schedules::checks(&fixture)?;
            reports.push(report);
            config = computed;
            Vec::new()
        }
    };
    for check in &mut checks {
        check.reference_error = fixture.reference_error(&check.file);
        if let Some(golden) = fixture.tensors_if_any(&check.file)? {
            reports.push(check.compare(&golden));
        }
    }
    reports.extend(not_computed(&fixture, &checks)?);
    Ok(Verification {
        fixture,
        kind,
        checks,
        reports,
        config,
    })
}

/// Reports on the reference's files that have no counterpart here.
fn not_computed(fixture: &Fixture, checks: &[Check]) -> Result<Vec<FileReport>, VerifyError> {
    let mut reports = Vec::new();
    for file in fixture.reference_files()? {
        if checks.iter().all(|check| check.file != file) {
            let nothing = Check::file(file.as_str(), Tensors::new(), Rule::Output);
            reports.push(nothing.compare(&fixture.tensors(&file)?));
        }
    }
    Ok(reports)
}
