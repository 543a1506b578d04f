//! The gradient of a table of embeddings.
//!
//! burn adds the rows of a gradient to the table one after the other, one unit for each column: of 4,096 captions that are
//! 300,000 additions in a line. Here words are summed side by side, and each word still in the order of the batch.

use burn::backend::TensorMetadata;
use burn::backend::cubecl::dtype_to_storage_type;
use burn::tensor::{DType, Shape};
use burn_cubecl::{
    cubecl::{self, prelude::*},
    tensor::CubeTensor,
};

use super::{address_type, dense, empty_like, units_for};

/// Tokens that one cube merges, words that one cube sums, and tokens that it looks at a time.
const TILE: usize = 64;

/// In place of a token's word where an earlier token of the same tile has the same, or there is no token.
const MERGED: u32 = u32::MAX;

/// Within each tile of tokens, the sum of the gradients of a word, at its first token there. `owners` is that word, and
/// [`MERGED`] for the others.
///
/// Words such as the padding's would keep the cube that owns them in [`sum_words`] busy long after all others are done.
#[cube(launch, address_type = "dynamic")]
fn merge_tile<F: Float, I: Int>(
    ids: &Tensor<I>,
    grad: &Tensor<F>,
    sums: &mut Tensor<f32>,
    owners: &mut Tensor<u32>,
    tokens: usize,
    width: usize,
    #[comptime] units: usize,
    #[define(F, I)] _types: [ElemType; 2],
) {
    let mut words = Shared::<[u32]>::new_slice(TILE);
    let first = CUBE_POS * TILE;
    let unit = UNIT_POS as usize;
    let mut at = unit;
    while at < TILE {
        let mut word = MERGED.runtime();
        if first + at < tokens {
            word = u32::cast_from(ids[first + at]);
        }
        words[at] = word;
        at += units;
    }
    sync_cube();
    for token in 0..TILE {
        let word = words[token];
        let mut is_first = word != MERGED.runtime();
        for earlier in 0..token {
            if words[earlier] == word {
                is_first = false;
            }
        }
        if is_first {
            let mut column = unit;
            while column < width {
                let mut sum = f32::new(0.0);
                for later in token..TILE {
                    if words[later] == word {
                        sum += f32::cast_from(grad[(first + later) * width + column]);
                    }
                }
                sums[(first + token) * width + column] = sum;
                column += units;
            }
        }
        if unit == 0 && first + token < tokens {
            let mut owner = MERGED.runtime();
            if is_first {
                owner = word;
            }
            owners[first + token] = owner;
        }
    }
}

/// Each cube owns [`TILE`] rows of the table, looks at all tokens, and adds what belongs to its rows.
#[cube(launch, address_type = "dynamic")]
fn sum_words(
    owners: &Tensor<u32>,
    sums: &Tensor<f32>,
    table: &mut Tensor<f32>,
    tokens: usize,
    rows: usize,
    width: usize,
    #[comptime] units: usize,
) {
    let mut words = Shared::<[u32]>::new_slice(units);
    let first_row = CUBE_POS * TILE;
    let unit = UNIT_POS as usize;
    let mut end_row = first_row + TILE;
    if end_row > rows {
        end_row = rows;
    }
    // A unit writes and reads the columns that are its own, so that these need no barrier.
    let mut row = first_row;
    while row < end_row {
        let mut column = unit;
        while column < width {
            table[row * width + column] = 0.0;
            column += units;
        }
        row += 1;
    }
    let mut first = 0usize.runtime();
    while first < tokens {
        let mut word = MERGED.runtime();
        if first + unit < tokens {
            word = owners[first + unit];
        }
        words[unit] = word;
        sync_cube();
        for token in 0..units {
            let row = words[token] as usize;
            if row >= first_row && row < end_row {
                let mut column = unit;
                while column < width {
                    table[row * width + column] += sums[(first + token) * width + column];
                    column += units;
                }
            }
        }
        sync_cube();
        first += units;
    }
}

/// `[rows, width]`, of ids of any shape and `grad`, `[.., width]`.
pub(super) fn backward(rows: usize, ids: CubeTensor, grad: CubeTensor) -> CubeTensor {
    let [ids, grad] = dense([ids, grad]);
    let shape = grad.shape();
    let width = shape[shape.num_dims() - 1];
    let tokens = ids.shape().num_elements();
    let client = grad.client.clone();
    let units = units_for(width);
    let sums = empty_like(&grad, Shape::new([tokens.max(1), width]), DType::F32);
    let owners = empty_like(&grad, Shape::new([tokens.max(1)]), DType::U32);
    let table = empty_like(&grad, Shape::new([rows, width]), DType::F32);
    let types = [grad.dtype, ids.dtype].map(dtype_to_storage_type);
    let indices = address_type(&[&grad, &ids, &sums, &table]);
    let dtype = grad.dtype;
    let count = |of: usize| {
        cubecl::calculate_cube_count_elemwise(&client, of.div_ceil(TILE) * units, CubeDim::new_1d(units as u32))
    };
    merge_tile::launch(
        &client,
        count(tokens),
        CubeDim::new_1d(units as u32),
        indices,
        ids.into_tensor_arg(),
        grad.into_tensor_arg(),
        sums.clone().into_tensor_arg(),
        owners.clone().into_tensor_arg(),
        tokens,
        width,
        units,
        types,
    );
    sum_words::launch(
        &client,
        count(rows),
        CubeDim::new_1d(units as u32),
        indices,
        owners.into_tensor_arg(),
        sums.into_tensor_arg(),
        table.clone().into_tensor_arg(),
        tokens,
        rows,
        width,
        units,
    );
    match dtype {
        DType::F32 => table,
        _ => burn_cubecl::kernel::cast(table, dtype),
    }
}
