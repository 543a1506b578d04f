//! Clipping by the norm of all gradients together, on the device.

use burn::{
    module::{Module, ModuleVisitor, Param},
    optim::GradientsParams,
    tensor::Tensor,
};

/// Added to the norm before dividing, as PyTorch's `clip_grad_norm_` does.
const EPSILON: f64 = 1e-6;

/// Gradients whose global norm is at most the limit, and what the norm was.
#[derive(Debug)]
pub struct ClippedGradients {
    /// The gradients, all multiplied by the same factor of at most 1.
    pub grads: GradientsParams,
    /// `[1]`: the global norm before clipping.
    pub norm: Tensor<1>,
}

/// Scales the gradients of `module` down so that their global L2 norm is at most `max_norm`.
///
/// burn's own clipping takes the norm of each parameter by itself. Nothing is read back to the host.
///
/// Pascanu et al. 2013, <https://arxiv.org/abs/1211.5063>, algorithm 1.
///
/// # Panics
/// If no parameter of `module` has a gradient.
#[must_use]
pub fn clip_global_norm<M: Module>(grads: GradientsParams, module: &M, max_norm: f64) -> ClippedGradients {
    let mut squares = Squares {
        grads: &grads,
        sums: Vec::new(),
    };
    module.visit(&mut squares);
    let norm = Tensor::cat(squares.sums, 0).sum().sqrt();
    let factor = ((norm.clone() + EPSILON).recip() * max_norm).clamp_max(1.0);
    let mut scale = Scale { grads, factor };
    module.visit(&mut scale);
    ClippedGradients {
        grads: scale.grads,
        norm,
    }
}

struct Squares<'a> {
    grads: &'a GradientsParams,
    sums: Vec<Tensor<1>>,
}

impl ModuleVisitor for Squares<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(grad) = self.grads.get::<D>(param.id) {
            self.sums.push(grad.square().sum());
        }
    }
}

struct Scale {
    grads: GradientsParams,
    factor: Tensor<1>,
}

impl ModuleVisitor for Scale {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(grad) = self.grads.remove::<D>(param.id) {
            let factor = self.factor.clone().reshape([1; D]);
            self.grads.register(param.id, grad * factor);
        }
    }
}
