//! One step on the tape for a whole block.

use std::array;
use std::fmt::{self, Debug, Formatter};

use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::NoCheckpointing},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind, unary},
};
use burn::backend::{
    Autodiff, AutodiffBackend, Backend, BackendTensor, DispatchAutodiffContext, DispatchKindConversion, DispatchTensor,
    DispatchTensorKind, GradientCheckpointingStrategy, TensorMetadata, tensor::FloatTensor,
};
use burn::tensor::Shape;

/// A block that was computed on a tape of its own.
pub(super) struct Recorded {
    pub(super) output: DispatchTensor,
    /// One for each parent, in their order.
    pub(super) leaves: Vec<DispatchTensor>,
}

/// Computes a block on a tape of its own, in which the leaves are as deep as these numbers say.
pub(super) type Again = Box<dyn FnOnce(Vec<usize>) -> Recorded + Send>;

/// Puts an output on the tape of its parents; `again` says what it is made of when the backward pass gets there.
///
/// # Panics
///
/// If there are more than 64 parents, or the backend is none of those of [`is_listed`](crate::listed::is_listed).
pub(super) fn record(parents: Vec<DispatchTensor>, output: DispatchTensor, again: Again) -> DispatchTensor {
    match &output.kind {
        #[cfg(feature = "flex")]
        DispatchTensorKind::Flex(_) => record_on::<burn::backend::Flex>(parents, output, again),
        #[cfg(feature = "ndarray")]
        DispatchTensorKind::NdArray(_) => record_on::<burn::backend::NdArray>(parents, output, again),
        #[cfg(feature = "cube")]
        DispatchTensorKind::Cube(_) => record_on::<burn::backend::Cube>(parents, output, again),
        #[allow(unreachable_patterns, reason = "burn may have more backends compiled in, or none")]
        other => panic!("no block is recomputed on the backend of {other:?}"),
    }
}

/// The same tensor, so many steps deeper in its tape.
///
/// burn goes back through a tape by depth, and adds the gradients of a tensor up in that order. So a block's tape has to begin as
/// deep as the block is: what is done to its input comes before what is done to a parameter alone, such as a reshape, and a sum
/// of three gradients is rounded as it would be without recomputation.
///
/// # Panics
///
/// As [`record`].
pub(super) fn deepened(tensor: DispatchTensor, steps: usize) -> DispatchTensor {
    let DispatchTensorKind::Autodiff(kind) = &tensor.kind else {
        return tensor;
    };
    match &**kind {
        #[cfg(feature = "flex")]
        DispatchTensorKind::Flex(_) => deepened_on::<burn::backend::Flex>(tensor, steps),
        #[cfg(feature = "ndarray")]
        DispatchTensorKind::NdArray(_) => deepened_on::<burn::backend::NdArray>(tensor, steps),
        #[cfg(feature = "cube")]
        DispatchTensorKind::Cube(_) => deepened_on::<burn::backend::Cube>(tensor, steps),
        #[allow(unreachable_patterns, reason = "burn may have more backends compiled in, or none")]
        other => panic!("no block is recomputed on the backend of {other:?}"),
    }
}

fn record_on<B: Backend>(parents: Vec<DispatchTensor>, output: DispatchTensor, again: Again) -> DispatchTensor
where
    DispatchTensor: DispatchKindConversion<B> + DispatchKindConversion<Autodiff<B>>,
{
    let context = parents.first().map(|parent| parent.autodiff).unwrap_or_default();
    let parents: Vec<_> = parents.into_iter().map(on_tape::<B>).collect();
    let output = off_tape::<B>(output);
    let output = match parents.len() {
        0..=16 => put::<B, 16>(&parents, output, again),
        17..=32 => put::<B, 32>(&parents, output, again),
        33..=64 => put::<B, 64>(&parents, output, again),
        tracked => panic!("a block of {tracked} tracked tensors: at most 64 can be recomputed together"),
    };
    let mut output =
        <DispatchTensor as DispatchKindConversion<Autodiff<B>>>::from_backend(BackendTensor::Float(output));
    output.autodiff = context;
    output
}

/// A step of burn has a fixed number of parents; constants take the places that are left.
fn put<B: Backend, const N: usize>(
    parents: &[FloatTensor<Autodiff<B>>],
    output: FloatTensor<B>,
    again: Again,
) -> FloatTensor<Autodiff<B>>
where
    DispatchTensor: DispatchKindConversion<Autodiff<B>>,
{
    let constant = Autodiff::<B>::from_inner(output.clone());
    let nodes = array::from_fn(|index| parents.get(index).unwrap_or(&constant).node());
    let prepared = Backward::<B, N>::prepare::<NoCheckpointing>(Block(again), nodes).compute_bound();
    match prepared.stateful() {
        OpsKind::Tracked(prepared) => prepared.finish((), output),
        OpsKind::UnTracked(prepared) => prepared.finish(output),
    }
}

/// The backward pass of a block: forward with a tape, and back.
struct Block(Again);

impl Debug for Block {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str("Block")
    }
}

impl<B: Backend, const N: usize> Backward<B, N> for Block
where
    DispatchTensor: DispatchKindConversion<Autodiff<B>>,
{
    type State = ();

    fn backward(self, ops: Ops<(), N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let depths = ops.parents.iter().flatten().map(|parent| parent.order).collect();
        let Recorded { output, leaves } = (self.0)(depths);
        let output = on_tape::<B>(output);
        if !output.is_tracked() {
            return;
        }
        // burn lets a step of one tape run the backward pass of another: only the tape that it is on is locked.
        let mut own = Autodiff::<B>::backward(seeded::<B>(output, grad));
        for (parent, leaf) in ops.parents.into_iter().flatten().zip(leaves) {
            if let Some(grad) = Autodiff::<B>::grad_remove(&on_tape::<B>(leaf), &mut own) {
                grads.register::<B>(parent.id, grad);
            }
        }
    }
}

fn deepened_on<B: Backend>(tensor: DispatchTensor, steps: usize) -> DispatchTensor
where
    DispatchTensor: DispatchKindConversion<Autodiff<B>>,
{
    let deep = (0..steps).fold(on_tape::<B>(tensor), |tensor, _| {
        let prepared = Backward::<B, 1>::prepare::<NoCheckpointing>(Relay, [tensor.node()]).compute_bound();
        prepared.stateless(tensor.into_primitive())
    });
    <DispatchTensor as DispatchKindConversion<Autodiff<B>>>::from_backend(BackendTensor::Float(deep))
}

/// Hands the gradient on.
#[derive(Debug)]
struct Relay;

impl<B: Backend> Backward<B, 1> for Relay {
    type State = ();

    fn backward(self, ops: Ops<(), 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        unary::<B, _>(ops.parents, ops.node, grads, |grad| grad);
    }
}

/// A root whose backward pass starts with this gradient of `output`, where burn starts with ones.
fn seeded<B: Backend>(output: FloatTensor<Autodiff<B>>, grad: FloatTensor<B>) -> FloatTensor<Autodiff<B>> {
    let root = B::float_zeros(Shape::from(vec![1]), &grad.device(), grad.dtype().into());
    let prepared = Backward::<B, 1>::prepare::<NoCheckpointing>(Seed, [output.node()]).compute_bound();
    match prepared.stateful() {
        OpsKind::Tracked(prepared) => prepared.finish(grad, root),
        OpsKind::UnTracked(prepared) => prepared.finish(root),
    }
}

#[derive(Debug)]
struct Seed;

impl<B: Backend> Backward<B, 1> for Seed {
    type State = FloatTensor<B>;

    fn backward(self, ops: Ops<FloatTensor<B>, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [parent] = ops.parents;
        drop(grads.consume::<B>(&ops.node));
        if let Some(parent) = parent {
            grads.register::<B>(parent.id, ops.state);
        }
    }
}

fn on_tape<B: Backend>(mut tensor: DispatchTensor) -> FloatTensor<Autodiff<B>>
where
    DispatchTensor: DispatchKindConversion<Autodiff<B>>,
{
    // The strategy says how operations are put on the tape; what is on it is of one type.
    tensor.autodiff = DispatchAutodiffContext::Enabled(GradientCheckpointingStrategy::Disabled);
    match <DispatchTensor as DispatchKindConversion<Autodiff<B>>>::try_into_backend(tensor) {
        Ok(tensor) => tensor.float(),
        Err(message) => panic!("the tensors of a block are on one device: {message}"),
    }
}

fn off_tape<B: Backend>(tensor: DispatchTensor) -> FloatTensor<B>
where
    DispatchTensor: DispatchKindConversion<B>,
{
    match <DispatchTensor as DispatchKindConversion<B>>::try_into_backend(tensor) {
        Ok(tensor) => tensor.float(),
        Err(message) => panic!("the tensors of a block are on one device: {message}"),
    }
}
