//! Multi-head self-attention of a joint projection.

mod autodiff;
pub(crate) mod bodies;
#[cfg(feature = "flex")]
mod flex;

use burn::backend::{Backend, Dispatch, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;

use crate::{listed::is_listed, plain};

/// Which positions a query may look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// All of them.
    All,
    /// Its own and the earlier ones.
    Causal,
}

/// Both passes of self-attention for a backend without tape. Shapes as in [`self_attention`].
pub trait AttentionPasses: Backend {
    /// The output.
    fn self_attention_forward(qkv: FloatTensor<Self>, n_heads: usize, visibility: Visibility) -> FloatTensor<Self> {
        let bias = bodies::bias_of::<Self>(&qkv, visibility);
        bodies::forward::<Self>(qkv, n_heads, bias)
    }

    /// The gradient of `qkv`, of that of the output.
    fn self_attention_backward(
        qkv: FloatTensor<Self>,
        n_heads: usize,
        visibility: Visibility,
        grad: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let bias = bodies::bias_of::<Self>(&qkv, visibility);
        bodies::backward::<Self>(qkv, n_heads, bias, grad)
    }
}

/// [`self_attention`] for a backend, with or without tape; see the documentation of the crate.
#[backend_extension(Cube: cfg(feature = "cube"), Flex: cfg(feature = "flex"), NdArray: cfg(feature = "ndarray"), Autodiff)]
pub trait AttentionKernel: Backend {
    /// See [`self_attention`].
    #[cfg_attr(
        not(any(feature = "cube", feature = "flex", feature = "ndarray")),
        allow(
            unused_variables,
            reason = "with no backend in the list, the generated code drops it"
        )
    )]
    fn fused_self_attention(qkv: FloatTensor<Self>, n_heads: usize, visibility: Visibility) -> FloatTensor<Self> {
        let bias = bodies::bias_of::<Self>(&qkv, visibility);
        bodies::forward::<Self>(qkv, n_heads, bias)
    }
}

/// burn has kernels for the forward pass, and keeps nothing of it.
#[cfg(feature = "cube")]
mod on_cube {
    use burn::backend::{Cube, tensor::FloatTensor};

    use super::{AttentionKernel, AttentionPasses, Visibility, bodies};

    impl AttentionPasses for Cube {
        fn self_attention_forward(qkv: FloatTensor<Self>, n_heads: usize, visibility: Visibility) -> FloatTensor<Self> {
            bodies::by_burn::<Self>(qkv, n_heads, visibility)
        }
    }

    impl AttentionKernel for Cube {
        fn fused_self_attention(qkv: FloatTensor<Self>, n_heads: usize, visibility: Visibility) -> FloatTensor<Self> {
            Self::self_attention_forward(qkv, n_heads, visibility)
        }
    }
}

#[cfg(feature = "ndarray")]
mod on_ndarray {
    use burn::backend::NdArray;

    impl super::AttentionPasses for NdArray {}
    impl super::AttentionKernel for NdArray {}
}

/// Multi-head scaled dot-product self-attention: for every head, `softmax(q k' / sqrt(d_head)) v`.
///
/// Vaswani et al. 2017, <https://arxiv.org/abs/1706.03762>, section 3.2. Training keeps `qkv` and neither scores nor weights, which
/// the backward pass computes again (Dao et al. 2022, <https://arxiv.org/abs/2205.14135>, section 3.1).
///
/// # Shapes
///
/// - qkv: `[batch, tokens, 3 width]`: queries, keys and values, in that order; head `i` owns the `i`-th of `n_heads` equal slices of
///   each
/// - output: `[batch, tokens, width]`
///
/// # Panics
///
/// If the last axis of `qkv` is not a multiple of `3 n_heads`.
pub fn self_attention(qkv: Tensor<3>, n_heads: usize, visibility: Visibility) -> Tensor<3> {
    let [_, _, columns] = qkv.dims();
    assert!(
        columns > 0 && n_heads > 0 && columns % (3 * n_heads) == 0,
        "{columns} columns do not divide into queries, keys and values of {n_heads} heads"
    );
    let is_tracked = qkv.is_autodiff();
    let qkv = qkv.into_dispatch();
    if is_listed(&qkv.kind) {
        Tensor::from_dispatch(Dispatch::fused_self_attention(qkv, n_heads, visibility))
    } else if is_tracked {
        plain::self_attention(Tensor::from_dispatch(qkv), n_heads, visibility)
    } else {
        Tensor::from_dispatch(bodies::by_burn::<Dispatch>(qkv, n_heads, visibility))
    }
}
