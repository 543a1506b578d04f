//! One step on the tape, which keeps queries, keys and values and nothing else: the backward pass computes the weights again.

use burn::backend::autodiff::{
    NodeId,
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind, unary},
};
use burn::backend::{Autodiff, tensor::FloatTensor};

use super::{AttentionKernel, AttentionPasses, Visibility};

#[derive(Debug)]
struct Step {
    n_heads: usize,
    visibility: Visibility,
}

impl<B: AttentionPasses> Backward<B, 1> for Step {
    /// Where the tape keeps the input.
    type State = NodeId;

    fn backward(self, ops: Ops<NodeId, 1>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let qkv = checkpointer.retrieve_node_output(ops.state);
        unary::<B, _>(ops.parents, ops.node, grads, |grad| {
            B::self_attention_backward(qkv, self.n_heads, self.visibility, grad)
        });
    }
}

impl<B: AttentionPasses + AttentionKernel, C: CheckpointStrategy> AttentionKernel for Autodiff<B, C> {
    fn fused_self_attention(qkv: FloatTensor<Self>, n_heads: usize, visibility: Visibility) -> FloatTensor<Self> {
        let prepared = Backward::<B, 1>::prepare::<C>(Step { n_heads, visibility }, [qkv.node()]).compute_bound();
        match prepared.stateful() {
            OpsKind::Tracked(mut prepared) => {
                let input = prepared.checkpoint(&qkv);
                let output = B::self_attention_forward(qkv.into_primitive(), n_heads, visibility);
                prepared.finish(input, output)
            }
            OpsKind::UnTracked(prepared) => {
                prepared.finish(B::fused_self_attention(qkv.into_primitive(), n_heads, visibility))
            }
        }
    }
}
