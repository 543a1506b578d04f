//! The optimiser's part of a fixture.

use burn::{
    module::Module,
    optim::{GradientsParams, ModuleOptimizer},
};

use super::{Fixture, Steps, Tensors, VerifyError};
use crate::{
    grad_norm::clip_to,
    optim::{OptimConfig, Optimized, adamw},
};

/// How a fixture's steps are taken.
#[derive(Clone, Debug)]
pub(super) struct StepSettings {
    config: OptimConfig,
    max_norm: Option<f64>,
}

impl StepSettings {
    /// `None` for a fixture without optimiser.
    pub(super) fn of(fixture: &Fixture) -> Result<Option<Self>, VerifyError> {
        let max_norm = fixture.value("optimizer.grad_clip").as_f64();
        let config = fixture.optimizer()?;
        Ok(config.map(|config| Self { config, max_norm }))
    }

    pub(super) fn lr(&self) -> f64 {
        self.config.lr
    }

    /// An optimiser before its first step.
    pub(super) fn optimizer<M: Optimized>(&self, model: &M) -> ModuleOptimizer {
        adamw(&self.config, model)
    }

    /// The gradients that the optimiser gets.
    pub(super) fn clipped<M: Module>(&self, grads: GradientsParams, model: &M) -> GradientsParams {
        clip_to(grads, model, self.max_norm).0
    }

    /// What is needed to judge weights after steps with these gradients.
    pub(super) fn steps(&self, grads: Vec<Tensors>) -> Steps {
        Steps {
            lr: self.config.lr as f32,
            epsilon: self.config.epsilon.unwrap_or_default() as f32,
            grads,
        }
    }
}
