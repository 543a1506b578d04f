//! How far what is computed is from what the reference computed.

use std::collections::BTreeMap;

use burn::tensor::{DType, TensorData};

use super::Tensors;

/// Largest difference of an output, over the largest magnitude of its tensor. In f32 the references themselves are this
/// close to what they compute in f64, with room for another order of summation.
pub const OUTPUT_TOLERANCE: f32 = 1e-5;
/// The same for gradients.
pub const GRADIENT_TOLERANCE: f32 = 1e-4;
/// A reference that is off by its own rounding, as its fixture says, widens a tolerance at most this many times.
const MAX_WIDENING: f32 = 10.0;
/// Added to what a gradient may be off by.
const GRADIENT_FLOOR: f32 = 1e-7;
/// Largest magnitude of a gradient that is mathematically zero, over the largest gradient of the model.
const ZERO_GRADIENT: f32 = 1e-6;
/// Largest difference of a weight after a step, over the learning rate.
const STEP_TOLERANCE: f32 = 0.02;
/// Largest difference of a weight after a step with the reference's own gradients, absolute and over the largest magnitude.
const OPTIMIZER_TOLERANCE: f32 = 1e-6;

/// What is compared, which decides what is close enough.
#[derive(Clone, Debug)]
pub enum Rule {
    /// What a model computes: [`OUTPUT_TOLERANCE`].
    Output,
    /// Values within this distance.
    Absolute(f32),
    /// Pixels. Bytes are levels; elsewhere a level is this much.
    Pixels {
        /// By the name of the tensor.
        allowed: BTreeMap<String, Levels>,
        /// One level in the unit of a tensor of floats.
        level: f32,
    },
    /// Gradients: [`GRADIENT_TOLERANCE`].
    Gradient,
    /// Weights after steps with the model's own gradients.
    Steps(Steps),
    /// Weights after a step with the reference's gradients.
    Optimizer,
}

/// How far pixels may be off.
#[derive(Clone, Copy, Debug, Default)]
pub struct Levels {
    /// The farthest.
    pub most: f32,
    /// On average.
    pub mean: f32,
}

/// Steps of Adam, for what rounding does to them.
#[derive(Clone, Debug)]
pub struct Steps {
    /// Learning rate.
    pub lr: f32,
    /// Added to the root of the second moment.
    pub epsilon: f32,
    /// Gradients of each step, by name.
    pub grads: Vec<Tensors>,
}

impl Steps {
    /// How far a weight may be off because a gradient is, by [`OUTPUT_TOLERANCE`] of the largest one of its tensor:
    /// nothing to speak of, except where the gradient itself is that small, so that the sign of Adam's step,
    /// `lr g / (|g| + epsilon)`, is open. An exact zero stays exact.
    fn open_sign(&self, name: &str, index: usize) -> f32 {
        let of_step = |grads: &Tensors| {
            let grads = floats(grads.get(name)?);
            let gradient = *grads.get(index)?;
            let step = |g: f32| self.lr * g / (g.abs() + self.epsilon);
            let error = match gradient == 0.0 {
                true => 0.0,
                false => OUTPUT_TOLERANCE * largest(grads),
            };
            let off = |g: f32| (step(g) - step(gradient)).abs();
            Some(off(gradient + error).max(off(gradient - error)))
        };
        self.grads.iter().filter_map(of_step).sum()
    }
}

/// Tensors that were computed, and what they are compared with.
#[derive(Clone, Debug)]
pub struct Check {
    /// What the user reads: the file, and what is special about the comparison.
    pub label: String,
    /// The file, without its ending.
    pub file: String,
    /// What was computed.
    pub tensors: Tensors,
    /// What is close enough.
    pub rule: Rule,
    /// Whether these are the fixture's tensors: stored by `--write`, and complete, so that a tensor of the file that is
    /// not among them is a difference.
    pub is_complete: bool,
    /// How far the reference is from what it computes in float64, over the largest magnitude of a tensor; 0 if its fixture
    /// does not say.
    pub reference_error: f32,
}

impl Check {
    /// What the reference has in a file of this name.
    #[must_use]
    pub fn file(file: impl Into<String>, tensors: Tensors, rule: Rule) -> Self {
        let file = file.into();
        Self {
            label: format!("{file}.safetensors"),
            file,
            tensors,
            rule,
            is_complete: true,
            reference_error: 0.0,
        }
    }

    /// Weights after a step with the reference's gradients, of which the file `grads` holds some or all.
    pub(super) fn optimizer(file: &str, grads: &str, tensors: Tensors) -> Self {
        Self {
            label: format!("{file}.safetensors, from {grads}"),
            file: file.to_owned(),
            tensors,
            rule: Rule::Optimizer,
            is_complete: false,
            reference_error: 0.0,
        }
    }

    /// Compares with the reference's tensors.
    #[must_use]
    pub fn compare(&self, golden: &Tensors) -> FileReport {
        let mut report = FileReport::new(&self.label);
        report.widened = self.widened();
        let in_model = golden.values().filter(|data| data.dtype() == DType::F32);
        let most = in_model.map(|data| largest(floats(data))).fold(0.0, f32::max);
        for (name, expected) in golden {
            match self.tensors.get(name) {
                Some(actual) => report.add(name, self.difference(name, actual, expected, most)),
                None if self.is_complete => report.add(name, Difference::other("it is not computed")),
                None => {}
            }
        }
        report.failures.sort_by(|a, b| b.relative.total_cmp(&a.relative));
        report
    }

    /// `most` is the largest magnitude in the file.
    fn difference(&self, name: &str, actual: &TensorData, expected: &TensorData, most: f32) -> Difference {
        let axes = |data: &TensorData| data.shape().iter().copied().filter(|&d| d != 1).collect::<Vec<_>>();
        if axes(actual) != axes(expected) {
            let [actual, expected] = [actual, expected].map(|data| data.shape().to_vec());
            return Difference::other(format!("shape {actual:?}, not {expected:?}"));
        }
        if let Rule::Pixels { allowed, level } = &self.rule {
            let levels = allowed.get(name).copied().unwrap_or_default();
            return pixels(levels, *level, actual, expected);
        }
        if expected.dtype() == DType::I64 {
            let pairs = std::iter::zip(actual.iter::<i64>(), expected.iter::<i64>());
            let wrong = pairs.filter(|(a, b)| a != b).count();
            return match wrong {
                0 => Difference::default(),
                _ => Difference::other(format!("{wrong} of {} integers differ", expected.num_elements())),
            };
        }
        self.distance(name, floats(actual), floats(expected), most)
    }

    fn distance(&self, name: &str, actual: &[f32], expected: &[f32], most: f32) -> Difference {
        let scale = match name.contains("score_matrix") {
            // Where the reference scores nothing.
            true => expected
                .iter()
                .filter(|v| **v != -100.0)
                .fold(0.0, |max: f32, v| max.max(v.abs())),
            false => largest(expected),
        };
        let (mut worst, mut wrong, mut first) = (0.0f32, 0, None);
        for (index, (actual, value)) in actual.iter().zip(expected).enumerate() {
            let is_noise = is_noise(name, index, expected.len());
            let off = (actual - value).abs();
            let allowed = self.allowed(name, index, scale, is_noise.then_some(most));
            // Infinities that agree have a NaN for a difference; any other NaN is wrong.
            let is_close = off <= allowed || actual == value;
            if !is_close {
                wrong += 1;
                first.get_or_insert((index, off, allowed));
            }
            if !(is_close && is_noise) && actual != value {
                worst = if off <= worst { worst } else { off };
            }
        }
        let reason = first.map(|(index, off, allowed)| {
            let len = expected.len();
            format!("element {index} is off by {off:.2e}, allowed {allowed:.2e}; so are {wrong} of {len}")
        });
        let relative = if worst == 0.0 { 0.0 } else { worst / scale };
        Difference { relative, reason }
    }

    /// What two computations may differ by that both round as the reference does.
    fn tolerance(&self, usual: f32) -> f32 {
        (2.0 * self.reference_error).clamp(usual, MAX_WIDENING * usual)
    }

    /// The tolerance and the reference's own error, where the latter decides.
    fn widened(&self) -> Option<Widened> {
        let usual = match &self.rule {
            Rule::Output => OUTPUT_TOLERANCE,
            Rule::Gradient => GRADIENT_TOLERANCE,
            _ => return None,
        };
        let tolerance = self.tolerance(usual);
        (tolerance > usual).then_some(Widened {
            tolerance,
            reference_error: self.reference_error,
        })
    }

    /// How far an element may be off. `noise` is there for one whose gradient is mathematically zero, and holds the
    /// largest magnitude of the file.
    fn allowed(&self, name: &str, index: usize, scale: f32, noise: Option<f32>) -> f32 {
        match (&self.rule, noise) {
            (Rule::Gradient, Some(most)) => 2.0 * (GRADIENT_FLOOR + ZERO_GRADIENT * most),
            (Rule::Gradient, None) => self.tolerance(GRADIENT_TOLERANCE) * scale + GRADIENT_FLOOR,
            (Rule::Steps(_), _) if is_buffer(name) => OUTPUT_TOLERANCE * scale,
            // Adam makes a step of up to the learning rate of noise, either way.
            (Rule::Steps(steps), Some(_)) => 2.02 * steps.lr * steps.grads.len() as f32,
            (Rule::Steps(steps), None) => {
                STEP_TOLERANCE * steps.lr + 4.0 * f32::EPSILON * scale + steps.open_sign(name, index)
            }
            (Rule::Optimizer, _) => OPTIMIZER_TOLERANCE + OPTIMIZER_TOLERANCE * scale,
            (Rule::Absolute(allowed), _) => *allowed,
            (Rule::Output | Rule::Pixels { .. }, _) => self.tolerance(OUTPUT_TOLERANCE) * scale,
        }
    }
}

/// Of one tensor.
#[derive(Debug, Default)]
pub(super) struct Difference {
    /// The largest, over the largest magnitude.
    pub(super) relative: f32,
    /// What is wrong, if it is too large.
    pub(super) reason: Option<String>,
}

impl Difference {
    /// A difference that is no distance.
    pub(super) fn other(reason: impl Into<String>) -> Self {
        Self {
            relative: f32::INFINITY,
            reason: Some(reason.into()),
        }
    }
}

fn pixels(levels: Levels, level: f32, actual: &TensorData, expected: &TensorData) -> Difference {
    let level = match expected.dtype() {
        DType::U8 => 1.0,
        _ => level,
    };
    let pairs = std::iter::zip(actual.iter::<f32>(), expected.iter::<f32>());
    let (mut most, mut sum) = (0.0f32, 0.0f64);
    for (actual, value) in pairs {
        let off = (actual - value).abs() / level;
        // A NaN stays.
        most = if off <= most { most } else { off };
        sum += f64::from(off);
    }
    let mean = sum / expected.num_elements().max(1) as f64;
    // Rounding in the normalisation.
    let slack = 1e-3;
    let is_close = most <= levels.most + slack && mean <= f64::from(levels.mean + slack);
    let scale = expected
        .iter::<f32>()
        .fold(f32::MIN_POSITIVE, |max, v| max.max(v.abs()));
    Difference {
        relative: most * level / scale,
        reason: (!is_close).then(|| {
            let Levels {
                most: at_most,
                mean: on_average,
            } = levels;
            format!("off by up to {most:.2} levels, {mean:.3} on average; allowed {at_most} and {on_average}")
        }),
    }
}

/// A tolerance that is wider than usual because the reference's own rounding is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Widened {
    /// What is allowed, over the largest magnitude of a tensor.
    pub tolerance: f32,
    /// How far the reference is from what it computes in float64.
    pub reference_error: f32,
}

/// What comparing a file has shown.
#[derive(Clone, Debug, PartialEq)]
pub struct FileReport {
    /// The file.
    pub label: String,
    /// Tensors compared.
    pub compared: usize,
    /// The largest difference over the tensor's largest magnitude, and the tensor.
    pub worst: Option<(f32, String)>,
    /// Tensors that are not, the farthest first.
    pub failures: Vec<Failure>,
    /// The tolerance, if it is not the usual one.
    pub widened: Option<Widened>,
}

/// A tensor that is not close enough.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// The tensor.
    pub name: String,
    /// Its largest difference over its largest magnitude; infinite if there is none to tell.
    pub relative: f32,
    /// By how much, or what else is wrong.
    pub reason: String,
}

impl FileReport {
    /// A report of nothing so far.
    pub(super) fn new(label: &str) -> Self {
        Self {
            label: label.to_owned(),
            compared: 0,
            worst: None,
            failures: Vec::new(),
            widened: None,
        }
    }

    pub(super) fn add(&mut self, name: &str, difference: Difference) {
        let Difference { relative, reason } = difference;
        self.compared += 1;
        if self.worst.as_ref().is_none_or(|(most, _)| relative > *most) {
            self.worst = Some((relative, name.to_owned()));
        }
        self.failures.extend(reason.map(|reason| Failure {
            name: name.to_owned(),
            relative,
            reason,
        }));
    }

    /// Whether every tensor is close enough, and there is one.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.failures.is_empty() && self.compared > 0
    }
}

/// Elements whose gradient is mathematically zero: a key bias shifts all scores of a query alike, so what is there is
/// rounding noise.
fn is_noise(name: &str, index: usize, len: usize) -> bool {
    let is_key = [".key.bias", "attnpool.k_proj.bias"]
        .iter()
        .any(|end| name.ends_with(end));
    let is_joint = ["attn.qkv.bias", "attn.in_proj_bias"]
        .iter()
        .any(|end| name.ends_with(end));
    is_key || (is_joint && (len / 3..2 * len / 3).contains(&index))
}

/// What depends on the forward pass alone.
fn is_buffer(name: &str) -> bool {
    ["running_mean", "running_var", "_queue"]
        .iter()
        .any(|end| name.ends_with(end))
}

fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |max, v| max.max(v.abs()))
}

/// The values of a tensor of floats; none of another type.
fn floats(data: &TensorData) -> &[f32] {
    data.as_slice().unwrap_or_default()
}
