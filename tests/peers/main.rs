//! Do open_clip and transformers compute what Twinflame computes, from their weights and from exported ones?
//!
//! `.ci/run peers` installs them (`tests/peers/requirements.txt`, `weights.txt`) and runs this; TWINFLAME_PEERS_PYTHON says where they
//! are. Every test prints the errors that it found.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a panic is the report of a test"
)]
#![recursion_limit = "256"]

mod exported;
mod legacy;
mod minilm;
mod random;
mod recall;

use std::path::Path;
use std::process::Command;

use burn::tensor::{Device, Int, Tensor, TensorData};

/// Largest difference allowed, as a share of the largest value.
const TOLERANCE: f64 = 1e-5;

/// Where the tests compute.
fn device() -> Device {
    twinflame::device::select("cpu").unwrap().device
}

/// Runs a script of this folder; what it printed.
fn python(script: &str, argument: &Path) -> String {
    let python = std::env::var("TWINFLAME_PEERS_PYTHON").unwrap_or_else(|_| {
        panic!("TWINFLAME_PEERS_PYTHON is not set: run `.ci/run peers`, which installs the peers and sets it")
    });
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/peers");
    let output = Command::new(python)
        .arg(folder.join(script))
        .arg(argument)
        // Nothing is fetched: all weights are made here.
        .env("HF_HUB_OFFLINE", "1")
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// Tensors of a safetensors file by name: floats.
fn floats<const D: usize>(bytes: &[u8], name: &str) -> Tensor<D> {
    Tensor::from_data(data::<4, f32>(bytes, name, f32::from_le_bytes), &device())
}

/// Tensors of a safetensors file by name: 64-bit integers.
fn integers<const D: usize>(bytes: &[u8], name: &str) -> Tensor<D, Int> {
    Tensor::from_data(data::<8, i64>(bytes, name, i64::from_le_bytes), &device())
}

fn data<const SIZE: usize, T: burn::tensor::Element>(
    bytes: &[u8],
    name: &str,
    read: fn([u8; SIZE]) -> T,
) -> TensorData {
    let file = safetensors::SafeTensors::deserialize(bytes).unwrap();
    let view = file.tensor(name).unwrap();
    let values: Vec<T> = view
        .data()
        .as_chunks::<SIZE>()
        .0
        .iter()
        .map(|chunk| read(*chunk))
        .collect();
    TensorData::new(values, view.shape().to_vec())
}

/// Largest difference over the largest value of the second.
fn relative_error<const D: usize>(ours: Tensor<D>, theirs: Tensor<D>) -> f64 {
    let [ours, theirs] = [ours, theirs].map(|tensor| tensor.into_data().iter::<f64>().collect::<Vec<_>>());
    assert_eq!(ours.len(), theirs.len());
    let largest = theirs.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
    let difference = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs());
    // `max` would pass over a NaN.
    difference.fold(
        0.0,
        |worst: f64, value| if value > worst || value.is_nan() { value } else { worst },
    ) / largest
}
