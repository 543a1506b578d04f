//! Do GELU and QuickGELU, their values and their gradients, agree with their plain twins in f64?

#![allow(clippy::unwrap_used, reason = "a panic is the report of a test")]

mod common;

use burn::tensor::{Device, FloatDType, Tensor, s};
use common::values;
use twinflame_kernels::{gelu, plain, quick_gelu};

type Function<const D: usize> = fn(Tensor<D>) -> Tensor<D>;

/// Every kernel with its twin.
fn pairs<const D: usize>() -> [(&'static str, Function<D>, Function<D>); 2] {
    [
        ("gelu", gelu, plain::gelu),
        ("quick_gelu", quick_gelu, plain::quick_gelu),
    ]
}

fn tensor<const D: usize>(shape: [usize; D], scale: f32, seed: u64, device: &Device) -> Tensor<D> {
    Tensor::from_data(common::tensor(shape, seed).into_data(), device).mul_scalar(scale)
}

/// Values, and gradients of the sum weighted with `weights`, in the order of the shape.
fn both_passes<const D: usize>(function: Function<D>, x: &Tensor<D>, weights: &Tensor<D>) -> [Vec<f64>; 2] {
    let x = Tensor::from_inner(x.clone()).require_grad();
    let y = function(x.clone());
    let grads = (y.clone() * Tensor::from_inner(weights.clone())).sum().backward();
    [values(y.inner()), values(x.grad(&grads).unwrap())]
}

/// Compares both passes with the twin's in f64, on what the kernel got, rounded to its type. `epsilon` is that of the type. A
/// gradient is a sum which can cancel, so that its error is one of the terms.
fn check<const D: usize>(x: Tensor<D>, weights: Tensor<D>, epsilon: f64) {
    let wide = [&x, &weights].map(|tensor| tensor.clone().cast(FloatDType::F64));
    let inputs = values(x.clone());
    for (name, kernel, twin) in pairs() {
        let found = both_passes(kernel, &x, &weights);
        let expected = both_passes(twin, &wide[0], &wide[1]);
        for (pass, floor, found, expected) in [
            ("value", 1e-3, &found[0], &expected[0]),
            ("gradient", 0.25, &found[1], &expected[1]),
        ] {
            assert_eq!(found.len(), expected.len());
            for ((found, expected), x) in found.iter().zip(expected).zip(&inputs) {
                let close = (found - expected).abs() <= 8.0 * epsilon * expected.abs().max(floor);
                let same = found == expected || (found.is_nan() && expected.is_nan());
                assert!(close || same, "{name}, {pass} at {x:e}: {found:e}, not {expected:e}");
            }
        }
    }
}

fn check_shape<const D: usize>(shape: [usize; D]) {
    let device = Device::flex();
    check(
        tensor(shape, 6.0, 1, &device),
        tensor(shape, 1.0, 2, &device),
        f64::from(f32::EPSILON),
    );
}

#[test]
fn shapes() {
    check_shape([0]);
    check_shape([1]);
    check_shape([2, 0, 3]);
    check_shape([3, 5, 7]);
    check_shape([1, 1, 31, 1]);
    // around the 16,384 elements from which on threads share the work
    check_shape([16_383]);
    check_shape([16_384]);
    check_shape([16_385]);
    check_shape([5, 9_973]);
}

#[test]
fn layouts() {
    let device = Device::flex();
    let epsilon = f64::from(f32::EPSILON);
    let x = tensor([17, 33], 6.0, 3, &device);
    let weights = tensor([33, 17], 1.0, 4, &device);
    check(x.clone().transpose(), weights.clone(), epsilon);
    check(x.clone(), weights.clone().transpose(), epsilon);
    // a part of the rows lies in one piece, a part of the columns does not
    check(
        x.clone().slice(s![3..9, ..]),
        weights.clone().transpose().slice(s![3..9, ..]),
        epsilon,
    );
    check(
        x.clone().slice(s![.., 3..9]),
        weights.clone().transpose().slice(s![.., 3..9]),
        epsilon,
    );
    check(x.clone().flip([1]), weights.clone().transpose(), epsilon);
    check(x.slice(s![0..1, ..]).expand([17, 33]), weights.transpose(), epsilon);
}

#[test]
fn types() {
    let device = Device::flex();
    let (x, weights) = (tensor([4, 37], 6.0, 5, &device), tensor([4, 37], 1.0, 6, &device));
    for (dtype, epsilon) in [
        // as little as the twin itself has left of `1 + erf` where that is small
        (FloatDType::F64, 1e3 * f64::EPSILON),
        (FloatDType::F16, 2.0_f64.powi(-10)),
        (FloatDType::BF16, 2.0_f64.powi(-7)),
    ] {
        let y = gelu(x.clone().cast(dtype));
        assert_eq!(y.dtype(), dtype.into());
        check(x.clone().cast(dtype), weights.clone().cast(dtype), epsilon);
    }
}

#[test]
fn extremes() {
    let tiny = f32::from_bits(1);
    let x = [
        0.0,
        -0.0,
        tiny,
        -tiny,
        f32::MIN_POSITIVE,
        -f32::MIN_POSITIVE,
        12.899_999,
        -12.899_999,
        12.9,
        -12.9,
        -13.5,
        50.999_996,
        -50.999_996,
        -51.0,
        -1e4,
        1e4,
        1e30,
        -1e30,
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
    ];
    let device = Device::flex();
    let weights = Tensor::<1>::ones([x.len()], &device);
    check(Tensor::<1>::from_floats(x, &device), weights, f64::from(f32::EPSILON));
}

/// A kernel that writes over its input may do so only where nobody else looks at it.
#[test]
fn who_shares_the_input_keeps_it() {
    let device = Device::flex();
    for (name, kernel, _) in pairs::<2>() {
        let x = tensor([3, 11_003], 3.0, 7, &device);
        let (before, shared) = (values(x.clone()), x.clone());
        let part = x.clone().slice(s![1..2, ..]);
        let of_shared = values(kernel(x));
        kernel(part);
        assert_eq!(values(shared.clone()), before, "{name}");
        // now the only one, and written over
        assert_eq!(values(kernel(shared)), of_shared, "{name}");
    }
}

/// burn's gradient checkpointing drops activations and computes them again when it needs them.
#[test]
fn recomputed_activations_have_the_same_gradients() {
    let gradients = |device: Device, kernel: Function<2>| {
        let x = tensor([9, 13], 3.0, 8, &device).require_grad();
        let weights = tensor([13, 5], 1.0, 9, &device).require_grad();
        let hidden = kernel(kernel(x.clone() * 1.5).exp()).matmul(weights.clone());
        let grads = kernel(hidden).sum().backward();
        [values(x.grad(&grads).unwrap()), values(weights.grad(&grads).unwrap())]
    };
    for (name, kernel, _) in pairs() {
        let kept = gradients(Device::flex().autodiff(), kernel);
        let recomputed = gradients(Device::flex().autodiff().gradient_checkpointing(), kernel);
        assert_eq!(kept, recomputed, "{name}");
    }
}

/// On a tape, and no gradient asked for: a frozen tower.
#[test]
fn a_constant_gets_no_gradient() {
    let device = Device::flex().autodiff();
    for (name, kernel, _) in pairs::<1>() {
        let constant = tensor([5], 3.0, 10, &device);
        let weights = tensor([5], 1.0, 11, &device).require_grad();
        let grads = (kernel(constant.clone()) * weights.clone()).sum().backward();
        assert!(constant.grad(&grads).is_none(), "{name}");
        assert_eq!(
            values(weights.grad(&grads).unwrap()),
            values(kernel(constant.inner())),
            "{name}"
        );
    }
}
