//! One step on the tape. It keeps the input, the factor and two numbers for each row.

use burn::backend::autodiff::{
    NodeId,
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients as Tape,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::{Autodiff, Backend, tensor::FloatTensor};

use super::{Gradients, Kept, LayerNormKernel, LayerNormPasses, Normalised};

#[derive(Debug)]
struct Step;

/// Where the tape keeps `x` and `gamma`, and the statistics.
#[derive(Debug)]
struct State<B: Backend> {
    x: NodeId,
    gamma: NodeId,
    mean: FloatTensor<B>,
    inverse_std: FloatTensor<B>,
}

/// Not derived, which would ask for more of `B` than that its tensors can be cloned.
impl<B: Backend> Clone for State<B> {
    fn clone(&self) -> Self {
        Self {
            x: self.x,
            gamma: self.gamma,
            mean: self.mean.clone(),
            inverse_std: self.inverse_std.clone(),
        }
    }
}

impl<B: LayerNormPasses> Backward<B, 3> for Step {
    type State = State<B>;

    fn backward(self, ops: Ops<State<B>, 3>, grads: &mut Tape, checkpointer: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let kept = Kept {
            x: checkpointer.retrieve_node_output(ops.state.x),
            gamma: checkpointer.retrieve_node_output(ops.state.gamma),
            mean: ops.state.mean,
            inverse_std: ops.state.inverse_std,
        };
        let Gradients {
            of_x,
            of_gamma,
            of_beta,
        } = B::layer_norm_backward(kept, grad);
        for (parent, grad) in ops.parents.into_iter().zip([of_x, of_gamma, of_beta]) {
            if let Some(parent) = parent {
                grads.register::<B>(parent.id, grad);
            }
        }
    }
}

impl<B: LayerNormPasses + LayerNormKernel, C: CheckpointStrategy> LayerNormKernel for Autodiff<B, C> {
    fn fused_layer_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        let prepared = Backward::<B, 3>::prepare::<C>(Step, [x.node(), gamma.node(), beta.node()]).compute_bound();
        match prepared.stateful() {
            OpsKind::Tracked(mut prepared) => {
                let [node_x, node_gamma] = [&x, &gamma].map(|tensor| prepared.checkpoint(tensor));
                let Normalised {
                    output,
                    mean,
                    inverse_std,
                } = B::layer_norm_forward(
                    x.into_primitive(),
                    gamma.into_primitive(),
                    beta.into_primitive(),
                    epsilon,
                );
                let state = State {
                    x: node_x,
                    gamma: node_gamma,
                    mean,
                    inverse_std,
                };
                prepared.finish(state, output)
            }
            OpsKind::UnTracked(prepared) => {
                let output = B::fused_layer_norm(
                    x.into_primitive(),
                    gamma.into_primitive(),
                    beta.into_primitive(),
                    epsilon,
                );
                prepared.finish(output)
            }
        }
    }
}
