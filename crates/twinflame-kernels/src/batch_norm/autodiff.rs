//! One step on the tape. It keeps the input, the factor, two numbers for each channel, and the output where it was rectified.

use burn::backend::autodiff::{
    NodeId,
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::{Autodiff, AutodiffBackend, Backend, tensor::FloatTensor};

use super::{BatchNormKept, BatchNormKernel, BatchNormPasses};

/// Where the tape keeps `x` and `gamma`, and the rest of [`BatchNormKept`].
#[derive(Debug)]
struct State<B: Backend> {
    x: NodeId,
    gamma: NodeId,
    output: Option<FloatTensor<B>>,
    mean: FloatTensor<B>,
    inverse_std: FloatTensor<B>,
}

/// Not derived, which would ask for more of `B` than that its tensors can be cloned.
impl<B: Backend> Clone for State<B> {
    fn clone(&self) -> Self {
        Self {
            x: self.x,
            gamma: self.gamma,
            output: self.output.clone(),
            mean: self.mean.clone(),
            inverse_std: self.inverse_std.clone(),
        }
    }
}

impl<B: Backend> State<B> {
    fn kept(self, checkpointer: &mut Checkpointer) -> BatchNormKept<B> {
        BatchNormKept {
            x: checkpointer.retrieve_node_output(self.x),
            gamma: checkpointer.retrieve_node_output(self.gamma),
            output: self.output,
            mean: self.mean,
            inverse_std: self.inverse_std,
        }
    }
}

/// `x`, `gamma`, `beta`, shortcut. Without one its place holds `x` once more, which no gradient reaches by that way.
#[derive(Debug)]
struct Step {
    has_shortcut: bool,
}

impl<B: BatchNormPasses> Backward<B, 4> for Step {
    type State = State<B>;

    fn backward(self, ops: Ops<State<B>, 4>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let kept = ops.state.kept(checkpointer);
        let (found, of_shortcut) = B::batch_norm_backward(kept, grad, self.has_shortcut);
        for (parent, grad) in ops.parents.into_iter().zip(found.into_iter().chain(of_shortcut)) {
            if let Some(parent) = parent {
                grads.register::<B>(parent.id, grad);
            }
        }
    }
}

/// Output, mean and variance.
type Outputs<B> = (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>);

fn record<B: BatchNormPasses, C: CheckpointStrategy>(
    [x, gamma, beta]: [FloatTensor<Autodiff<B, C>>; 3],
    shortcut: Option<FloatTensor<Autodiff<B, C>>>,
    epsilon: f64,
    is_rectified: bool,
) -> Outputs<Autodiff<B, C>> {
    let fourth = shortcut.as_ref().unwrap_or(&x).node();
    let step = Step {
        has_shortcut: shortcut.is_some(),
    };
    let prepared = Backward::<B, 4>::prepare::<C>(step, [x.node(), gamma.node(), beta.node(), fourth]).compute_bound();
    let forward = |[x, gamma, beta]: [FloatTensor<Autodiff<B, C>>; 3],
                   shortcut: Option<FloatTensor<Autodiff<B, C>>>| {
        let [x, gamma, beta] = [x, gamma, beta].map(|tensor| tensor.into_primitive());
        let shortcut = shortcut.map(|tensor| tensor.into_primitive());
        B::batch_norm_forward(x, gamma, beta, shortcut, epsilon, is_rectified)
    };
    let (output, statistics) = match prepared.stateful() {
        OpsKind::Tracked(mut prepared) => {
            let [node_x, node_gamma] = [&x, &gamma].map(|tensor| prepared.checkpoint(tensor));
            let [output, mean, variance, inverse_std] = forward([x, gamma, beta], shortcut);
            let state = State {
                x: node_x,
                gamma: node_gamma,
                output: is_rectified.then(|| output.clone()),
                mean: mean.clone(),
                inverse_std,
            };
            (prepared.finish(state, output), [mean, variance])
        }
        OpsKind::UnTracked(prepared) => {
            let [output, mean, variance, _] = forward([x, gamma, beta], shortcut);
            (prepared.finish(output), [mean, variance])
        }
    };
    let [mean, variance] = statistics.map(Autodiff::<B, C>::from_inner);
    (output, mean, variance)
}

impl<B: BatchNormPasses + BatchNormKernel, C: CheckpointStrategy> BatchNormKernel for Autodiff<B, C> {
    fn fused_batch_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
        is_rectified: bool,
    ) -> Outputs<Self> {
        record::<B, C>([x, gamma, beta], None, epsilon, is_rectified)
    }

    fn fused_batch_norm_add(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        shortcut: FloatTensor<Self>,
        epsilon: f64,
    ) -> Outputs<Self> {
        record::<B, C>([x, gamma, beta], Some(shortcut), epsilon, true)
    }
}
