//! The kernels for f32.

use burn::backend::{Flex, TensorMetadata, tensor::FloatTensor};
use burn::tensor::Shape;

use super::{LinearKernel, LinearPasses, WeightLayout};
use crate::flex::elementwise::{tensor, values};
use crate::flex::{
    columns,
    gemm::{Matrix, product, product_and_bias},
};

type FlexTensor = FloatTensor<Flex>;

impl LinearPasses for Flex {
    fn linear_forward(x: FlexTensor, weight: FlexTensor, bias: FlexTensor, layout: WeightLayout) -> FlexTensor {
        let [d_input, d_output] = layout.sizes(weight.shape().dims());
        let (values_of_x, weight, bias) = (values(&x), values(&weight), values(&bias));
        let output = product_and_bias(
            Matrix::dense(&values_of_x, d_input),
            by_input(&weight, [d_input, d_output], layout),
            &bias,
        );
        tensor(output, with_last(&x, d_output))
    }

    fn matmul_forward(x: FlexTensor, weight: FlexTensor, layout: WeightLayout) -> FlexTensor {
        let [d_input, d_output] = layout.sizes(weight.shape().dims());
        let (values_of_x, weight) = (values(&x), values(&weight));
        let weight = by_input(&weight, [d_input, d_output], layout);
        let output = product(Matrix::dense(&values_of_x, d_input), weight);
        tensor(output, with_last(&x, d_output))
    }

    fn linear_backward_x(weight: FlexTensor, grad: FlexTensor, layout: WeightLayout) -> FlexTensor {
        let [d_input, d_output] = layout.sizes(weight.shape().dims());
        let (weight, values) = (values(&weight), values(&grad));
        let weight = by_input(&weight, [d_input, d_output], layout).transposed();
        tensor(
            product(Matrix::dense(&values, d_output), weight),
            with_last(&grad, d_input),
        )
    }

    fn linear_backward_weight(x: FlexTensor, grad: FlexTensor, layout: WeightLayout) -> FlexTensor {
        let [d_input, d_output] = [&x, &grad].map(last);
        let (x, grad) = (values(&x), values(&grad));
        let (x, grad) = (Matrix::dense(&x, d_input), Matrix::dense(&grad, d_output));
        let output = match layout {
            WeightLayout::InputOutput => product(x.transposed(), grad),
            WeightLayout::OutputInput => product(grad.transposed(), x),
        };
        tensor(output, Shape::from(layout.sizes([d_input, d_output]).to_vec()))
    }

    fn linear_backward_bias(grad: FlexTensor) -> FlexTensor {
        let d_output = last(&grad);
        tensor(columns::sum(&values(&grad), d_output), Shape::from(vec![d_output]))
    }
}

/// The same bits with and without a tape.
impl LinearKernel for Flex {
    fn fused_linear(x: FlexTensor, weight: FlexTensor, bias: FlexTensor, layout: WeightLayout) -> FlexTensor {
        Self::linear_forward(x, weight, bias, layout)
    }

    fn fused_matmul(x: FlexTensor, weight: FlexTensor) -> FlexTensor {
        Self::matmul_forward(x, weight, WeightLayout::InputOutput)
    }
}

/// The weight as `[d_input, d_output]`.
fn by_input(weight: &[f32], [d_input, d_output]: [usize; 2], layout: WeightLayout) -> Matrix<'_> {
    match layout {
        WeightLayout::InputOutput => Matrix::dense(weight, d_output),
        WeightLayout::OutputInput => Matrix::dense(weight, d_input).transposed(),
    }
}

fn last(x: &FlexTensor) -> usize {
    x.shape()[x.rank() - 1]
}

/// The shape with another last axis.
fn with_last(x: &FlexTensor, length: usize) -> Shape {
    let mut shape = x.shape().to_vec();
    shape.pop();
    shape.push(length);
    Shape::from(shape)
}
