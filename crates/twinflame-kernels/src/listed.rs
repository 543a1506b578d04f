//! The backends that the extension traits list.

use burn::backend::DispatchTensorKind;
#[cfg(feature = "flex")]
use burn::tensor::{DType, Tensor};

/// Whether the traits of this crate list the backend of a tensor. Calling one of them on another would panic.
pub(crate) fn is_listed(kind: &DispatchTensorKind) -> bool {
    match kind {
        #[cfg(feature = "flex")]
        DispatchTensorKind::Flex(_) => true,
        #[cfg(feature = "ndarray")]
        DispatchTensorKind::NdArray(_) => true,
        DispatchTensorKind::Autodiff(inner) => is_listed(inner),
        #[allow(unreachable_patterns, reason = "burn may have more backends compiled in, or none")]
        _ => false,
    }
}

/// Whether a block whose tensors are on this backend can be a step on the tape: its tape is to be named in the types.
pub(crate) fn is_recordable(kind: &DispatchTensorKind) -> bool {
    match kind {
        #[cfg(feature = "flex")]
        DispatchTensorKind::Flex(_) => true,
        #[cfg(feature = "ndarray")]
        DispatchTensorKind::NdArray(_) => true,
        #[cfg(any(feature = "wgpu", feature = "cuda", feature = "rocm"))]
        DispatchTensorKind::Cube(_) => true,
        DispatchTensorKind::Autodiff(inner) => is_recordable(inner),
        #[allow(unreachable_patterns, reason = "burn may have more backends compiled in, or none")]
        _ => false,
    }
}

/// Whether a tensor is on flex and in f32, on a tape or not.
#[cfg(feature = "flex")]
pub(crate) fn is_f32_on_flex<const D: usize>(x: &Tensor<D>) -> bool {
    fn is_flex(kind: &DispatchTensorKind) -> bool {
        match kind {
            DispatchTensorKind::Flex(_) => true,
            DispatchTensorKind::Autodiff(inner) => is_flex(inner),
            #[allow(unreachable_patterns, reason = "burn may have more backends compiled in")]
            _ => false,
        }
    }
    x.dtype() == DType::F32 && is_flex(&x.clone().into_dispatch().kind)
}
