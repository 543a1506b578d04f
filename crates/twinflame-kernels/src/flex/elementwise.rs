//! Applies a function to every element, on vectors and threads.
//!
//! A function given here has to be `#[inline(always)]`, or it does not become vector code.

use std::borrow::Cow;
use std::mem::MaybeUninit;

use burn::backend::{Flex, TensorMetadata, tensor::FloatTensor};
use burn::tensor::{Shape, TensorData};
use macerator::{AutoArch, Simd, WithSimd};
use rayon::prelude::*;

use super::blocks::CHUNK;

type FlexTensor = FloatTensor<Flex>;

/// `function` of every element of an f32 tensor; in place if nobody else holds it.
pub(crate) fn map(mut x: FlexTensor, function: impl Fn(f32) -> f32 + Copy + Send + Sync) -> FlexTensor {
    if let Some(values) = owned_values(&mut x) {
        in_chunks(values, |values| AutoArch::new().dispatch(Map { values, function }));
        return x;
    }
    tensor(mapped(&values(&x), function), x.shape())
}

/// `function` of every element, in memory that is not zeroed first: zeros would be written by one thread, and take longer than the
/// function.
fn mapped(from: &[f32], function: impl Fn(f32) -> f32 + Copy + Send + Sync) -> Vec<f32> {
    let mut output = Vec::with_capacity(from.len());
    let chunks = output.spare_capacity_mut()[..from.len()].par_chunks_mut(CHUNK);
    chunks.zip(from.par_chunks(CHUNK)).for_each(|(to, from)| {
        AutoArch::new().dispatch(MapInto { to, from, function });
    });
    // SAFETY: the capacity is at least as many elements as `from` has, and each of them was written: both sides are cut into the
    // same chunks, of the same lengths.
    #[allow(unsafe_code, reason = "elements that are all written need not be zeros first")]
    unsafe {
        output.set_len(from.len());
    }
    output
}

/// Every element of `y` times `function` of that of `x`, both f32; in place of `y` if nobody else holds it.
///
/// # Panics
///
/// If the shapes differ.
pub(crate) fn scale_by(y: FlexTensor, x: FlexTensor, function: impl Fn(f32) -> f32 + Copy + Send + Sync) -> FlexTensor {
    combine(y, x, move |y, x| y * function(x))
}

/// `function` of every element of `y` and that of `x`, both f32; in place of `y` if nobody else holds it.
///
/// # Panics
///
/// If the shapes differ.
pub(crate) fn combine(
    y: FlexTensor,
    x: FlexTensor,
    function: impl Fn(f32, f32) -> f32 + Copy + Send + Sync,
) -> FlexTensor {
    assert_eq!(y.shape(), x.shape(), "elements are combined in pairs");
    let from = values(&x);
    let combine = |values: &mut [f32], from: &[f32]| AutoArch::new().dispatch(Combine { values, from, function });
    with_owned(y, |values| zip_in_chunks(values, &from, combine)).0
}

/// An f32 tensor after `work` on its elements in the order of the shape; in place if nobody else holds it.
pub(crate) fn with_owned<R>(mut x: FlexTensor, work: impl FnOnce(&mut [f32]) -> R) -> (FlexTensor, R) {
    if let Some(values) = owned_values(&mut x) {
        let result = work(values);
        return (x, result);
    }
    let mut copy = values(&x).into_owned();
    let result = work(&mut copy);
    (tensor(copy, x.shape()), result)
}

pub(crate) fn tensor(values: Vec<f32>, shape: Shape) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}

/// The elements of an f32 tensor in the order of the shape, copied only if they lie in another.
pub(crate) fn values(x: &FlexTensor) -> Cow<'_, [f32]> {
    match x.as_slice() {
        Some(values) => Cow::Borrowed(values),
        None => Cow::Owned(x.to_contiguous().storage().to_vec()),
    }
}

/// The elements in the order of the shape, if they are all of the memory that the tensor holds, and it alone.
fn owned_values(x: &mut FlexTensor) -> Option<&mut [f32]> {
    let whole = x.as_slice::<f32>()?.len() == x.storage::<f32>().len();
    if whole { x.try_storage_mut() } else { None }
}

fn in_chunks(values: &mut [f32], work: impl Fn(&mut [f32]) + Send + Sync) {
    // The calling thread does little work itself, at once.
    if values.len() <= CHUNK {
        work(values);
    } else {
        values.par_chunks_mut(CHUNK).for_each(work);
    }
}

fn zip_in_chunks(to: &mut [f32], from: &[f32], work: impl Fn(&mut [f32], &[f32]) + Sync) {
    if to.len() <= CHUNK {
        work(to, from);
    } else {
        let chunks = to.par_chunks_mut(CHUNK).zip(from.par_chunks(CHUNK));
        chunks.for_each(|(to, from)| work(to, from));
    }
}

/// `value = function(value)`.
struct Map<'a, F> {
    values: &'a mut [f32],
    function: F,
}

impl<F: Fn(f32) -> f32> WithSimd for Map<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self) {
        for value in self.values {
            *value = (self.function)(*value);
        }
    }
}

/// `to = function(from)`.
struct MapInto<'a, F> {
    to: &'a mut [MaybeUninit<f32>],
    from: &'a [f32],
    function: F,
}

impl<F: Fn(f32) -> f32> WithSimd for MapInto<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self) {
        for (to, &from) in self.to.iter_mut().zip(self.from) {
            to.write((self.function)(from));
        }
    }
}

/// `value = function(value, from)`.
struct Combine<'a, F> {
    values: &'a mut [f32],
    from: &'a [f32],
    function: F,
}

impl<F: Fn(f32, f32) -> f32> WithSimd for Combine<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self) {
        for (value, &from) in self.values.iter_mut().zip(self.from) {
            *value = (self.function)(*value, from);
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::backend::ops::FloatTensorOps;
    use burn::tensor::Slice;

    use super::*;

    /// A part of a tensor of which nobody holds the rest: its memory may be written over, and is longer than it.
    #[test]
    fn a_part_is_scaled_alone() {
        let whole = tensor((0..12).map(|i| i as f32).collect(), Shape::from(vec![4, 3]));
        let part = Flex::float_slice(whole, &[Slice::from(1..3), Slice::from(0..3)]);
        let factors = tensor((1..=6).map(|i| i as f32).collect(), Shape::from(vec![2, 3]));
        let scaled = scale_by(part, factors, |factor| factor);
        assert_eq!(&*values(&scaled), [3.0, 8.0, 15.0, 24.0, 35.0, 48.0]);
    }
}
