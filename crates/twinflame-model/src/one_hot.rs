//! Choosing by a product.

use burn::tensor::{Int, Tensor};

/// `[rows, columns]` indices below `classes` to `[rows, columns, classes]` with a single one each, in the type and on
/// the device of `like`.
///
/// Rows are chosen by a product with this and not by `select` or `gather`, whose gradient is a serial scatter on GPU
/// backends.
pub(crate) fn one_hot<const D: usize>(indices: Tensor<2, Int>, classes: usize, like: &Tensor<D>) -> Tensor<3> {
    let [rows, columns] = indices.dims();
    let dims = [rows, columns, classes];
    // In the integer type of `indices`: some backends do not mix two.
    let options = (&indices.device(), indices.dtype());
    let all = Tensor::<1, Int>::arange(0..classes as i64, options).reshape([1, 1, classes]);
    let hit = indices.reshape([rows, columns, 1]).expand(dims).equal(all.expand(dims));
    Tensor::zeros(dims, (&like.device().without_autodiff(), like.dtype())).mask_fill(hit, 1.0)
}
