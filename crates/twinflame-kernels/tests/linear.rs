//! Do linear layers and embeddings, their values and gradients, agree with burn's own in f64?

#![allow(clippy::unwrap_used, reason = "a panic is the report of a test")]

mod common;

use burn::tensor::{Device, FloatDType, Int, Tensor, TensorData, module, s};
use common::{F32, check, tensor, values};
use twinflame_kernels::{embedding, linear, linear_transposed, matmul};

type Function<const D: usize> = fn(Tensor<D>, Tensor<2>, Tensor<1>) -> Tensor<D>;

fn burns<const D: usize>(x: Tensor<D>, weight: Tensor<2>, bias: Tensor<1>) -> Tensor<D> {
    module::linear(x, weight, Some(bias))
}

fn burns_transposed<const D: usize>(x: Tensor<D>, weight: Tensor<2>, bias: Tensor<1>) -> Tensor<D> {
    module::linear(x, weight.transpose(), Some(bias))
}

/// Values, and the gradients of x, weight and bias.
fn both_passes<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Tensor<1>,
    function: Function<D>,
) -> [Vec<f64>; 4] {
    let dtype = FloatDType::from(x.dtype());
    let x = Tensor::from_inner(x).require_grad();
    let weight = Tensor::from_inner(weight).require_grad();
    let bias = Tensor::from_inner(bias).require_grad();
    let y = function(x.clone(), weight.clone(), bias.clone());
    let weights = tensor(y.dims(), 9).cast(dtype);
    let grads = (y.clone() * Tensor::from_inner(weights)).sum().backward();
    [
        values(y.inner()),
        values(x.grad(&grads).unwrap()),
        values(weight.grad(&grads).unwrap()),
        values(bias.grad(&grads).unwrap()),
    ]
}

fn compare<const D: usize>(
    x: &Tensor<D>,
    weight: &Tensor<2>,
    bias: &Tensor<1>,
    functions: [Function<D>; 2],
    epsilon: f64,
) {
    let [kernel, twin] = functions;
    let wide = FloatDType::F64;
    let expected = both_passes(
        x.clone().cast(wide),
        weight.clone().cast(wide),
        bias.clone().cast(wide),
        twin,
    );
    let found = both_passes(x.clone(), weight.clone(), bias.clone(), kernel);
    for (name, (found, expected)) in ["value", "of x", "of weight", "of bias"]
        .into_iter()
        .zip(found.iter().zip(&expected))
    {
        check(name, found, expected, 1e-3, epsilon);
    }
}

/// With the bias added, so that one comparison serves all.
fn by_matmul(x: Tensor<2>, weight: Tensor<2>, bias: Tensor<1>) -> Tensor<2> {
    matmul(x, weight) + bias.unsqueeze()
}

fn compare_both<const D: usize>(x: &Tensor<D>, [d_input, d_output]: [usize; 2]) {
    let bias = tensor([d_output], 3);
    compare(x, &tensor([d_input, d_output], 2), &bias, [linear, burns], F32);
    let weight = tensor([d_output, d_input], 2);
    compare(x, &weight, &bias, [linear_transposed, burns_transposed], F32);
}

#[test]
fn shapes() {
    for [rows, d_input, d_output] in [
        [1, 1, 1],
        [7, 3, 5],
        [1, 64, 3],
        [50, 64, 300],
        [257, 70, 65],
        [400, 130, 190],
    ] {
        let x = tensor([rows, d_input], 1);
        compare_both(&x, [d_input, d_output]);
        let (weight, bias) = (tensor([d_input, d_output], 2), tensor([d_output], 3));
        compare(&x, &weight, &bias, [by_matmul, burns], F32);
    }
    compare_both(&tensor([2, 3, 5, 6], 1), [6, 9]);
    let nothing = linear(tensor([0, 4], 1), tensor([4, 3], 2), tensor([3], 3));
    assert_eq!(nothing.dims(), [0, 3]);
    assert_eq!(matmul(tensor([0, 4], 1), tensor([4, 3], 2)).dims(), [0, 3]);
    assert_eq!(values(matmul(tensor([2, 0], 1), tensor([0, 1], 2))), [0.0, 0.0]);
}

#[test]
fn layouts() {
    let bias = tensor([30], 3).slice(s![4..13]);
    let weight = tensor([9, 6], 2).transpose();
    compare(&tensor([6, 8], 1).transpose(), &weight, &bias, [linear, burns], F32);
    compare(&tensor([6, 8], 1).transpose(), &weight, &bias, [by_matmul, burns], F32);
    compare(
        &tensor([8, 20], 1).slice(s![2..7, 3..9]),
        &weight,
        &bias,
        [linear, burns],
        F32,
    );
    let weight = tensor([12, 10], 2).slice(s![1..10, 2..8]);
    compare(
        &tensor([8, 6], 1),
        &weight,
        &bias,
        [linear_transposed, burns_transposed],
        F32,
    );
}

#[test]
fn types() {
    for (dtype, epsilon) in [(FloatDType::F64, f64::EPSILON), (FloatDType::F16, 2.0_f64.powi(-10))] {
        let (x, weight, bias) = (tensor([5, 6], 1), tensor([6, 7], 2), tensor([7], 3));
        let (x, weight, bias) = (x.cast(dtype), weight.cast(dtype), bias.cast(dtype));
        assert_eq!(linear(x.clone(), weight.clone(), bias.clone()).dtype(), dtype.into());
        compare(&x, &weight, &bias, [linear, burns], epsilon);
    }
}

/// A frozen layer passes gradients on, and a layer of constants has its own.
#[test]
fn only_what_is_asked_for_gets_a_gradient() {
    let (x, weight, bias) = (tensor([5, 6], 1), tensor([6, 7], 2), tensor([7], 3));
    let (x, weight, bias) = (
        Tensor::from_inner(x),
        Tensor::from_inner(weight),
        Tensor::from_inner(bias),
    );
    let tracked = x.clone().require_grad();
    let grads = linear(tracked.clone(), weight.clone(), bias.clone()).sum().backward();
    assert!(tracked.grad(&grads).is_some());
    assert!(weight.grad(&grads).is_none() && bias.grad(&grads).is_none());
    let weight = weight.require_grad();
    let grads = linear(x.clone(), weight.clone(), bias.clone()).sum().backward();
    assert!(weight.grad(&grads).is_some() && x.grad(&grads).is_none());
    let bias = bias.require_grad();
    let grads = linear(x, weight.detach(), bias.clone()).sum().backward();
    assert!(bias.grad(&grads).is_some());
}

#[test]
#[should_panic(expected = "a row of x and the weight's inputs are as many")]
fn a_weight_of_another_size_is_refused() {
    linear(tensor([2, 6], 1), tensor([5, 3], 2), tensor([3], 3));
}

fn ids(values: &[i64], shape: [usize; 2]) -> Tensor<2, Int> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), &Device::flex())
}

#[test]
fn rows_come_and_their_gradients_add_up() {
    for width in [1, 5, 768] {
        for numbers in [&[0, 10, 3, 3, 3, 9][..], &[4, 4, 4, 4, 4, 4], &[10, 0, 9, 1, 8, 2]] {
            let passes = |weight: Tensor<2>, function: fn(Tensor<2>, Tensor<2, Int>) -> Tensor<3>| {
                let dtype = FloatDType::from(weight.dtype());
                let weight = Tensor::from_inner(weight).require_grad();
                let y = function(weight.clone(), Tensor::from_inner(ids(numbers, [2, 3])));
                let of_y = Tensor::from_inner(tensor([2, 3, width], 5).cast(dtype));
                let grads = (y.clone() * of_y).sum().backward();
                [values(y.inner()), values(weight.grad(&grads).unwrap())]
            };
            let weight = tensor([11, width], 1);
            let expected = passes(weight.clone().cast(FloatDType::F64), module::embedding);
            let found = passes(weight.clone(), embedding);
            assert_eq!(found[0], expected[0]);
            check("gradient", &found[1], &expected[1], 1e-3, F32);
            let turned = passes(weight.transpose().mul_scalar(1.0).transpose(), embedding);
            assert_eq!(turned, found);
        }
    }
}

#[test]
#[should_panic(expected = "out of range")]
fn a_row_that_is_not_there_is_refused() {
    embedding(tensor([3, 4], 1), ids(&[0, 3], [1, 2]));
}
