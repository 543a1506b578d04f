//! The backends that the extension traits list.

use burn::backend::DispatchTensorKind;

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
