//! The backends that the extension traits list.

use burn::backend::DispatchTensorKind;
#[cfg(feature = "flex")]
use burn::tensor::DType;
#[cfg(any(feature = "cube", feature = "flex"))]
use burn::tensor::Tensor;

/// Whether the traits of this crate list the backend of a tensor. Calling one of them on another would panic.
pub(crate) fn is_listed(kind: &DispatchTensorKind) -> bool {
    match kind {
        #[cfg(feature = "cube")]
        DispatchTensorKind::Cube(_) => true,
        #[cfg(feature = "flex")]
        DispatchTensorKind::Flex(_) => true,
        #[cfg(feature = "ndarray")]
        DispatchTensorKind::NdArray(_) => true,
        DispatchTensorKind::Autodiff(inner) => is_listed(inner),
        #[allow(unreachable_patterns, reason = "burn may have more backends compiled in, or none")]
        _ => false,
    }
}

/// Whether a tensor is on flex and in f32, on a tape or not.
#[cfg(feature = "flex")]
pub(crate) fn is_f32_on_flex<const D: usize>(x: &Tensor<D>) -> bool {
    x.dtype() == DType::F32 && is_on(x, |kind| matches!(kind, DispatchTensorKind::Flex(_)))
}

/// Whether a tensor is on one of cubecl's backends, on a tape or not.
#[cfg(feature = "cube")]
pub(crate) fn is_on_cube<const D: usize>(x: &Tensor<D>) -> bool {
    is_on(x, |kind| matches!(kind, DispatchTensorKind::Cube(_)))
}

/// Looks under the tape.
#[cfg(any(feature = "cube", feature = "flex"))]
fn is_on<const D: usize>(x: &Tensor<D>, backend: impl Fn(&DispatchTensorKind) -> bool) -> bool {
    match x.clone().into_dispatch().kind {
        DispatchTensorKind::Autodiff(inner) => backend(&inner),
        kind => backend(&kind),
    }
}
