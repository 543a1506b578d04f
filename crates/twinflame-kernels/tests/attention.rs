//! Does self-attention, its values and its gradient, agree with its plain twin in f64?

#![allow(clippy::unwrap_used, reason = "a panic is the report of a test")]

mod common;

use burn::tensor::{Device, FloatDType, Tensor, s};
use common::{F32, check, tensor, values};
use twinflame_kernels::{Visibility, plain, self_attention};

type Function = fn(Tensor<3>, usize, Visibility) -> Tensor<3>;

/// Values, and the gradient of the input.
fn both_passes(qkv: Tensor<3>, n_heads: usize, visibility: Visibility, function: Function) -> [Vec<f64>; 2] {
    let dtype = FloatDType::from(qkv.dtype());
    let [batch, tokens, columns] = qkv.dims();
    let weights = tensor([batch, tokens, columns / 3], 7).cast(dtype);
    let qkv = Tensor::from_inner(qkv).require_grad();
    let y = function(qkv.clone(), n_heads, visibility);
    assert_eq!(y.dims(), [batch, tokens, columns / 3]);
    let grads = (y.clone() * Tensor::from_inner(weights)).sum().backward();
    [values(y.inner()), values(qkv.grad(&grads).unwrap())]
}

fn compare(qkv: &Tensor<3>, n_heads: usize, epsilon: f64) {
    for visibility in [Visibility::All, Visibility::Causal] {
        let wide = qkv.clone().cast(FloatDType::F64);
        let expected = both_passes(wide, n_heads, visibility, plain::self_attention);
        let found = both_passes(qkv.clone(), n_heads, visibility, self_attention);
        check("value", &found[0], &expected[0], 1e-3, epsilon);
        check("gradient", &found[1], &expected[1], 1e-3, epsilon);
        // without a tape
        let alone = self_attention(qkv.clone(), n_heads, visibility);
        check("value without a tape", &values(alone), &found[0], 1e-3, epsilon / 64.0);
    }
}

#[test]
fn shapes() {
    for (batch, tokens, n_heads, d_head) in [
        (1, 1, 1, 1),
        (2, 3, 1, 5),
        (3, 17, 4, 8),
        (2, 50, 3, 64),
        (1, 77, 8, 16),
        (1, 130, 2, 24),
        (5, 2, 7, 3),
    ] {
        compare(&(tensor([batch, tokens, 3 * n_heads * d_head], 1) * 2.0), n_heads, F32);
    }
}

#[test]
fn layouts() {
    let wide = tensor([4, 9, 36], 2);
    compare(&wide.clone().slice(s![1..3, ..]), 3, F32);
    compare(&wide.clone().slice(s![.., .., 12..30]), 2, F32);
    compare(&wide.swap_dims(0, 1), 2, F32);
}

#[test]
fn types() {
    let qkv = tensor([2, 6, 24], 3);
    for (dtype, epsilon) in [(FloatDType::F64, f64::EPSILON), (FloatDType::F16, 2.0_f64.powi(-10))] {
        let qkv = qkv.clone().cast(dtype);
        assert_eq!(self_attention(qkv.clone(), 2, Visibility::All).dtype(), dtype.into());
        compare(&qkv, 2, epsilon);
    }
}

/// Weights that are one and zero, weights that are all equal, and scores of which the exponential alone has no number.
#[test]
fn extremes() {
    let qkv = tensor([2, 19, 48], 4);
    // a product of 30 x 30 is known to f32's epsilon of itself, and the weight as well as that
    compare(&(qkv.clone() * 30.0), 4, F32 * 1e3);
    compare(&(qkv * 1e-20), 4, F32);
}

/// What is not a number spoils its sample and head, and no other.
#[test]
fn samples_and_heads_are_apart() {
    let [clean, spoilt] = [0.0, f32::NAN].map(|added| {
        let qkv = tensor([2, 5, 24], 5);
        let spoil = Tensor::<3>::full([1, 1, 1], added, &Device::flex());
        let at = s![1..2, 2..3, 5..6];
        let spoilt = qkv.clone().slice(at) + spoil;
        values(self_attention(qkv.slice_assign(at, spoilt), 2, Visibility::All))
    });
    for (index, (clean, spoilt)) in clean.iter().zip(spoilt).enumerate() {
        let [sample, head] = [index / 40, index % 8 / 4];
        // queries of the second head
        let is_spoilt = sample == 1 && head == 1 && index / 8 % 5 == 2;
        assert_eq!(spoilt.is_nan(), is_spoilt, "element {index}");
        assert!(is_spoilt || *clean == spoilt, "element {index}");
    }
}

#[test]
fn recomputed_activations_have_the_same_gradients() {
    let gradient = |device: Device| {
        let x = Tensor::<3>::from_data(tensor([2, 7, 18], 6).into_data(), &device).require_grad();
        let y = self_attention((x.clone() * 1.5).exp(), 3, Visibility::Causal);
        let grads = twinflame_kernels::gelu(y).sum().backward();
        values(x.grad(&grads).unwrap())
    };
    let kept = gradient(Device::flex().autodiff());
    assert_eq!(kept, gradient(Device::flex().autodiff().gradient_checkpointing()));
}

#[test]
#[should_panic(expected = "20 columns do not divide into queries, keys and values of 2 heads")]
fn columns_that_do_not_divide_are_refused() {
    self_attention(tensor([1, 2, 20], 1), 2, Visibility::All);
}
