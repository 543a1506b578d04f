//! One step on the tape for each activation. It keeps the input and nothing else; where the device recomputes activations
//! (burn's gradient checkpointing), it can itself be recomputed, as burn's own activations are.

use std::fmt::Debug;
use std::marker::PhantomData;

use burn::backend::autodiff::{
    NodeId,
    checkpoint::{
        base::Checkpointer, retro_forward::RetroForward, state::BackwardStates, strategy::CheckpointStrategy,
    },
    grads::Gradients,
    ops::{Backward, Ops, OpsKind, unary},
};
use burn::backend::{Autodiff, Backend, tensor::FloatTensor};

use super::ActivationKernels;

/// A function of each element and its derivative.
trait Activation<B: Backend>: Debug + Send + Sync + 'static {
    fn forward(x: FloatTensor<B>) -> FloatTensor<B>;

    fn backward(x: FloatTensor<B>, grad: FloatTensor<B>) -> FloatTensor<B>;
}

#[derive(Debug)]
struct Gelu;

impl<B: ActivationKernels> Activation<B> for Gelu {
    fn forward(x: FloatTensor<B>) -> FloatTensor<B> {
        B::fused_gelu(x)
    }

    fn backward(x: FloatTensor<B>, grad: FloatTensor<B>) -> FloatTensor<B> {
        B::fused_gelu_backward(x, grad)
    }
}

#[derive(Debug)]
struct QuickGelu;

impl<B: ActivationKernels> Activation<B> for QuickGelu {
    fn forward(x: FloatTensor<B>) -> FloatTensor<B> {
        B::fused_quick_gelu(x)
    }

    fn backward(x: FloatTensor<B>, grad: FloatTensor<B>) -> FloatTensor<B> {
        B::fused_quick_gelu_backward(x, grad)
    }
}

/// The backward pass of an activation.
#[derive(Debug)]
struct Step<A>(PhantomData<A>);

impl<B: Backend, A: Activation<B>> Backward<B, 1> for Step<A> {
    /// Where the tape keeps the input.
    type State = NodeId;

    fn backward(self, ops: Ops<NodeId, 1>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let x = checkpointer.retrieve_node_output(ops.state);
        unary::<B, _>(ops.parents, ops.node, grads, |grad| A::backward(x, grad));
    }
}

/// The forward pass once more, during the backward pass.
#[derive(Debug)]
struct Again<B, A> {
    input: NodeId,
    of: PhantomData<(B, A)>,
}

impl<B: Backend, A: Activation<B>> RetroForward for Again<B, A> {
    fn forward(&self, states: &mut BackwardStates, out_node: NodeId) {
        let x = states.get_state::<FloatTensor<B>>(&self.input);
        states.save(out_node, A::forward(x));
    }
}

fn record<B: Backend, C: CheckpointStrategy, A: Activation<B>>(
    x: FloatTensor<Autodiff<B, C>>,
) -> FloatTensor<Autodiff<B, C>> {
    let again = Again::<B, A> {
        input: x.id(),
        of: PhantomData,
    };
    let prepared = Backward::<B, 1>::prepare::<C>(Step::<A>(PhantomData), [x.node()])
        .memory_bound()
        .retro_forward(again)
        .parents([&x]);
    match prepared.stateful() {
        OpsKind::Tracked(mut prepared) => {
            let input = prepared.checkpoint(&x);
            prepared.finish(input, A::forward(x.into_primitive()))
        }
        OpsKind::UnTracked(prepared) => prepared.finish(A::forward(x.into_primitive())),
    }
}

/// The backward passes stay plain here: burn differentiates once.
impl<B: ActivationKernels, C: CheckpointStrategy> ActivationKernels for Autodiff<B, C> {
    fn fused_gelu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        record::<B, C, Gelu>(x)
    }

    fn fused_quick_gelu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        record::<B, C, QuickGelu>(x)
    }
}
