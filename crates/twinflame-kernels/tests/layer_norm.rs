//! Does layer normalisation, its values and its three gradients, agree with its plain twin in f64?

#![allow(clippy::unwrap_used, reason = "a panic is the report of a test")]

mod common;

use burn::tensor::{Device, FloatDType, Tensor, s};
use common::{F32, check, tensor, values};
use twinflame_kernels::{layer_norm, plain};

const EPSILON: f64 = 1e-5;

#[derive(Clone)]
struct Inputs<const D: usize> {
    x: Tensor<D>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    /// Of the output, in the sum that is differentiated.
    weights: Tensor<D>,
}

impl<const D: usize> Inputs<D> {
    fn new(shape: [usize; D]) -> Self {
        let width = shape[D - 1];
        Self {
            x: tensor(shape, 1) * 4.0,
            gamma: tensor([width], 2) + 1.5,
            beta: tensor([width], 3),
            weights: tensor(shape, 4),
        }
    }

    fn cast(self, dtype: FloatDType) -> Self {
        Self {
            x: self.x.cast(dtype),
            gamma: self.gamma.cast(dtype),
            beta: self.beta.cast(dtype),
            weights: self.weights.cast(dtype),
        }
    }

    /// Values, and the gradients of x, gamma and beta.
    fn both_passes(self, function: fn(Tensor<D>, Tensor<1>, Tensor<1>, f64) -> Tensor<D>) -> [Vec<f64>; 4] {
        let x = Tensor::from_inner(self.x).require_grad();
        let [gamma, beta] = [self.gamma, self.beta].map(|tensor| Tensor::from_inner(tensor).require_grad());
        let y = function(x.clone(), gamma.clone(), beta.clone(), EPSILON);
        let grads = (y.clone() * Tensor::from_inner(self.weights)).sum().backward();
        [
            values(y.inner()),
            values(x.grad(&grads).unwrap()),
            values(gamma.grad(&grads).unwrap()),
            values(beta.grad(&grads).unwrap()),
        ]
    }

    /// Compares with the twin in f64, on what the kernel got, rounded to its type; see [`check`].
    fn check(self, epsilon: f64) {
        let expected = self.clone().cast(FloatDType::F64).both_passes(plain::layer_norm);
        let found = self.both_passes(layer_norm);
        // Where rows do not vary, the gradient of gamma is a sum of rounding errors times `weights`.
        let names = [("value", 1e-3), ("of x", 1e-3), ("of gamma", 1.0), ("of beta", 1e-3)];
        for (((name, floor), found), expected) in names.into_iter().zip(found).zip(expected) {
            check(name, &found, &expected, floor, epsilon);
        }
    }
}

#[test]
fn shapes() {
    Inputs::new([7]).check(F32);
    Inputs::new([3, 1]).check(F32);
    Inputs::new([0, 5]).check(F32);
    Inputs::new([2, 3, 17]).check(F32);
    Inputs::new([2, 1, 3, 16]).check(F32);
    Inputs::new([50, 768]).check(F32);
    // more and fewer elements in a row than threads take at a time
    Inputs::new([3, 20_011]).check(F32);
    // among so many short rows are some that hardly vary
    Inputs::new([20_011, 3]).check(F32 * 4.0);
}

#[test]
fn layouts() {
    let inputs = Inputs::new([33, 17]);
    let turned = |x: Tensor<2>| x.reshape([17, 33]).transpose();
    Inputs {
        x: turned(inputs.x.clone()),
        ..inputs.clone()
    }
    .check(F32);
    Inputs {
        weights: turned(inputs.weights.clone()),
        ..inputs.clone()
    }
    .check(F32);
    Inputs {
        x: inputs.x.clone().slice(s![3..9, ..]),
        weights: inputs.weights.clone().slice(s![4..10, ..]),
        ..inputs.clone()
    }
    .check(F32);
    Inputs {
        gamma: inputs.gamma.clone().flip([0]),
        beta: tensor([34], 5).slice(s![9..26]),
        ..inputs
    }
    .check(F32);
}

#[test]
fn types() {
    let inputs = Inputs::new([9, 37]);
    for (dtype, epsilon) in [
        (FloatDType::F64, f64::EPSILON),
        (FloatDType::F16, 2.0_f64.powi(-10)),
        (FloatDType::BF16, 2.0_f64.powi(-7)),
    ] {
        let inputs = inputs.clone().cast(dtype);
        let y = layer_norm(inputs.x.clone(), inputs.gamma.clone(), inputs.beta.clone(), EPSILON);
        assert_eq!(y.dtype(), dtype.into());
        inputs.check(epsilon);
    }
    // squares of which f16 has no more
    let mut large = inputs.cast(FloatDType::F16);
    large.x = large.x * 1e4;
    large.check(2.0_f64.powi(-10));
}

#[test]
fn extremes() {
    let inputs = Inputs::new([5, 37]);
    let with = |x: Tensor<2>| Inputs { x, ..inputs.clone() };
    let x = inputs.x.clone();
    with(x.clone() * 1e15).check(F32);
    with(x.clone() * 1e-15).check(F32);
    // the mean is known to f32's epsilon of itself, not of the deviation
    with(x.clone() + 1e3).check(F32 * 1e3);
    // no deviation: the mean's error, over the root of epsilon
    with(Tensor::full([5, 37], 0.1, &Device::flex())).check(F32 * 1e3);
}

/// What is not a number spoils its row, and no other.
#[test]
fn rows_are_apart() {
    let inputs = Inputs::new([4, 21]);
    let call = |x: Tensor<2>| values(layer_norm(x, inputs.gamma.clone(), inputs.beta.clone(), EPSILON));
    let clean = call(inputs.x.clone());
    let spoilt = Tensor::<2>::full([1, 1], f32::NAN, &Device::flex());
    let spoilt = call(inputs.x.clone().slice_assign(s![2..3, 5..6], spoilt));
    for (i, (clean, spoilt)) in clean.iter().zip(spoilt).enumerate() {
        let kept = *clean == spoilt;
        assert!(
            if i / 21 == 2 { spoilt.is_nan() } else { kept },
            "element {i}: {spoilt}"
        );
    }
}

/// A tower whose parameters are frozen, and one whose input is a constant.
#[test]
fn only_what_is_asked_for_gets_a_gradient() {
    let Inputs { x, gamma, beta, .. } = Inputs::new([3, 11]);
    let device = Device::flex().autodiff();
    let [gamma, beta] = [gamma, beta].map(Tensor::from_inner);
    let frozen = Tensor::from_inner(x.clone()).require_grad();
    let grads = layer_norm(frozen.clone(), gamma.clone(), beta.clone(), EPSILON)
        .sum()
        .backward();
    assert!(frozen.grad(&grads).is_some());
    assert!(gamma.grad(&grads).is_none() && beta.grad(&grads).is_none());
    let gamma = gamma.require_grad();
    let constant = Tensor::<2>::from_data(x.into_data(), &device);
    let grads = layer_norm(constant.clone(), gamma.clone(), beta, EPSILON)
        .sum()
        .backward();
    assert!(constant.grad(&grads).is_none());
    assert!(gamma.grad(&grads).is_some());
}

/// burn's gradient checkpointing drops what can be computed again, here the normalised rows' input.
#[test]
fn recomputed_activations_have_the_same_gradients() {
    let gradients = |device: Device| {
        let Inputs { x, gamma, beta, .. } = Inputs::new([9, 13]);
        let on = |x: Tensor<1>| Tensor::<1>::from_data(x.into_data(), &device).require_grad();
        let x = Tensor::<2>::from_data(x.into_data(), &device).require_grad();
        let [gamma, beta] = [gamma, beta].map(on);
        let y = layer_norm((x.clone() * 1.5).exp(), gamma.clone(), beta.clone(), EPSILON);
        let grads = twinflame_kernels::gelu(y).sum().backward();
        [
            values(x.grad(&grads).unwrap()),
            values(gamma.grad(&grads).unwrap()),
            values(beta.grad(&grads).unwrap()),
        ]
    };
    let kept = gradients(Device::flex().autodiff());
    assert_eq!(kept, gradients(Device::flex().autodiff().gradient_checkpointing()));
}

#[test]
#[should_panic(expected = "gamma has one element for each of a row")]
fn a_gamma_of_another_length_is_refused() {
    layer_norm(tensor([2, 6], 1), tensor([3], 2), tensor([6], 3), EPSILON);
}
