//! Layer normalisation: a cube takes one row after the other, and a unit the same columns of each.

use burn::backend::{TensorMetadata, cubecl::dtype_to_storage_type, ops::FloatTensorOps};
use burn::tensor::{DType, Shape};
use burn_cubecl::{
    CubeBackend,
    cubecl::{self, prelude::*},
    tensor::CubeTensor,
};

use super::{address_type, dense, empty_like, units_for};

/// Cubes of the backward pass, each with sums of its own over its rows.
const PARTS: usize = 256;

/// The sum of each unit's value, for all of them.
#[cube]
fn sum_of_cube(value: f32, #[comptime] units: usize) -> f32 {
    let mut sums = Shared::<[f32]>::new_slice(units);
    let unit = UNIT_POS as usize;
    sums[unit] = value;
    sync_cube();
    let halvings = comptime![units.ilog2()];
    #[unroll]
    for halving in 0..halvings {
        let half = comptime![units >> (halving + 1)];
        if unit < half {
            let other = sums[unit + half];
            sums[unit] += other;
        }
        sync_cube();
    }
    let sum = sums[0];
    // Before the next sum is written here.
    sync_cube();
    sum
}

#[cube(launch, address_type = "dynamic")]
fn forward_kernel<F: Float, P: Float>(
    x: &Tensor<F>,
    gamma: &Tensor<P>,
    beta: &Tensor<P>,
    output: &mut Tensor<F>,
    mean: &mut Tensor<f32>,
    inverse_std: &mut Tensor<f32>,
    rows: usize,
    width: usize,
    epsilon: f32,
    #[comptime] units: usize,
    #[define(F, P)] _types: [ElemType; 2],
) {
    let unit = UNIT_POS as usize;
    let mut row = CUBE_POS;
    while row < rows {
        let start = row * width;
        let mut sum = f32::new(0.0);
        let mut column = unit;
        while column < width {
            sum += f32::cast_from(x[start + column]);
            column += units;
        }
        let row_mean = sum_of_cube(sum, units) / f32::cast_from(width);
        let mut squares = f32::new(0.0);
        let mut column = unit;
        while column < width {
            let centred = f32::cast_from(x[start + column]) - row_mean;
            squares += centred * centred;
            column += units;
        }
        let variance = sum_of_cube(squares, units) / f32::cast_from(width);
        let factor = 1.0 / (variance + epsilon).sqrt();
        let mut column = unit;
        while column < width {
            let normal = (f32::cast_from(x[start + column]) - row_mean) * factor;
            let scaled = normal * f32::cast_from(gamma[column]) + f32::cast_from(beta[column]);
            output[start + column] = F::cast_from(scaled);
            column += units;
        }
        if unit == 0 {
            mean[row] = row_mean;
            inverse_std[row] = factor;
        }
        row += CUBE_COUNT;
    }
}

#[cube(launch, address_type = "dynamic")]
fn backward_kernel<F: Float, P: Float>(
    x: &Tensor<F>,
    gamma: &Tensor<P>,
    mean: &Tensor<f32>,
    inverse_std: &Tensor<f32>,
    grad: &Tensor<F>,
    of_x: &mut Tensor<F>,
    of_gamma: &mut Tensor<f32>,
    of_beta: &mut Tensor<f32>,
    rows: usize,
    width: usize,
    #[comptime] units: usize,
    #[comptime] columns_of_unit: usize,
    #[define(F, P)] _types: [ElemType; 2],
) {
    let unit = UNIT_POS as usize;
    let mut sums_of_gamma = Array::<f32>::new(columns_of_unit);
    let mut sums_of_beta = Array::<f32>::new(columns_of_unit);
    for i in 0..columns_of_unit {
        sums_of_gamma[i] = 0.0;
        sums_of_beta[i] = 0.0;
    }
    let mut row = CUBE_POS;
    while row < rows {
        let start = row * width;
        let row_mean = mean[row];
        let factor = inverse_std[row];
        let mut along_mean = f32::new(0.0);
        let mut along_x = f32::new(0.0);
        for i in 0..columns_of_unit {
            let column = unit + i * units;
            if column < width {
                let of_output = f32::cast_from(grad[start + column]);
                let normal = (f32::cast_from(x[start + column]) - row_mean) * factor;
                let scaled = of_output * f32::cast_from(gamma[column]);
                along_mean += scaled;
                along_x += scaled * normal;
                sums_of_gamma[i] += of_output * normal;
                sums_of_beta[i] += of_output;
            }
        }
        let along_mean = sum_of_cube(along_mean, units) / f32::cast_from(width);
        let along_x = sum_of_cube(along_x, units) / f32::cast_from(width);
        for i in 0..columns_of_unit {
            let column = unit + i * units;
            if column < width {
                let normal = (f32::cast_from(x[start + column]) - row_mean) * factor;
                let scaled = f32::cast_from(grad[start + column]) * f32::cast_from(gamma[column]);
                of_x[start + column] = F::cast_from((scaled - along_mean - normal * along_x) * factor);
            }
        }
        row += CUBE_COUNT;
    }
    for i in 0..columns_of_unit {
        let column = unit + i * units;
        if column < width {
            of_gamma[CUBE_POS * width + column] = sums_of_gamma[i];
            of_beta[CUBE_POS * width + column] = sums_of_beta[i];
        }
    }
}

/// Rows and their length.
fn sizes(shape: &Shape) -> [usize; 2] {
    let width = shape[shape.num_dims() - 1];
    [shape.num_elements() / width, width]
}

/// The output, and the mean and the reciprocal deviation of each row.
pub(super) fn forward(
    x: CubeTensor,
    gamma: CubeTensor,
    beta: CubeTensor,
    epsilon: f32,
) -> (CubeTensor, CubeTensor, CubeTensor) {
    let [x, gamma, beta] = dense([x, gamma, beta]);
    let shape = x.shape();
    let [rows, width] = sizes(&shape);
    let mut of_rows = shape.clone();
    of_rows[shape.num_dims() - 1] = 1;
    let output = empty_like(&x, shape, x.dtype);
    let [mean, inverse_std] = [(); 2].map(|()| empty_like(&x, of_rows.clone(), DType::F32));
    if rows == 0 {
        return (output, mean, inverse_std);
    }
    let units = units_for(width);
    forward_kernel::launch(
        &x.client.clone(),
        CubeCount::new_1d(rows.min(u16::MAX as usize) as u32),
        CubeDim::new_1d(units as u32),
        address_type(&[&x]),
        x.clone().into_tensor_arg(),
        gamma.clone().into_tensor_arg(),
        beta.into_tensor_arg(),
        output.clone().into_tensor_arg(),
        mean.clone().into_tensor_arg(),
        inverse_std.clone().into_tensor_arg(),
        rows,
        width,
        epsilon,
        units,
        [x.dtype, gamma.dtype].map(dtype_to_storage_type),
    );
    (output, mean, inverse_std)
}

/// The gradients of `x`, `gamma` and `beta`.
pub(super) fn backward(
    x: CubeTensor,
    gamma: CubeTensor,
    mean: CubeTensor,
    inverse_std: CubeTensor,
    grad: CubeTensor,
) -> (CubeTensor, CubeTensor, CubeTensor) {
    let [x, gamma, mean, inverse_std, grad] = dense([x, gamma, mean, inverse_std, grad]);
    let [rows, width] = sizes(&x.shape());
    let parts = rows.clamp(1, PARTS);
    let of_x = empty_like(&x, x.shape(), x.dtype);
    let [of_gamma, of_beta] = [(); 2].map(|()| empty_like(&x, Shape::new([parts, width]), DType::F32));
    let units = units_for(width);
    backward_kernel::launch(
        &x.client.clone(),
        CubeCount::new_1d(parts as u32),
        CubeDim::new_1d(units as u32),
        address_type(&[&x, &of_gamma]),
        x.clone().into_tensor_arg(),
        gamma.clone().into_tensor_arg(),
        mean.into_tensor_arg(),
        inverse_std.into_tensor_arg(),
        grad.into_tensor_arg(),
        of_x.clone().into_tensor_arg(),
        of_gamma.clone().into_tensor_arg(),
        of_beta.clone().into_tensor_arg(),
        rows,
        width,
        units,
        width.div_ceil(units),
        [x.dtype, gamma.dtype].map(dtype_to_storage_type),
    );
    let [of_gamma, of_beta] = [of_gamma, of_beta].map(|parts| {
        let sum = CubeBackend::float_sum_dim(parts, 0);
        let sum = CubeBackend::float_reshape(sum, Shape::new([width]));
        match gamma.dtype {
            DType::F32 => sum,
            dtype => CubeBackend::float_cast(sum, dtype.into()),
        }
    });
    (of_x, of_gamma, of_beta)
}
