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

/// [`clip_global_norm`] where a limit is set; the norm is `None` where none is.
pub(crate) fn clip_to<M: Module>(
    grads: GradientsParams,
    module: &M,
    max_norm: Option<f64>,
) -> (GradientsParams, Option<Tensor<1>>) {
    match max_norm {
        Some(max_norm) => {
            let clipped = clip_global_norm(grads, module, max_norm);
            (clipped.grads, Some(clipped.norm))
        }
        None => (grads, None),
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

#[cfg(test)]
mod tests {
    use burn::{module::ParamId, tensor::Device};

    use super::*;

    #[derive(Module, Debug)]
    struct Pair {
        vector: Param<Tensor<1>>,
        matrix: Param<Tensor<2>>,
    }

    /// Gradients of global norm 13: (3, 4) and ((0, 12), (0, 0)).
    fn pair() -> (Pair, GradientsParams) {
        let device = Device::flex();
        let module = Pair {
            vector: Param::from_tensor(Tensor::zeros([2], &device)),
            matrix: Param::from_tensor(Tensor::zeros([2, 2], &device)),
        };
        let mut grads = GradientsParams::new();
        grads.register(module.vector.id, Tensor::<1>::from_floats([3.0, 4.0], &device));
        grads.register(
            module.matrix.id,
            Tensor::<2>::from_floats([[0.0, 12.0], [0.0, 0.0]], &device),
        );
        (module, grads)
    }

    fn clipped(max_norm: f64) -> (Vec<f32>, f32) {
        let (module, grads) = pair();
        let clipped = clip_global_norm(grads, &module, max_norm);
        let values = |id: ParamId| {
            clipped
                .grads
                .get::<1>(id)
                .expect("gradient")
                .try_to_vec_as()
                .expect("readable")
        };
        let mut all: Vec<f32> = values(module.vector.id);
        let matrix = clipped.grads.get::<2>(module.matrix.id).expect("gradient");
        all.extend(matrix.try_to_vec_as::<f32>().expect("readable"));
        (all, clipped.norm.into_scalar::<f32>())
    }

    #[test]
    fn a_long_gradient_is_scaled_as_a_whole() {
        let (grads, norm) = clipped(6.5);
        assert!((norm - 13.0).abs() < 1e-5, "{norm}");
        for (value, expected) in grads.iter().zip([1.5, 2.0, 0.0, 6.0, 0.0, 0.0]) {
            assert!((value - expected).abs() < 1e-5, "{value} is not {expected}");
        }
    }

    #[test]
    fn a_short_gradient_stays() {
        let (grads, norm) = clipped(14.0);
        assert!((norm - 13.0).abs() < 1e-5, "{norm}");
        assert_eq!(grads, [3.0, 4.0, 0.0, 12.0, 0.0, 0.0]);
    }
}
