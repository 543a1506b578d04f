//! The kernels, with every operation of the plain twins in its order: the same bits.

use burn::backend::{Flex, TensorMetadata, tensor::FloatTensor};
use macerator::{AutoArch, Simd, WithSimd};
use rayon::prelude::*;

use super::{AdamWStep, OptimKernels};
use crate::flex::blocks::CHUNK;
use crate::flex::elementwise::{combine, values, with_owned};

type FlexTensor = FloatTensor<Flex>;

impl OptimKernels for Flex {
    fn fused_adamw(
        param: FlexTensor,
        grad: FlexTensor,
        first: FlexTensor,
        second: FlexTensor,
        step: AdamWStep,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        for other in [&grad, &first, &second] {
            assert_eq!(other.shape(), param.shape(), "AdamW takes tensors of one shape");
        }
        let grad = values(&grad);
        let (param, (first, second)) = with_owned(param, |param| {
            let (first, second) = with_owned(first, |first| {
                with_owned(second, |second| adamw(param, &grad, first, second, step)).0
            });
            (first, second)
        });
        (param, first, second)
    }

    fn fused_moving_average(average: FlexTensor, value: FlexTensor, decay: f64) -> FlexTensor {
        let [kept, taken] = [decay as f32, (1.0 - decay) as f32];
        combine(average, value, |average, value| average * kept + value * taken)
    }
}

fn adamw(param: &mut [f32], grad: &[f32], first: &mut [f32], second: &mut [f32], step: AdamWStep) {
    let moments = first.par_chunks_mut(CHUNK).zip(second.par_chunks_mut(CHUNK));
    let chunks = param.par_chunks_mut(CHUNK).zip(grad.par_chunks(CHUNK)).zip(moments);
    chunks.for_each(|((param, grad), (first, second))| {
        AutoArch::new().dispatch(AdamW {
            param,
            grad,
            first,
            second,
            step,
        });
    });
}

struct AdamW<'a> {
    param: &'a mut [f32],
    grad: &'a [f32],
    first: &'a mut [f32],
    second: &'a mut [f32],
    step: AdamWStep,
}

impl WithSimd for AdamW<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self) {
        let AdamWStep {
            lr,
            beta_1,
            beta_2,
            epsilon,
            ..
        } = self.step;
        let [correction_1, correction_2] = self.step.corrections();
        let [lr, kept] = [lr as f32, self.step.kept() as f32];
        let moments = self.first.iter_mut().zip(self.second);
        for ((param, &grad), (first, second)) in self.param.iter_mut().zip(self.grad).zip(moments) {
            *first = *first * beta_1 + grad * (1.0 - beta_1);
            *second = *second * beta_2 + grad * grad * (1.0 - beta_2);
            let delta = (*first / correction_1) / ((*second / correction_2).sqrt() + epsilon);
            *param = *param * kept - delta * lr;
        }
    }
}
