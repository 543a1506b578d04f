//! GELU and QuickGELU beside burn's own: `cargo bench -p twinflame-kernels --bench activation`.
//!
//! On the widths and batches of a CLIP with a ViT-B/32 (`d_ff` 3,072 and 2,048). A training step is the forward pass on a
//! tape, and the backward pass from a gradient of ones.

#![allow(clippy::unwrap_used, reason = "a benchmark may stop at once")]

use burn::tensor::{Device, Tensor, activation};
use divan::{Bencher, counter::ItemsCount};
use twinflame_kernels::{gelu, quick_gelu};

fn main() {
    divan::main();
}

/// `[batch * tokens, d_ff]` of the image and of the text tower.
const SHAPES: [[usize; 2]; 2] = [[16 * 50, 3_072], [32 * 77, 2_048]];

fn input(shape: [usize; 2], device: &Device) -> Tensor<2> {
    let count = shape.iter().product::<usize>();
    let values: Vec<f32> = (0..count)
        .map(|i| (i * 7_919 % 10_007) as f32 / 1_251.0 - 4.0)
        .collect();
    Tensor::<1>::from_floats(values.as_slice(), device).reshape(shape)
}

fn forward(bencher: Bencher<'_, '_>, shape: [usize; 2], function: fn(Tensor<2>) -> Tensor<2>) {
    let x = input(shape, &Device::flex());
    bencher
        .counter(ItemsCount::new(shape[0] * shape[1]))
        .bench(|| function(x.clone()));
}

fn step(bencher: Bencher<'_, '_>, shape: [usize; 2], function: fn(Tensor<2>) -> Tensor<2>) {
    let x = input(shape, &Device::flex().autodiff()).require_grad();
    bencher
        .counter(ItemsCount::new(shape[0] * shape[1]))
        .bench(|| x.grad(&function(x.clone()).backward()).unwrap());
}

fn burns_quick_gelu(x: Tensor<2>) -> Tensor<2> {
    x.clone() * activation::sigmoid(x * 1.702)
}

#[divan::bench(args = SHAPES)]
fn gelu_forward_kernel(bencher: Bencher<'_, '_>, shape: [usize; 2]) {
    forward(bencher, shape, gelu);
}

#[divan::bench(args = SHAPES)]
fn gelu_forward_burn(bencher: Bencher<'_, '_>, shape: [usize; 2]) {
    forward(bencher, shape, activation::gelu);
}

#[divan::bench(args = SHAPES)]
fn gelu_step_kernel(bencher: Bencher<'_, '_>, shape: [usize; 2]) {
    step(bencher, shape, gelu);
}

#[divan::bench(args = SHAPES)]
fn gelu_step_burn(bencher: Bencher<'_, '_>, shape: [usize; 2]) {
    step(bencher, shape, activation::gelu);
}

#[divan::bench(args = SHAPES)]
fn quick_gelu_forward_kernel(bencher: Bencher<'_, '_>, shape: [usize; 2]) {
    forward(bencher, shape, quick_gelu);
}

#[divan::bench(args = SHAPES)]
fn quick_gelu_forward_burn(bencher: Bencher<'_, '_>, shape: [usize; 2]) {
    forward(bencher, shape, burns_quick_gelu);
}

#[divan::bench(args = SHAPES)]
fn quick_gelu_step_kernel(bencher: Bencher<'_, '_>, shape: [usize; 2]) {
    step(bencher, shape, quick_gelu);
}

#[divan::bench(args = SHAPES)]
fn quick_gelu_step_burn(bencher: Bencher<'_, '_>, shape: [usize; 2]) {
    step(bencher, shape, burns_quick_gelu);
}
