//! Linear probe: multinomial logistic regression on frozen features.

use burn::module::Module;
use burn::nn::{Initializer, Linear, LinearConfig};
use burn::optim::{GradientsParams, LBFGSConfig, LineSearchFn};
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Int, Tensor};
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};
use twinflame_model::normalize;

use super::strip::check_finite;
use super::zero_shot::ClassificationReport;
use super::{Chunking, EvalError, Relevance, ranks};

/// How to fit a [`LinearProbe`].
///
/// The objective is scikit-learn's `LogisticRegression`, which OpenAI used: mean cross-entropy plus `|W|^2 / (2 C n)`,
/// the bias not penalised, minimised by L-BFGS from zero. No random number is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LinearProbeConfig {
    /// Inverse strength of the penalty; 0.316 as in OpenAI's README.
    pub c: f64,
    /// L-BFGS iterations at most; 1,000 as in OpenAI's README.
    pub max_iterations: usize,
    /// Stop once no component of the gradient exceeds this; 1e-4 as in scikit-learn.
    pub tolerance: f64,
}

impl Default for LinearProbeConfig {
    fn default() -> Self {
        Self {
            c: 0.316,
            max_iterations: 1000,
            tolerance: 1e-4,
        }
    }
}

/// Features with the class of each row.
#[derive(Clone, Debug)]
pub struct LabelledFeatures {
    /// `[num_samples, feature_dim]`, as the tower gives them: not brought to length 1.
    pub features: Tensor<2>,
    /// Class of each row.
    pub labels: Vec<usize>,
}

impl LabelledFeatures {
    /// The features, each row brought to length 1.
    pub fn embeds(&self) -> Tensor<2> {
        normalize(self.features.clone())
    }

    /// The rows for which `keep` says yes.
    fn filter(&self, keep: impl Fn(usize) -> bool) -> Self {
        let places: Vec<i32> = (0..self.labels.len())
            .filter(|&row| keep(row))
            .map(|row| row as i32)
            .collect();
        let labels = places.iter().map(|&row| self.labels[row as usize]).collect();
        let places = Tensor::from_ints(places.as_slice(), &self.features.device());
        Self {
            features: self.features.clone().select(0, places),
            labels,
        }
    }
}

impl LinearProbeConfig {
    /// Fits a probe to `train`.
    ///
    /// # Errors
    /// If there are fewer than two classes or no sample, a setting is out of range, or a feature is not finite.
    ///
    /// # Panics
    /// If features and labels differ in number, a label is not below `num_classes`, or the device fails.
    pub fn fit(&self, train: &LabelledFeatures, num_classes: usize) -> Result<LinearProbe, EvalError> {
        self.validate()?;
        let features = check_finite(train.features.clone().without_autodiff(), "training")?;
        let [num_samples, feature_dim] = features.dims();
        assert_eq!(train.labels.len(), num_samples, "one label per row");
        assert!(
            train.labels.iter().all(|&label| label < num_classes),
            "labels below {num_classes}"
        );
        if num_classes < 2 || num_samples == 0 {
            return Err(EvalError::ProbeData {
                num_classes,
                num_samples,
            });
        }
        let device = features.device();
        let labels = label_column(&train.labels, &device);
        let linear = LinearConfig::new(feature_dim, num_classes)
            .with_initializer(Initializer::Zeros)
            .init(&device.clone().autodiff());
        let penalty = 1.0 / (2.0 * self.c * num_samples as f64);
        let features = features.autodiff();
        let objective = |linear: Linear| {
            let log_probs = log_softmax(linear.forward(features.clone()), 1); // [num_samples, num_classes]
            let cross_entropy = log_probs.gather(1, labels.clone()).mean().neg();
            let loss = cross_entropy + linear.weight.val().square().sum() * penalty;
            let value = loss.clone().into_scalar::<f64>();
            (value, GradientsParams::from_grads(loss.backward(), &linear))
        };
        let mut optimizer = LBFGSConfig::new()
            .with_max_iter(self.max_iterations)
            .with_history_size(HISTORY)
            .with_tolerance_grad(self.tolerance)
            .with_line_search_fn(LineSearchFn::StrongWolfe)
            .init();
        let (linear, loss) = optimizer.step(1.0, linear, objective);
        Ok(LinearProbe {
            linear: linear.valid(),
            loss,
        })
    }

    /// Chooses C among `cs` and fits a probe with it to all of `train`.
    ///
    /// Every fifth sample is held out while C is chosen; the value that is right most often on these wins, the smaller
    /// one among equals.
    ///
    /// # Errors
    /// As [`LinearProbeConfig::fit`], or if `cs` is empty or there are fewer than five samples.
    ///
    /// # Panics
    /// As [`LinearProbeConfig::fit`].
    pub fn fit_best_c(&self, cs: &[f64], train: &LabelledFeatures, num_classes: usize) -> Result<BestProbe, EvalError> {
        let held_out = train.filter(|row| row % HELD_OUT_EVERY == HELD_OUT_EVERY - 1);
        if held_out.labels.is_empty() {
            return Err(EvalError::ProbeData {
                num_classes,
                num_samples: train.labels.len(),
            });
        }
        let rest = train.filter(|row| row % HELD_OUT_EVERY != HELD_OUT_EVERY - 1);
        let names: Vec<String> = (0..num_classes).map(|class| class.to_string()).collect();
        let mut cs = cs.to_vec();
        cs.sort_by(f64::total_cmp);
        let mut best: Option<(f64, f64)> = None; // C, accuracy
        for c in cs {
            let top_1 = Self { c, ..*self }
                .fit(&rest, num_classes)?
                .evaluate(&held_out, &names)?
                .top_1;
            if best.is_none_or(|(_, best)| top_1 > best) {
                best = Some((c, top_1));
            }
        }
        let (c, held_out_top_1) = best.ok_or(EvalError::Setting {
            name: "C",
            value: "[]".to_owned(),
            expected: "at least one value to try",
        })?;
        let probe = Self { c, ..*self }.fit(train, num_classes)?;
        Ok(BestProbe {
            probe,
            c,
            held_out_top_1,
        })
    }

    fn validate(&self) -> Result<(), EvalError> {
        let positive = |name, value: f64| match value > 0.0 && value.is_finite() {
            true => Ok(()),
            false => Err(EvalError::Setting {
                name,
                value: value.to_string(),
                expected: "a positive number",
            }),
        };
        positive("c", self.c)?;
        positive("tolerance", self.tolerance)?;
        positive("max_iterations", self.max_iterations as f64)
    }
}

/// Pairs of steps that L-BFGS remembers, as in scikit-learn (scipy's `maxcor`).
const HISTORY: usize = 10;

/// One sample in this many is held out while C is chosen.
const HELD_OUT_EVERY: usize = 5;

/// The result of [`LinearProbeConfig::fit_best_c`].
#[derive(Clone, Debug)]
pub struct BestProbe {
    /// A probe with the best C, fitted to all samples.
    pub probe: LinearProbe,
    /// That C.
    pub c: f64,
    /// Top-1 accuracy with it on the held-out samples.
    pub held_out_top_1: f64,
}

/// A fitted linear classifier.
#[derive(Clone, Debug)]
pub struct LinearProbe {
    linear: Linear,
    /// The objective that was reached.
    pub loss: f64,
}

impl LinearProbe {
    /// Class scores of each row.
    ///
    /// # Shapes
    /// - features: `[num_samples, feature_dim]`
    /// - output: `[num_samples, num_classes]`
    pub fn logits(&self, features: Tensor<2>) -> Tensor<2> {
        self.linear.forward(features)
    }

    /// Accuracy on labelled features. Among equal scores the class with the lower index is first.
    ///
    /// # Errors
    /// If a feature is not finite or the device fails.
    ///
    /// # Panics
    /// If features and labels differ in number or a label has no name.
    pub fn evaluate(&self, test: &LabelledFeatures, names: &[String]) -> Result<ClassificationReport, EvalError> {
        let features = test.features.clone().without_autodiff();
        let [num_samples, _] = features.dims();
        let device = features.device();
        // The bias as one more feature: then ranking classes is ranking rows of a gallery.
        let features = Tensor::cat(vec![features, Tensor::ones([num_samples, 1], &device)], 1);
        let mut classes = self.linear.weight.val().transpose(); // [num_classes, feature_dim]
        if let Some(bias) = &self.linear.bias {
            classes = Tensor::cat(vec![classes, bias.val().unsqueeze_dim(1)], 1);
        }
        let relevance = Relevance::from_labels(&test.labels, names.len());
        let found = ranks(
            features,
            classes,
            &relevance,
            Chunking::default(),
            &ProgressBar::hidden(),
        )?;
        Ok(ClassificationReport::from_ranks(&found, &test.labels, names))
    }
}

/// `[num_samples, 1]`
fn label_column(labels: &[usize], device: &Device) -> Tensor<2, Int> {
    let labels: Vec<i32> = labels.iter().map(|&label| label as i32).collect();
    Tensor::<1, Int>::from_ints(labels.as_slice(), device).unsqueeze_dim(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|class| class.to_string()).collect()
    }

    /// Three well separated clouds in the plane.
    fn clouds(device: &Device) -> (Tensor<2>, Vec<usize>) {
        let centres = [[4.0, 0.0], [-2.0, 3.5], [-2.0, -3.5]];
        let points: Vec<[f32; 2]> = (0..30)
            .map(|i| {
                let (centre, angle) = (centres[i % 3], i as f32);
                [centre[0] + angle.sin(), centre[1] + angle.cos()]
            })
            .collect();
        let flat: Vec<f32> = points.concat();
        let features = Tensor::<1>::from_floats(flat.as_slice(), device).reshape([30, 2]);
        (features, (0..30).map(|i| i % 3).collect())
    }

    #[test]
    fn separable_classes_are_separated() {
        let device = Device::flex();
        let (features, labels) = clouds(&device);
        let data = LabelledFeatures {
            features,
            labels: labels.clone(),
        };
        let probe = LinearProbeConfig::default().fit(&data, 3).unwrap();
        let report = probe.evaluate(&data, &names(3)).unwrap();
        assert_eq!(report.top_1, 1.0);
        // Scores by `logits` and ranks by `evaluate` must agree.
        let logits: Vec<f32> = probe.logits(data.features.clone()).try_into_vec_as().unwrap();
        for (row, &label) in logits.chunks(3).zip(&labels) {
            assert!((0..3).all(|class| class == label || row[class] < row[label]));
        }
    }

    /// The objective is convex: where its gradient vanishes is the one optimum, the same that scikit-learn finds.
    #[test]
    fn optimum_satisfies_the_first_order_condition() {
        let device = Device::flex();
        let (features, mut labels) = clouds(&device);
        labels[0] = 1; // not separable, so that the optimum is not far out
        let data = LabelledFeatures {
            features: features.clone(),
            labels: labels.clone(),
        };
        let config = LinearProbeConfig {
            tolerance: 1e-6,
            ..Default::default()
        };
        let probe = config.fit(&data, 3).unwrap();
        // d/dW = X^T (P - Y) / n + W / (C n) must vanish, computed here by hand.
        let probs: Vec<f32> = burn::tensor::activation::softmax(probe.logits(features.clone()), 1)
            .try_into_vec_as()
            .unwrap();
        let x: Vec<f32> = features.try_into_vec_as().unwrap();
        let weight: Vec<f32> = probe.linear.weight.val().try_into_vec_as().unwrap(); // [2, 3]
        for class in 0..3 {
            let residual = |i: usize| probs[i * 3 + class] - f32::from(labels[i] == class);
            let bias_gradient: f32 = (0..30).map(residual).sum::<f32>() / 30.0;
            assert!(bias_gradient.abs() < 1e-4, "{bias_gradient}");
            for dim in 0..2 {
                let data_term: f32 = (0..30).map(|i| residual(i) * x[i * 2 + dim]).sum::<f32>() / 30.0;
                let gradient = data_term + weight[dim * 3 + class] / (0.316 * 30.0);
                assert!(gradient.abs() < 1e-4, "{gradient}");
            }
        }
    }

    #[test]
    fn fitting_twice_gives_the_same_bits() {
        let device = Device::flex();
        let (features, labels) = clouds(&device);
        let data = LabelledFeatures {
            features,
            labels: labels.clone(),
        };
        let fit = || {
            let probe = LinearProbeConfig::default().fit(&data, 3).unwrap();
            (
                probe.loss.to_bits(),
                probe.linear.weight.val().try_into_vec_as::<f32>().unwrap(),
            )
        };
        assert_eq!(fit(), fit());
    }

    #[test]
    fn the_smaller_c_wins_among_equals_and_is_fitted_to_all() {
        let device = Device::flex();
        let (features, labels) = clouds(&device);
        let data = LabelledFeatures { features, labels };
        let best = LinearProbeConfig::default().fit_best_c(&[10.0, 1.0], &data, 3).unwrap();
        assert_eq!((best.c, best.held_out_top_1), (1.0, 1.0));
        let all = LinearProbeConfig {
            c: 1.0,
            ..Default::default()
        }
        .fit(&data, 3)
        .unwrap();
        assert_eq!(best.probe.loss, all.loss);
        assert!(LinearProbeConfig::default().fit_best_c(&[], &data, 3).is_err());
    }

    #[test]
    fn impossible_settings_are_errors() {
        let device = Device::flex();
        let (features, labels) = clouds(&device);
        let data = LabelledFeatures {
            features,
            labels: labels.clone(),
        };
        let error = LinearProbeConfig {
            c: 0.0,
            ..Default::default()
        }
        .fit(&data, 3)
        .unwrap_err();
        assert!(error.to_string().contains("c = 0"), "{error}");
        let one = LabelledFeatures {
            features: Tensor::ones([2, 2], &device),
            labels: vec![0, 0],
        };
        let error = LinearProbeConfig::default().fit(&one, 1).unwrap_err();
        assert!(error.to_string().contains("two classes"), "{error}");
    }
}
