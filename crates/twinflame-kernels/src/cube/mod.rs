//! Kernels for cubecl: one source for CUDA, ROCm, Metal, Vulkan and WGSL.
//!
//! They use what every one of these has: shared memory and barriers, and neither planes nor atomics, so that a sum has one order
//! and a run gives the same bits again.

mod embedding;
mod layer_norm;
mod ops;

use burn::tensor::{DType, Shape};
use burn_cubecl::{
    cubecl::prelude::AddressType, kernel::into_contiguous, ops::numeric::empty_device_contiguous_dtype,
    tensor::CubeTensor,
};

pub use ops::CubeKernels;

/// Units that work on a row together: a power of two, which sums by halves need, and what every device has.
fn units_for(width: usize) -> usize {
    width.next_power_of_two().clamp(32, 256)
}

/// Elements one after another in the order of the shape.
fn dense<const N: usize>(tensors: [CubeTensor; N]) -> [CubeTensor; N] {
    tensors.map(into_contiguous)
}

/// Memory that a kernel is going to write, beside `x`.
fn empty_like(x: &CubeTensor, shape: impl Into<Shape>, dtype: DType) -> CubeTensor {
    empty_device_contiguous_dtype(x.client.clone(), x.device.clone(), shape.into(), dtype)
}

/// What indices into the largest of the tensors need.
fn address_type(tensors: &[&CubeTensor]) -> AddressType {
    let types = tensors.iter().map(|tensor| tensor.required_address_type());
    types.max().unwrap_or_default()
}
