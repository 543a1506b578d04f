//! One step on the tape, which keeps the numbers of the rows.

use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind, unary},
};
use burn::backend::{
    Autodiff, Backend, TensorMetadata,
    tensor::{FloatTensor, IntTensor},
};

use super::{EmbeddingKernel, EmbeddingPasses};

#[derive(Debug)]
struct Step;

#[derive(Debug)]
struct State<B: Backend> {
    rows: usize,
    ids: IntTensor<B>,
}

/// Not derived, which would ask for more of `B` than that its tensors can be cloned.
impl<B: Backend> Clone for State<B> {
    fn clone(&self) -> Self {
        Self {
            rows: self.rows,
            ids: self.ids.clone(),
        }
    }
}

impl<B: EmbeddingPasses> Backward<B, 1> for Step {
    type State = State<B>;

    fn backward(self, ops: Ops<State<B>, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let State { rows, ids } = ops.state;
        unary::<B, _>(ops.parents, ops.node, grads, |grad| {
            B::embedding_backward_weight(rows, ids, grad)
        });
    }
}

impl<B: EmbeddingPasses + EmbeddingKernel, C: CheckpointStrategy> EmbeddingKernel for Autodiff<B, C> {
    fn fused_embedding(weight: FloatTensor<Self>, ids: IntTensor<Self>) -> FloatTensor<Self> {
        let rows = weight.shape()[0];
        let prepared = Backward::<B, 1>::prepare::<C>(Step, [weight.node()]).compute_bound();
        match prepared.stateful() {
            OpsKind::Tracked(prepared) => {
                let output = B::embedding_forward(weight.into_primitive(), ids.clone());
                prepared.finish(State { rows, ids }, output)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(B::fused_embedding(weight.into_primitive(), ids)),
        }
    }
}
