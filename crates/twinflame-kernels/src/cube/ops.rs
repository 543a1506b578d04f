//! What cubecl has kernels for, as a backend extension: where burn fuses operations, a kernel takes its turn among them.

#[cfg(feature = "fusion")]
use burn::backend::fusion::custom::TensorSpec;
use burn::backend::{
    Backend, backend_extension,
    tensor::{FloatTensor, IntTensor},
};
#[cfg(feature = "fusion")]
use burn::tensor::{DType, Shape};
use burn_cubecl::CubeBackend;

use super::{embedding, layer_norm};

/// Kernels for f32, f16 and bf16, which sum in f32.
#[backend_extension(Cube: cfg(feature = "cube"), Fusion: cfg(feature = "fusion"))]
pub trait CubeKernels: Backend {
    /// `x` normalised, and mean and reciprocal deviation of each row, in f32; shapes as in
    /// [`Normalised`](crate::Normalised).
    #[fusion(meta = |x, _, _, _| {
        let row = TensorSpec::new(rows_of(&x.shape), DType::F32);
        (x.clone(), row.clone(), row)
    })]
    fn cube_layer_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// The gradients of `x`, `gamma` and `beta`.
    #[fusion(meta = |x, gamma, _, _, _| (x.clone(), gamma.clone(), gamma.clone()))]
    fn cube_layer_norm_backward(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        inverse_std: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// The gradient of a table of so many rows.
    #[fusion(meta = |rows, _, grad| TensorSpec::new(table_of(*rows, &grad.shape), grad.dtype))]
    fn cube_embedding_backward(rows: usize, ids: IntTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// The shape of what there is one of in each row.
#[cfg(feature = "fusion")]
fn rows_of(shape: &Shape) -> Shape {
    let mut shape = shape.clone();
    let last = shape.num_dims() - 1;
    shape[last] = 1;
    shape
}

#[cfg(feature = "fusion")]
fn table_of(rows: usize, grad: &Shape) -> Shape {
    Shape::new([rows, grad[grad.num_dims() - 1]])
}

impl CubeKernels for CubeBackend {
    fn cube_layer_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        layer_norm::forward(x, gamma, beta, epsilon as f32)
    }

    fn cube_layer_norm_backward(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        inverse_std: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        layer_norm::backward(x, gamma, mean, inverse_std, grad)
    }

    fn cube_embedding_backward(rows: usize, ids: IntTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self> {
        embedding::backward(rows, ids, grad)
    }
}
