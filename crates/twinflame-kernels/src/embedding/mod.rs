//! Rows of a table.

#[cfg(any(feature = "cube", feature = "flex"))]
mod autodiff;
#[cfg(feature = "cube")]
mod cube;
#[cfg(feature = "flex")]
mod flex;

#[cfg(any(feature = "cube", feature = "flex"))]
use burn::backend::{
    Backend, Dispatch, backend_extension,
    tensor::{FloatTensor, IntTensor},
};
use burn::tensor::{Int, Tensor};

/// Both passes of an embedding for a backend without tape. Shapes as in [`embedding`].
#[cfg(any(feature = "cube", feature = "flex"))]
pub trait EmbeddingPasses: Backend {
    /// The rows.
    fn embedding_forward(weight: FloatTensor<Self>, ids: IntTensor<Self>) -> FloatTensor<Self>;

    /// The gradient of a `weight` of so many rows, of that of the output.
    fn embedding_backward_weight(rows: usize, ids: IntTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// [`embedding`] for a backend, with or without tape; see the documentation of the crate.
#[cfg(any(feature = "cube", feature = "flex"))]
#[backend_extension(Cube: cfg(feature = "cube"), Flex: cfg(feature = "flex"), Autodiff)]
pub trait EmbeddingKernel: Backend {
    /// See [`embedding`].
    fn fused_embedding(weight: FloatTensor<Self>, ids: IntTensor<Self>) -> FloatTensor<Self>;
}

/// The rows of a table with these numbers.
///
/// # Shapes
///
/// - weight: `[rows, width]`
/// - ids: `[batch, tokens]`, each below `rows`
/// - output: `[batch, tokens, width]`
///
/// # Panics
///
/// If there is no row of a number; on a GPU the output is undefined instead.
pub fn embedding(weight: Tensor<2>, ids: Tensor<2, Int>) -> Tensor<3> {
    #[cfg(any(feature = "cube", feature = "flex"))]
    if has_kernel(&weight) {
        return Tensor::from_dispatch(Dispatch::fused_embedding(weight.into_dispatch(), ids.into_dispatch()));
    }
    burn::tensor::module::embedding(weight, ids)
}

/// The kernels of cubecl sum in f32.
#[cfg(any(feature = "cube", feature = "flex"))]
fn has_kernel(weight: &Tensor<2>) -> bool {
    #[cfg(feature = "cube")]
    if crate::listed::is_on_cube(weight) {
        return weight.dtype() != burn::tensor::DType::F64;
    }
    #[cfg(feature = "flex")]
    if crate::listed::is_f32_on_flex(weight) {
        return true;
    }
    false
}
