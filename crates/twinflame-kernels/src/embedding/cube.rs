//! burn's forward pass, and a kernel for the backward pass.

use burn::backend::{
    Cube,
    ops::ModuleOps,
    tensor::{FloatTensor, IntTensor},
};

use super::{EmbeddingKernel, EmbeddingPasses};
use crate::cube::CubeKernels;

impl EmbeddingPasses for Cube {
    fn embedding_forward(weight: FloatTensor<Self>, ids: IntTensor<Self>) -> FloatTensor<Self> {
        <Self as ModuleOps<Self>>::embedding(weight, ids)
    }

    fn embedding_backward_weight(rows: usize, ids: IntTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::cube_embedding_backward(rows, ids, grad)
    }
}

impl EmbeddingKernel for Cube {
    fn fused_embedding(weight: FloatTensor<Self>, ids: IntTensor<Self>) -> FloatTensor<Self> {
        Self::embedding_forward(weight, ids)
    }
}
