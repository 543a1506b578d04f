//! A linear layer.

#[cfg(feature = "flex")]
mod autodiff;
#[cfg(feature = "flex")]
mod flex;

#[cfg(feature = "flex")]
use burn::backend::{Backend, Dispatch, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;

#[cfg(feature = "flex")]
use crate::listed::is_f32_on_flex;

/// How a weight lies in memory.
#[cfg(feature = "flex")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightLayout {
    /// `[d_input, d_output]`, as burn has it.
    InputOutput,
    /// `[d_output, d_input]`, as PyTorch has it, and as a table of embeddings that is used as an output layer.
    OutputInput,
}

/// Both passes of a linear layer for a backend without tape. Shapes as in [`linear`].
#[cfg(feature = "flex")]
pub trait LinearPasses: Backend {
    /// The output.
    fn linear_forward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        layout: WeightLayout,
    ) -> FloatTensor<Self>;

    /// The output without a bias.
    fn matmul_forward(x: FloatTensor<Self>, weight: FloatTensor<Self>, layout: WeightLayout) -> FloatTensor<Self>;

    /// The gradient of `x`, of that of the output.
    fn linear_backward_x(weight: FloatTensor<Self>, grad: FloatTensor<Self>, layout: WeightLayout)
    -> FloatTensor<Self>;

    /// The gradient of `weight`, of that of the output.
    fn linear_backward_weight(x: FloatTensor<Self>, grad: FloatTensor<Self>, layout: WeightLayout)
    -> FloatTensor<Self>;

    /// The gradient of `bias`, of that of the output.
    fn linear_backward_bias(grad: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// [`linear`] for a backend, with or without tape; see the documentation of the crate.
#[cfg(feature = "flex")]
#[backend_extension(Flex: cfg(feature = "flex"), Autodiff)]
pub trait LinearKernel: Backend {
    /// See [`linear`].
    fn fused_linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        layout: WeightLayout,
    ) -> FloatTensor<Self>;

    /// See [`matmul`].
    fn fused_matmul(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// `x weight + bias`.
///
/// # Shapes
///
/// - x: `[.., d_input]`
/// - weight: `[d_input, d_output]`
/// - bias: `[d_output]`
/// - output: `[.., d_output]`
///
/// # Panics
///
/// If the shapes do not fit.
pub fn linear<const D: usize>(x: Tensor<D>, weight: Tensor<2>, bias: Tensor<1>) -> Tensor<D> {
    #[cfg(feature = "flex")]
    if has_kernel(&x, &weight) {
        return by_kernel(x, weight, bias, WeightLayout::InputOutput);
    }
    burn::tensor::module::linear(x, weight, Some(bias))
}

/// `x weight' + bias`: [`linear`] by a weight that lies the other way round.
///
/// # Shapes
///
/// - x: `[.., d_input]`
/// - weight: `[d_output, d_input]`
/// - bias: `[d_output]`
/// - output: `[.., d_output]`
///
/// # Panics
///
/// If the shapes do not fit.
pub fn linear_transposed<const D: usize>(x: Tensor<D>, weight: Tensor<2>, bias: Tensor<1>) -> Tensor<D> {
    #[cfg(feature = "flex")]
    if has_kernel(&x, &weight) {
        return by_kernel(x, weight, bias, WeightLayout::OutputInput);
    }
    burn::tensor::module::linear(x, weight.transpose(), Some(bias))
}

/// `x weight`: [`linear`] without a bias.
///
/// # Shapes
///
/// - x: `[rows, d_input]`
/// - weight: `[d_input, d_output]`
/// - output: `[rows, d_output]`
///
/// # Panics
///
/// If the shapes do not fit.
pub fn matmul(x: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
    #[cfg(feature = "flex")]
    if has_kernel(&x, &weight) && weight.shape().num_elements() > 0 {
        let [[_, columns], [rows, _]] = [x.dims(), weight.dims()];
        assert_eq!(columns, rows, "the columns of the left are the rows of the right");
        return Tensor::from_dispatch(Dispatch::fused_matmul(x.into_dispatch(), weight.into_dispatch()));
    }
    x.matmul(weight)
}

#[cfg(feature = "flex")]
fn has_kernel<const D: usize>(x: &Tensor<D>, weight: &Tensor<2>) -> bool {
    is_f32_on_flex(x) && is_f32_on_flex(weight)
}

#[cfg(feature = "flex")]
fn by_kernel<const D: usize>(x: Tensor<D>, weight: Tensor<2>, bias: Tensor<1>, layout: WeightLayout) -> Tensor<D> {
    let [d_input, d_output] = layout.sizes(weight.dims());
    assert_eq!(
        x.dims()[D - 1],
        d_input,
        "a row of x and the weight's inputs are as many"
    );
    assert_eq!(bias.dims(), [d_output], "the bias and the weight's outputs are as many");
    let output = Dispatch::fused_linear(x.into_dispatch(), weight.into_dispatch(), bias.into_dispatch(), layout);
    Tensor::from_dispatch(output)
}

#[cfg(feature = "flex")]
impl WeightLayout {
    /// `d_input` and `d_output`, or back to the order in memory.
    fn sizes(self, [rows, columns]: [usize; 2]) -> [usize; 2] {
        match self {
            Self::InputOutput => [rows, columns],
            Self::OutputInput => [columns, rows],
        }
    }
}
