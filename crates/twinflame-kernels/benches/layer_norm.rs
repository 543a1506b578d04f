//! Layer normalisation beside burn's own: `cargo bench -p twinflame-kernels --bench layer_norm`.
//!
//! On the widths and batches of a CLIP with a ViT-B/32 (width 768 and 512). A training step is the forward pass on a tape, and
//! the backward pass from a gradient of ones to the input and both parameters.

#![allow(clippy::unwrap_used, reason = "a benchmark may stop at once")]

use burn::tensor::{Device, Tensor, module};
use divan::{Bencher, counter::ItemsCount};
use twinflame_kernels::layer_norm;

fn main() {
    divan::main();
}

/// `[batch * tokens, width]` of the image and of the text tower.
const SHAPES: [[usize; 2]; 2] = [[16 * 50, 768], [32 * 77, 512]];

type Function = fn(Tensor<2>, Tensor<1>, Tensor<1>, f64) -> Tensor<2>;

fn burns(x: Tensor<2>, gamma: Tensor<1>, beta: Tensor<1>, epsilon: f64) -> Tensor<2> {
    module::layer_norm(x, gamma, Some(beta), epsilon)
}

fn input(shape: [usize; 2], device: &Device) -> (Tensor<2>, Tensor<1>, Tensor<1>) {
    let count = shape.iter().product::<usize>();
    let values: Vec<f32> = (0..count)
        .map(|i| (i * 7_919 % 10_007) as f32 / 1_251.0 - 4.0)
        .collect();
    (
        Tensor::<1>::from_floats(values.as_slice(), device).reshape(shape),
        Tensor::ones([shape[1]], device),
        Tensor::zeros([shape[1]], device),
    )
}

fn forward(bencher: Bencher<'_, '_>, shape: [usize; 2], function: Function) {
    let (x, gamma, beta) = input(shape, &Device::flex());
    bencher
        .counter(ItemsCount::new(shape[0] * shape[1]))
        .bench(|| function(x.clone(), gamma.clone(), beta.clone(), 1e-5));
}

fn step(bencher: Bencher<'_, '_>, shape: [usize; 2], function: Function) {
    let (x, gamma, beta) = input(shape, &Device::flex().autodiff());
    let (x, gamma, beta) = (x.require_grad(), gamma.require_grad(), beta.require_grad());
    bencher.counter(ItemsCount::new(shape[0] * shape[1])).bench(|| {
        let grads = function(x.clone(), gamma.clone(), beta.clone(), 1e-5).backward();
        (x.grad(&grads).unwrap(), gamma.grad(&grads), beta.grad(&grads))
    });
}

#[divan::bench(args = SHAPES)]
fn forward_kernel(bencher: Bencher<'_, '_>, shape: [usize; 2]) {
    forward(bencher, shape, layer_norm);
}

#[divan::bench(args = SHAPES)]
fn forward_burn(bencher: Bencher<'_, '_>, shape: [usize; 2]) {
    forward(bencher, shape, burns);
}

#[divan::bench(args = SHAPES)]
fn step_kernel(bencher: Bencher<'_, '_>, shape: [usize; 2]) {
    step(bencher, shape, layer_norm);
}

#[divan::bench(args = SHAPES)]
fn step_burn(bencher: Bencher<'_, '_>, shape: [usize; 2]) {
    step(bencher, shape, burns);
}
