//! What the tests of kernels share.

#![allow(
    dead_code,
    reason = "every test is a program of its own, and not each of them uses all of this; the parity suite has it as well"
)]

use burn::tensor::{Device, Tensor, TensorData};

/// Epsilon of f32.
pub(crate) const F32: f64 = f32::EPSILON as f64;

/// Numbers in (-1, 1) that follow no pattern of a power of two.
pub(crate) fn tensor<const D: usize>(shape: [usize; D], seed: u64) -> Tensor<D> {
    let mut state = seed;
    let mut next = || {
        // Knuth's MMIX generator
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| next()).collect();
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

/// The elements in f64, which not every device has.
pub(crate) fn values<const D: usize>(x: Tensor<D>) -> Vec<f64> {
    let data = x.into_data().convert::<f64>();
    data.try_to_vec().expect("f64 is readable")
}

/// Compares tensors that are sums: errors are measured by the largest element, and by `floor` where all are small. `epsilon` is
/// that of the type, times what a case loses by its nature.
pub(crate) fn check(name: &str, found: &[f64], expected: &[f64], floor: f64, epsilon: f64) {
    assert_eq!(found.len(), expected.len(), "{name}: number of elements");
    let scale = expected
        .iter()
        .fold(floor, |largest: f64, value| largest.max(value.abs()));
    for (found, expected) in found.iter().zip(expected) {
        let error = (found - expected).abs() / (scale * epsilon);
        assert!(error < 32.0, "{name}: {found:e}, not {expected:e}: {error:.1} epsilon");
    }
}
