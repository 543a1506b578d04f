//! Does batch normalisation, its values, its statistics and its gradients, agree with its plain twin in f64?

#![allow(clippy::unwrap_used, reason = "a panic is the report of a test")]

mod common;

use burn::tensor::{Device, FloatDType, Tensor, s};
use common::{F32, check, tensor, values};
use twinflame_kernels::{BatchNormalised, Then, batch_norm, plain};

const EPSILON: f64 = 1e-5;

type Function<const D: usize> = fn(Tensor<D>, Tensor<1>, Tensor<1>, f64, Then<D>) -> BatchNormalised<D>;

#[derive(Clone, Copy, Debug)]
enum Kind {
    Nothing,
    Relu,
    AddRelu,
}

#[derive(Clone)]
struct Inputs<const D: usize> {
    x: Tensor<D>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    shortcut: Tensor<D>,
    weights: Tensor<D>,
}

impl<const D: usize> Inputs<D> {
    fn new(shape: [usize; D]) -> Self {
        Self {
            x: tensor(shape, 1) * 3.0 + 0.5,
            gamma: tensor([shape[0]], 2) + 0.25,
            beta: tensor([shape[0]], 3),
            shortcut: tensor(shape, 4),
            weights: tensor(shape, 5),
        }
    }

    fn cast(self, dtype: FloatDType) -> Self {
        Self {
            x: self.x.cast(dtype),
            gamma: self.gamma.cast(dtype),
            beta: self.beta.cast(dtype),
            shortcut: self.shortcut.cast(dtype),
            weights: self.weights.cast(dtype),
        }
    }

    /// Output, mean, variance, and the gradients of all inputs.
    fn both_passes(&self, kind: Kind, function: Function<D>) -> Vec<(&'static str, Vec<f64>)> {
        let leaf = |x: &Tensor<D>| Tensor::from_inner(x.clone()).require_grad();
        let [x, shortcut] = [&self.x, &self.shortcut].map(leaf);
        let [gamma, beta] = [&self.gamma, &self.beta].map(|x| Tensor::from_inner(x.clone()).require_grad());
        let then = match kind {
            Kind::Nothing => Then::Nothing,
            Kind::Relu => Then::Relu,
            Kind::AddRelu => Then::AddRelu(shortcut.clone()),
        };
        let y = function(x.clone(), gamma.clone(), beta.clone(), EPSILON, then);
        let grads = (y.output.clone() * Tensor::from_inner(self.weights.clone()))
            .sum()
            .backward();
        let mut found = vec![
            ("output", values(y.output.inner())),
            ("mean", values(y.mean.inner())),
            ("variance", values(y.variance.inner())),
            ("gradient of x", values(x.grad(&grads).unwrap())),
            ("gradient of gamma", values(gamma.grad(&grads).unwrap())),
            ("gradient of beta", values(beta.grad(&grads).unwrap())),
        ];
        match (kind, shortcut.grad(&grads)) {
            (Kind::AddRelu, Some(grad)) => found.push(("gradient of the shortcut", values(grad))),
            (Kind::Nothing | Kind::Relu, None) => {}
            (kind, grad) => panic!("{kind:?}: a shortcut's gradient is {:?}", grad.is_some()),
        }
        found
    }

    fn check(&self, epsilon: f64) {
        let wide = self.clone().cast(FloatDType::F64);
        for kind in [Kind::Nothing, Kind::Relu, Kind::AddRelu] {
            let found = self.both_passes(kind, batch_norm);
            let expected = wide.both_passes(kind, plain::batch_norm);
            for ((name, found), (_, expected)) in found.iter().zip(&expected) {
                check(&format!("{kind:?}, {name}"), found, expected, 1e-3, epsilon);
            }
        }
    }
}

#[test]
fn shapes() {
    Inputs::new([1, 4]).check(F32);
    Inputs::new([3, 1, 5]).check(F32);
    Inputs::new([7, 2, 3, 3]).check(F32);
    Inputs::new([64, 2, 7, 7]).check(F32);
    // longer than a piece
    Inputs::new([2, 20_011]).check(F32);
}

#[test]
fn layouts() {
    let inputs = Inputs::new([9, 17]);
    let turned = |x: Tensor<2>| x.reshape([17, 9]).transpose();
    Inputs {
        x: turned(inputs.x.clone()),
        shortcut: turned(inputs.shortcut.clone()),
        ..inputs.clone()
    }
    .check(F32);
    Inputs {
        weights: turned(inputs.weights.clone()),
        ..inputs.clone()
    }
    .check(F32);
    Inputs {
        x: inputs.x.clone().slice(s![3..7, ..]),
        shortcut: inputs.shortcut.clone().slice(s![4..8, ..]),
        weights: inputs.weights.clone().slice(s![5..9, ..]),
        gamma: inputs.gamma.clone().slice(s![2..6]),
        beta: inputs.beta.clone().slice(s![1..5]),
    }
    .check(F32);
}

#[test]
fn types() {
    let inputs = Inputs::new([5, 37]);
    inputs.clone().cast(FloatDType::F64).check(f64::EPSILON);
    let y = batch_norm(
        inputs.x.clone().cast(FloatDType::F64),
        inputs.gamma.cast(FloatDType::F64),
        inputs.beta.cast(FloatDType::F64),
        EPSILON,
        Then::Relu,
    );
    assert_eq!(y.output.dtype(), FloatDType::F64.into());
}

#[test]
fn extremes() {
    let inputs = Inputs::new([3, 500]);
    let with = |x: Tensor<2>| Inputs { x, ..inputs.clone() };
    with(inputs.x.clone() * 1e10).check(F32);
    with(inputs.x.clone() * 1e-10).check(F32);
    // the mean is known to f32's epsilon of itself, not of the deviation
    with(inputs.x.clone() + 1e3).check(F32 * 1e3);
}

/// A sum in f32 over so many would have lost the last digits.
#[test]
fn many_samples_are_summed_exactly() {
    let x = tensor([1, 3_000_000], 6) * 1e-3 + 1.0;
    let wide = values(x.clone());
    let mean = wide.iter().sum::<f64>() / wide.len() as f64;
    let one = Tensor::<1>::ones([1], &Device::flex());
    let found = values(batch_norm(x, one.clone(), one, EPSILON, Then::Nothing).mean);
    assert!((found[0] - mean).abs() <= 2.0 * F32, "{} is not {mean}", found[0]);
}

/// Where the output is exactly zero no gradient passes, as in PyTorch; what is no number stays one.
#[test]
fn a_rectified_zero_has_no_gradient() {
    let device = Device::flex();
    let x = Tensor::<2>::from_floats([[1.0, 2.0, 3.0], [1.0, f32::NAN, 3.0]], &device);
    let x = Tensor::from_inner(x).require_grad();
    let [gamma, beta] = [1.0, 0.0].map(|value| Tensor::<1>::full([2], value, &device));
    let shortcut = Tensor::from_inner(Tensor::<2>::zeros([2, 3], &device)).require_grad();
    let then = Then::AddRelu(shortcut.clone());
    let y = batch_norm(x, gamma, beta, EPSILON, then).output;
    let grads = y.clone().sum().backward();
    let y = values(y.inner());
    assert!(
        y[0] == 0.0 && y[1] == 0.0 && y[2] > 0.0 && y[3..].iter().all(|y| y.is_nan()),
        "{y:?}"
    );
    assert_eq!(values(shortcut.grad(&grads).unwrap()), [0.0, 0.0, 1.0, 1.0, 1.0, 1.0]);
}

#[test]
fn only_what_is_asked_for_gets_a_gradient() {
    let Inputs { x, gamma, beta, .. } = Inputs::new([3, 11]);
    let [gamma, beta] = [gamma, beta].map(Tensor::from_inner);
    let tracked = Tensor::from_inner(x.clone()).require_grad();
    let grads = batch_norm(tracked.clone(), gamma.clone(), beta.clone(), EPSILON, Then::Relu)
        .output
        .sum()
        .backward();
    assert!(tracked.grad(&grads).is_some());
    assert!(gamma.grad(&grads).is_none() && beta.grad(&grads).is_none());
    let gamma = gamma.require_grad();
    let constant = Tensor::from_inner(x);
    let grads = batch_norm(constant.clone(), gamma.clone(), beta, EPSILON, Then::Relu)
        .output
        .sum()
        .backward();
    assert!(constant.grad(&grads).is_none());
    assert!(gamma.grad(&grads).is_some());
}

/// The shortcut of a block is the input of the same block: its gradient comes by two ways.
#[test]
fn an_input_may_be_its_own_shortcut() {
    let inputs = Inputs::new([4, 30]);
    let gradient = |x: Tensor<2>, gamma: Tensor<1>, beta: Tensor<1>, function: Function<2>| {
        let x = Tensor::from_inner(x).require_grad();
        let [gamma, beta] = [gamma, beta].map(Tensor::from_inner);
        let y = function(x.clone(), gamma, beta, EPSILON, Then::AddRelu(x.clone()));
        let grads = (y.output.clone() * y.output).sum().backward();
        values(x.grad(&grads).unwrap())
    };
    let wide = inputs.clone().cast(FloatDType::F64);
    let found = gradient(inputs.x, inputs.gamma, inputs.beta, batch_norm);
    let expected = gradient(wide.x, wide.gamma, wide.beta, plain::batch_norm);
    check("gradient", &found, &expected, 1e-3, F32);
}

#[test]
#[should_panic(expected = "gamma has one element for each channel")]
fn a_gamma_of_another_length_is_refused() {
    batch_norm(
        tensor([2, 6], 1),
        tensor([3], 2),
        tensor([2], 3),
        EPSILON,
        Then::Nothing,
    );
}
