//! Comparing with a fixture, and remembering the largest difference.

use burn::tensor::TensorData;

use crate::compare::{first_step_error, floats};

/// What is compared, which decides what is close enough (README of the fixtures).
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// What the model computes: 1e-5 of the largest magnitude.
    Output,
    /// Gradients: 1e-4 of the largest magnitude and 1e-7.
    Gradient,
    /// Weights after steps at a learning rate of 1e-3: 2e-5.
    Weight,
}

impl Kind {
    fn allowed(self, largest: f32) -> f32 {
        match self {
            Self::Output => 1e-5 * largest,
            Self::Gradient => 1e-4 * largest + 1e-7,
            Self::Weight => 2e-5,
        }
    }
}

/// Compares, and keeps the largest difference as a share of what is allowed.
#[derive(Default)]
pub(super) struct Check {
    compared: usize,
    worst: Option<(f32, String)>,
}

impl Check {
    /// Compares a tensor with the fixture's.
    pub(super) fn tensor(&mut self, kind: Kind, name: &str, actual: &TensorData, expected: &TensorData) {
        assert_eq!(actual.shape(), expected.shape(), "{name}");
        self.values(kind, name, &floats(actual), &floats(expected));
    }

    /// Compares values with the fixture's, both in the fixture's order.
    pub(super) fn values(&mut self, kind: Kind, name: &str, actual: &[f32], expected: &[f32]) {
        let allowed = kind.allowed(largest(expected));
        let has_noise = !matches!(kind, Kind::Output);
        self.elements(name, actual, expected, has_noise, |_| allowed);
    }

    /// Compares the weights of a tensor after Adam's first step, whose gradients were these.
    pub(super) fn first_step(
        &mut self,
        optimizer: &serde_json::Value,
        name: &str,
        [actual, expected, grads]: [&[f32]; 3],
    ) {
        let largest = largest(grads);
        let error = |index: usize| first_step_error(optimizer, grads[index], largest);
        self.elements(name, actual, expected, true, |index| {
            Kind::Weight.allowed(0.0) + error(index)
        });
    }

    fn elements(
        &mut self,
        name: &str,
        actual: &[f32],
        expected: &[f32],
        has_noise: bool,
        allowed: impl Fn(usize) -> f32,
    ) {
        assert_eq!(actual.len(), expected.len(), "{name}");
        let mut worst = 0.0f32;
        for (index, (actual, value)) in actual.iter().zip(expected).enumerate() {
            if has_noise && is_noise(name, index, expected.len()) {
                continue;
            }
            let (off, allowed) = ((actual - value).abs(), allowed(index));
            assert!(
                off <= allowed,
                "{name}[{index}]: {actual}, not {value}: off by {off}, allowed {allowed}"
            );
            worst = worst.max(if off == 0.0 { 0.0 } else { off / allowed });
        }
        self.compared += 1;
        if self.worst.as_ref().is_none_or(|(most, _)| worst > *most) {
            self.worst = Some((worst, name.to_owned()));
        }
    }

    /// Number of tensors compared; the largest difference goes to the test's output.
    pub(super) fn finish(self, what: &str) -> usize {
        if let Some((share, name)) = self.worst {
            println!(
                "{what}: {} tensors, at most {share:.3} of the tolerance ({name})",
                self.compared
            );
        }
        self.compared
    }
}

fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0f32, |max, v| max.max(v.abs()))
}

/// Elements whose gradient is mathematically zero: a key bias shifts all scores of a query alike, so what is there is
/// rounding noise, which Adam turns into a step of up to the learning rate.
fn is_noise(name: &str, index: usize, len: usize) -> bool {
    name.ends_with(".key.bias") || (name.ends_with(".attn.qkv.bias") && (len / 3..2 * len / 3).contains(&index))
}
