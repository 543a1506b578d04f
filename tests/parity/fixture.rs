//! Reading fixtures and comparing with them.

use burn::tensor::{Device, Int, Tensor, TensorData};
use twinflame::{
    model::Clip,
    train::verify::{Check, Fixture, OUTPUT_TOLERANCE, Tensors, clip},
};

/// A folder below `tests/fixtures`.
pub(crate) fn fixture(name: &str) -> Fixture {
    Fixture::open(&twinflame_tests::fixtures().join(name)).unwrap()
}

/// The model with a fixture's weights.
pub(crate) fn model(name: &str, device: &Device) -> Clip {
    clip::model(&fixture(name), device).unwrap()
}

/// Images and token ids.
pub(crate) fn inputs(name: &str, device: &Device) -> (Tensor<4>, Tensor<2, Int>) {
    let batch = clip::batch(&fixture(name), device).unwrap();
    (batch.images.pixels, batch.tokens)
}

/// Compares all that is in either with the other.
pub(crate) fn assert_agrees(check: &Check, golden: &Tensors) {
    let report = check.compare(golden);
    println!(
        "{}: {} tensors, worst {:?}",
        report.label, report.compared, report.worst
    );
    assert!(report.passed(), "{report:#?}");
    assert_eq!(check.tensors.len(), golden.len(), "{}", report.label);
}

pub(crate) fn assert_close(name: &str, actual: TensorData, expected: &TensorData) {
    let actual: Vec<f32> = actual.iter().collect();
    let expected: Vec<f32> = expected.iter().collect();
    assert_eq!(actual.len(), expected.len(), "{name}");
    let scale = expected.iter().fold(0.0f32, |max, v| max.max(v.abs()));
    let worst = actual
        .iter()
        .zip(&expected)
        .fold(0.0f32, |max, (a, b)| max.max((a - b).abs()));
    assert!(
        worst <= OUTPUT_TOLERANCE * scale,
        "{name}: off by {worst}, allowed {}",
        OUTPUT_TOLERANCE * scale
    );
}

pub(crate) fn floats(data: &TensorData) -> Vec<f32> {
    data.iter().collect()
}

pub(crate) fn scalar(tensor: Tensor<1>) -> f32 {
    tensor.try_to_vec_as::<f32>().unwrap()[0]
}
