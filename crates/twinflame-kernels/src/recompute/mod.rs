//! Activation recomputation: a block of a network that keeps its inputs and nothing in between.

#[cfg_attr(
    not(any(feature = "cube", feature = "flex", feature = "ndarray")),
    allow(unused, reason = "without a backend, no block is a step on a tape")
)]
mod tape;

use std::vec::IntoIter;

use burn::backend::DispatchTensor;
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::Tensor;

use crate::listed::is_listed;
use tape::Recorded;

/// `forward(block, inputs)`, of which the tape keeps the inputs and the parameters only. The backward pass computes `forward` a
/// second time, with a tape of its own, and differentiates that.
///
/// Chen et al. 2016, <https://arxiv.org/abs/1604.06174>. Memory falls from all that the block keeps for its backward pass to its
/// inputs, and time rises by a forward pass.
///
/// Output and gradients are those of `forward(block, inputs)`, to the last bit where a backend computes the same twice. Only a
/// tensor that is two of the inputs, or a parameter that several blocks share and use more than once each, may have its gradients
/// added up in another order.
///
/// Where neither an input nor a parameter is tracked, or on a backend that the crate has no feature for, this is
/// `forward(block, inputs)`.
///
/// # Arguments
///
/// - `inputs`: everything else that a gradient has to go to. What `forward` captures is a constant.
/// - `forward`: computes the same whenever it is called, and changes nothing: no random numbers, no running statistics.
///
/// # Panics
///
/// If more than 64 inputs and parameters are tracked.
pub fn recomputed<M, const INPUTS: usize, const D: usize, const E: usize>(
    block: &M,
    inputs: [Tensor<D>; INPUTS],
    forward: impl Fn(&M, [Tensor<D>; INPUTS]) -> Tensor<E> + Send + 'static,
) -> Tensor<E>
where
    M: Module + 'static,
{
    let mut tracked = Tracked::default();
    inputs.iter().for_each(|input| tracked.see(input));
    block.visit(&mut tracked);
    let Tracked { flags, tensors } = tracked;
    if !tensors.first().is_some_and(|tensor| is_listed(&tensor.kind)) {
        return forward(block, inputs);
    }
    // Nothing of the outer tape may stay in the block that the tape keeps: it would keep itself.
    let block = block.clone().map(&mut WithoutTape);
    let inputs = inputs.map(Tensor::without_autodiff);
    let output = {
        // On a tape, though untracked, so that this is the computation that the backward pass repeats: without one, some
        // functions take another way to the same numbers, which rounds differently.
        let block = block.clone().map(&mut OnTape::constant());
        forward(&block, inputs.clone().map(Tensor::from_inner)).without_autodiff()
    };
    let again = move |depths| {
        let mut on_tape = OnTape::leaves(flags, depths);
        let inputs = inputs.map(|input| on_tape.lift(input));
        let block = block.map(&mut on_tape);
        Recorded {
            output: forward(&block, inputs).into_dispatch(),
            leaves: on_tape.leaves,
        }
    };
    Tensor::from_dispatch(tape::record(tensors, output.into_dispatch(), Box::new(again)))
}

/// Which of the tensors a gradient has to go to, in the order in which they were seen.
#[derive(Default)]
struct Tracked {
    flags: Vec<bool>,
    /// Those with a true flag.
    tensors: Vec<DispatchTensor>,
}

impl Tracked {
    fn see<const D: usize>(&mut self, tensor: &Tensor<D>) {
        self.flags.push(tensor.is_tracked());
        if tensor.is_tracked() {
            self.tensors.push(tensor.clone().into_dispatch());
        }
    }
}

impl ModuleVisitor for Tracked {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.see(&param.val());
    }
}

/// Takes the parameters of a module off their tape.
struct WithoutTape;

impl ModuleMapper for WithoutTape {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(Tensor::without_autodiff)
    }
}

/// Puts tensors on a new tape: as leaves that get a gradient, or as constants.
struct OnTape {
    flags: IntoIter<bool>,
    depths: IntoIter<usize>,
    /// Those that get a gradient.
    leaves: Vec<DispatchTensor>,
}

impl OnTape {
    fn constant() -> Self {
        Self::leaves(Vec::new(), Vec::new())
    }

    /// Those with a true flag become leaves, in the order in which they come, each with its depth.
    fn leaves(flags: Vec<bool>, depths: Vec<usize>) -> Self {
        Self {
            flags: flags.into_iter(),
            depths: depths.into_iter(),
            leaves: Vec::new(),
        }
    }

    fn lift<const D: usize>(&mut self, tensor: Tensor<D>) -> Tensor<D> {
        let tensor = Tensor::from_inner(tensor);
        if !self.flags.next().unwrap_or(false) {
            return tensor;
        }
        let leaf = tensor.require_grad().into_dispatch();
        self.leaves.push(leaf.clone());
        Tensor::from_dispatch(tape::deepened(leaf, self.depths.next().unwrap_or(0)))
    }
}

impl ModuleMapper for OnTape {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|tensor| self.lift(tensor))
    }
}
