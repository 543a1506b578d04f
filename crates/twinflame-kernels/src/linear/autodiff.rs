//! One step on the tape, which keeps the input for the gradient of the weight, the weight for that of the input, and neither for
//! nothing.

use burn::backend::autodiff::{
    NodeId,
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::{Autodiff, tensor::FloatTensor};

use super::{LinearKernel, LinearPasses, WeightLayout};

#[derive(Debug)]
struct Step(WeightLayout);

/// Where the tape keeps `x` and `weight`.
#[derive(Clone, Debug)]
struct State {
    x: Option<NodeId>,
    weight: Option<NodeId>,
}

/// With a bias.
impl<B: LinearPasses> Backward<B, 3> for Step {
    type State = State;

    fn backward(self, ops: Ops<State, 3>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let [x, weight, bias] = ops.parents;
        let factors = [x, weight].map(|parent| parent.map(|node| node.id));
        self.factors::<B>(factors, ops.state, &grad, grads, checkpointer);
        if let Some(parent) = bias {
            grads.register::<B>(parent.id, B::linear_backward_bias(grad));
        }
    }
}

/// Without.
impl<B: LinearPasses> Backward<B, 2> for Step {
    type State = State;

    fn backward(self, ops: Ops<State, 2>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let factors = ops.parents.map(|parent| parent.map(|node| node.id));
        self.factors::<B>(factors, ops.state, &grad, grads, checkpointer);
    }
}

impl Step {
    /// The gradients of those of `x` and `weight` that want one.
    fn factors<B: LinearPasses>(
        self,
        [x, weight]: [Option<NodeId>; 2],
        state: State,
        grad: &FloatTensor<B>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let mut kept = |id: Option<NodeId>| id.map(|id| checkpointer.retrieve_node_output::<FloatTensor<B>>(id));
        let [kept_x, kept_weight] = [kept(state.x), kept(state.weight)];
        if let (Some(parent), Some(weight)) = (x, kept_weight) {
            grads.register::<B>(parent, B::linear_backward_x(weight, grad.clone(), self.0));
        }
        if let (Some(parent), Some(x)) = (weight, kept_x) {
            grads.register::<B>(parent, B::linear_backward_weight(x, grad.clone(), self.0));
        }
    }
}

impl<B: LinearPasses + LinearKernel, C: CheckpointStrategy> LinearKernel for Autodiff<B, C> {
    fn fused_linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        layout: WeightLayout,
    ) -> FloatTensor<Self> {
        let [is_x_tracked, is_weight_tracked] = [x.is_tracked(), weight.is_tracked()];
        let prepared =
            Backward::<B, 3>::prepare::<C>(Step(layout), [x.node(), weight.node(), bias.node()]).compute_bound();
        match prepared.stateful() {
            OpsKind::Tracked(mut prepared) => {
                let state = State {
                    x: is_weight_tracked.then(|| prepared.checkpoint(&x)),
                    weight: is_x_tracked.then(|| prepared.checkpoint(&weight)),
                };
                let [x, weight, bias] = [x, weight, bias].map(|tensor| tensor.into_primitive());
                let output = B::linear_forward(x, weight, bias, layout);
                prepared.finish(state, output)
            }
            OpsKind::UnTracked(prepared) => {
                let [x, weight, bias] = [x, weight, bias].map(|tensor| tensor.into_primitive());
                let output = B::fused_linear(x, weight, bias, layout);
                prepared.finish(output)
            }
        }
    }
    fn fused_matmul(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        let [is_x_tracked, is_weight_tracked] = [x.is_tracked(), weight.is_tracked()];
        let step = Step(WeightLayout::InputOutput);
        let prepared = Backward::<B, 2>::prepare::<C>(step, [x.node(), weight.node()]).compute_bound();
        match prepared.stateful() {
            OpsKind::Tracked(mut prepared) => {
                let state = State {
                    x: is_weight_tracked.then(|| prepared.checkpoint(&x)),
                    weight: is_x_tracked.then(|| prepared.checkpoint(&weight)),
                };
                let output = B::matmul_forward(x.into_primitive(), weight.into_primitive(), WeightLayout::InputOutput);
                prepared.finish(state, output)
            }
            OpsKind::UnTracked(prepared) => {
                prepared.finish(B::fused_matmul(x.into_primitive(), weight.into_primitive()))
            }
        }
    }
}
