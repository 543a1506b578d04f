//! The kernels for f32.

use std::borrow::Cow;

use burn::backend::{
    Flex, TensorMetadata,
    ops::IntTensorOps,
    tensor::{FloatTensor, IntTensor},
};
use burn::tensor::{DType, IntDType, Shape};
use rayon::prelude::*;

use super::{EmbeddingKernel, EmbeddingPasses};
use crate::flex::blocks::CHUNK;
use crate::flex::elementwise::{tensor, values};

type FlexTensor = FloatTensor<Flex>;

impl EmbeddingPasses for Flex {
    fn embedding_forward(weight: FlexTensor, ids: IntTensor<Self>) -> FlexTensor {
        let [_, width] = weight.shape().dims();
        let [batch, tokens] = ids.shape().dims();
        let (weight, ids) = (values(&weight), numbers(ids));
        let mut output = vec![0.0; ids.len() * width];
        let rows = (CHUNK / width).max(1);
        let chunks = output.par_chunks_mut(rows * width).zip(ids.par_chunks(rows));
        chunks.for_each(|(output, ids)| {
            for (output, &id) in output.chunks_exact_mut(width).zip(ids) {
                let start = id as usize * width;
                output.copy_from_slice(&weight[start..start + width]);
            }
        });
        tensor(output, Shape::from(vec![batch, tokens, width]))
    }

    /// Each thread adds to the rows of a part of the table, in the order of the batch: the same bits with any number of threads.
    fn embedding_backward_weight(rows: usize, ids: IntTensor<Self>, grad: FlexTensor) -> FlexTensor {
        let shape = grad.shape();
        let width = shape[shape.num_dims() - 1];
        let (grad, ids) = (values(&grad), numbers(ids));
        let mut output = vec![0.0; rows * width];
        let part = rows.div_ceil(rayon::current_num_threads()).max(1);
        output
            .par_chunks_mut(part * width)
            .enumerate()
            .for_each(|(index, output)| {
                let first = index * part;
                for (&id, grad) in ids.iter().zip(grad.chunks_exact(width)) {
                    let Some(start) = (id as usize).checked_sub(first).map(|row| row * width) else {
                        continue;
                    };
                    if let Some(row) = output.get_mut(start..start + width) {
                        for (sum, grad) in row.iter_mut().zip(grad) {
                            *sum += grad;
                        }
                    }
                }
            });
        tensor(output, Shape::from(vec![rows, width]))
    }
}

impl EmbeddingKernel for Flex {
    fn fused_embedding(weight: FlexTensor, ids: IntTensor<Self>) -> FlexTensor {
        Self::embedding_forward(weight, ids)
    }
}

/// The elements in the order of the shape.
fn numbers(ids: IntTensor<Flex>) -> Vec<i64> {
    let ids = match ids.dtype() {
        DType::I64 => ids,
        _ => Flex::int_cast(ids, IntDType::I64),
    };
    let ids = match ids.as_slice::<i64>() {
        Some(ids) => Cow::Borrowed(ids),
        None => Cow::Owned(ids.to_contiguous().storage::<i64>().to_vec()),
    };
    ids.into_owned()
}
