//! AdamW with the references' decay groups, and the learning-rate schedule, from one config.

use burn::{module::ParamGroup, optim::ModuleOptimizer, tensor::Device};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use twinflame_model::{
    Albef, Clip,
    weights::{NamedParam, ReferenceNames, named_params},
};

use crate::on_device::{FusedAdamW, OnDevice};
use crate::schedule::{AlbefSchedule, Cooldown, Schedule, ScheduleKind};

/// Optimiser and learning-rate schedule of a run (`[optim]` in a recipe).
///
/// Defaults are open_clip's, except for the warm-up: it has 10,000 steps, we have 10 % of the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptimConfig {
    /// Learning rate at the end of the warm-up.
    pub lr: f64,
    /// Decay of the first moment.
    pub beta_1: f64,
    /// Decay of the second moment. Default: CLIP's, 0.98 for a Vision Transformer and 0.999 for a
    /// ResNet; ALBEF's, 0.999.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beta_2: Option<f64>,
    /// Added to the root of the second moment. Default: 1e-6 for a CLIP with a Vision
    /// Transformer, else 1e-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epsilon: Option<f64>,
    /// Decoupled weight decay of matrices and kernels. Gains, biases and CLIP's `logit_scale` never decay; nor does CLIP's
    /// class embedding, but ALBEF's does, and so does its temperature.
    pub weight_decay: f64,
    /// Whether positional embeddings decay. They do in OpenAI's rule and in open_clip up to version 3,
    /// later open_clip exempts them. Default: true, as in version 3.3 that the tests compare with.
    pub decay_positional_embedding: bool,
    /// Steps of the linear warm-up. At most one of this and `warmup_fraction`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup_steps: Option<u64>,
    /// Share of all steps that is warm-up, 0 to 1. Default: 0.1, if `warmup_steps` is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup_fraction: Option<f64>,
    /// Learning rate after the warm-up.
    pub schedule: ScheduleKind,
    /// Where the schedules `cosine` and `albef` end. Default: 0.
    pub min_lr: f64,
    /// The warm-up of the schedule `albef`. Default: the reference's for pre-training.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub albef: Option<AlbefSchedule>,
    /// The last steps of the schedule `constant-cooldown`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cooldown: Option<Cooldown>,
}

/// Share of the run that is warm-up if the recipe does not say.
const WARMUP_FRACTION: f64 = 0.1;

impl Default for OptimConfig {
    fn default() -> Self {
        Self {
            lr: 5e-4,
            beta_1: 0.9,
            beta_2: None,
            epsilon: None,
            weight_decay: 0.2,
            decay_positional_embedding: true,
            warmup_steps: None,
            warmup_fraction: None,
            schedule: ScheduleKind::Cosine,
            min_lr: 0.0,
            albef: None,
            cooldown: None,
        }
    }
}

/// A value in `[optim]` that cannot be used.
#[derive(Debug, Error, PartialEq)]
pub enum OptimError {
    /// A number is outside its range.
    #[error("optim.{key} = {value} is out of range: it must be {allowed}")]
    OutOfRange {
        /// The field.
        key: &'static str,
        /// What was given.
        value: f64,
        /// What would be right.
        allowed: &'static str,
    },
    /// The warm-up is given twice.
    #[error("optim.warmup_steps = {steps} and optim.warmup_fraction = {fraction} exclude each other: keep one")]
    WarmupTwice {
        /// Given steps.
        steps: u64,
        /// Given share.
        fraction: f64,
    },
    /// The warm-up is longer than the run.
    #[error("optim.warmup_steps = {steps} is more than the {total} steps of the run")]
    WarmupTooLong {
        /// Given steps.
        steps: u64,
        /// Steps of the run.
        total: u64,
    },
    /// A cool-down without its schedule, or the schedule without a cool-down.
    #[error("optim.schedule = \"constant-cooldown\" and [optim.cooldown] go together: {missing}")]
    CooldownAlone {
        /// What to add.
        missing: &'static str,
    },
    /// ALBEF's warm-up without its schedule.
    #[error("[optim.albef] goes with optim.schedule = \"albef\": set the schedule, or remove the section")]
    AlbefAlone,
    /// The cool-down does not fit between the warm-up and the end.
    #[error(
        "optim.cooldown.steps = {steps} must be at least 1 and at most {most}, the steps of the run after the warm-up"
    )]
    CooldownLength {
        /// Given steps.
        steps: u64,
        /// Steps after the warm-up.
        most: u64,
    },
}

impl OptimConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// [`OptimError`] names the key, the value and what would be right.
    pub fn validate(&self) -> Result<(), OptimError> {
        let check = |key, value: f64, ok: bool, allowed| {
            if ok {
                Ok(())
            } else {
                Err(OptimError::OutOfRange { key, value, allowed })
            }
        };
        let beta = |key, value| check(key, value, (0.0..1.0).contains(&value), "in [0, 1)");
        let finite = |x: f64| x.is_finite() && x >= 0.0;
        check("lr", self.lr, finite(self.lr), "finite and at least 0")?;
        beta("beta_1", self.beta_1)?;
        beta("beta_2", self.beta_2.unwrap_or_default())?;
        let epsilon = self.epsilon.unwrap_or(1.0);
        check(
            "epsilon",
            epsilon,
            finite(epsilon) && epsilon > 0.0,
            "finite and above 0",
        )?;
        let decay = self.weight_decay;
        check("min_lr", self.min_lr, finite(self.min_lr), "finite and at least 0")?;
        check("weight_decay", decay, finite(decay), "finite and at least 0")?;
        let fraction = self.warmup_fraction.unwrap_or_default();
        let in_range = (0.0..=1.0).contains(&fraction);
        check("warmup_fraction", fraction, in_range, "in [0, 1]")?;
        self.validate_albef()?;
        let has_cooldown = self.schedule == ScheduleKind::ConstantCooldown;
        match &self.cooldown {
            Some(_) if !has_cooldown => {
                let missing = "set the schedule, or remove the section";
                return Err(OptimError::CooldownAlone { missing });
            }
            None if has_cooldown => {
                let missing = "add the section with `steps`, or set schedule = \"constant\"";
                return Err(OptimError::CooldownAlone { missing });
            }
            None => {}
            Some(Cooldown { power, end_lr, .. }) => {
                let (power, end_lr) = (*power, *end_lr);
                check(
                    "cooldown.power",
                    power,
                    finite(power) && power > 0.0,
                    "finite and above 0",
                )?;
                check("cooldown.end_lr", end_lr, finite(end_lr), "finite and at least 0")?;
            }
        }
        match (self.warmup_steps, self.warmup_fraction) {
            (Some(steps), Some(fraction)) => Err(OptimError::WarmupTwice { steps, fraction }),
            _ => Ok(()),
        }
    }

    /// ALBEF's schedule has a warm-up of its own, and no other has it.
    fn validate_albef(&self) -> Result<(), OptimError> {
        let is_albef = self.schedule == ScheduleKind::Albef;
        if self.albef.is_some() && !is_albef {
            return Err(OptimError::AlbefAlone);
        }
        let given = [
            ("warmup_steps", self.warmup_steps.map(|steps| steps as f64)),
            ("warmup_fraction", self.warmup_fraction),
        ];
        match given.into_iter().find_map(|(key, value)| Some((key, value?))) {
            Some((key, value)) if is_albef => Err(OptimError::OutOfRange {
                key,
                value,
                allowed: "left out with schedule = \"albef\", whose warm-up is in [optim.albef]",
            }),
            _ => Ok(()),
        }
    }

    /// The learning rate of a run of `total_steps` optimiser steps, `steps_per_epoch` in each epoch.
    ///
    /// # Errors
    /// If a value is invalid, or warm-up and cool-down are longer than the run.
    pub fn schedule(&self, total_steps: u64, steps_per_epoch: u64) -> Result<Schedule, OptimError> {
        self.validate()?;
        let warmup_steps = match self.warmup_steps {
            Some(steps) if steps > total_steps => {
                return Err(OptimError::WarmupTooLong {
                    steps,
                    total: total_steps,
                });
            }
            Some(steps) => steps,
            None if self.schedule == ScheduleKind::Albef => {
                let AlbefSchedule {
                    warmup_units,
                    unit_steps,
                    ..
                } = self.albef.unwrap_or_default();
                (warmup_units * unit_steps).min(steps_per_epoch)
            }
            None => {
                let fraction = self.warmup_fraction.unwrap_or(WARMUP_FRACTION);
                (fraction * total_steps as f64).round() as u64
            }
        };
        if let Some(Cooldown { steps, .. }) = self.cooldown {
            let most = total_steps - warmup_steps;
            if !(1..=most).contains(&steps) {
                return Err(OptimError::CooldownLength { steps, most });
            }
        }
        let schedule = Schedule::new(self.lr, warmup_steps, total_steps, self.schedule);
        Ok(schedule
            .with_min_lr(self.min_lr)
            .with_albef(self.albef.unwrap_or_default(), steps_per_epoch)
            .with_cooldown(self.cooldown))
    }
}

/// What a kind of model says about its optimiser.
pub trait Optimized: ReferenceNames {
    /// `beta_2` and `epsilon` if the recipe does not say.
    fn moment_defaults(&self) -> (f64, f64);

    /// Whether a parameter decays.
    fn decays(config: &OptimConfig, param: &NamedParam) -> bool;

    /// Where the parameters are.
    fn device(&self) -> Device;
}

impl Optimized for Clip {
    /// What CLIP was trained with, by the family of its image encoder: Radford et al. 2021, table 18; open_clip takes
    /// them from the name of the model.
    fn moment_defaults(&self) -> (f64, f64) {
        match self.num_patches() {
            Some(_) => (0.98, 1e-6),
            None => (0.999, 1e-8),
        }
    }

    /// open_clip's rule, on its names: no parameter of fewer than two dimensions, and none named after a norm, a bias or
    /// the scale.
    fn decays(config: &OptimConfig, param: &NamedParam) -> bool {
        let is_exempt = ["bn", "ln", "bias", "logit_scale"]
            .iter()
            .any(|part| param.name.contains(part));
        let is_positional = param.name.ends_with("positional_embedding");
        param.shape.len() >= 2 && !is_exempt && (config.decay_positional_embedding || !is_positional)
    }

    fn device(&self) -> Device {
        self.logit_scale.val().device()
    }
}

impl Optimized for Albef {
    /// PyTorch's, which the reference leaves as they are.
    fn moment_defaults(&self) -> (f64, f64) {
        (0.999, 1e-8)
    }

    /// salesforce/ALBEF's rule, on its names and shapes: no vector and no bias. The temperature, a number there, decays.
    fn decays(config: &OptimConfig, param: &NamedParam) -> bool {
        let rank = param.layout.reference_shape(&param.shape).len();
        let is_positional = param.name.ends_with("pos_embed") || param.name.ends_with("position_embeddings.weight");
        rank != 1 && !param.name.ends_with(".bias") && (config.decay_positional_embedding || !is_positional)
    }

    fn device(&self) -> Device {
        self.temp.val().device()
    }
}

/// AdamW for a task that holds `model`, in two groups: with and without decay.
///
/// Loshchilov and Hutter 2019, <https://arxiv.org/abs/1711.05101>. [`no_decay_paths`] lists the second group.
#[must_use]
pub fn adamw<M: Optimized>(config: &OptimConfig, model: &M) -> ModuleOptimizer {
    let (beta_2, epsilon) = model.moment_defaults();
    let adamw = FusedAdamW {
        beta_1: config.beta_1 as f32,
        beta_2: config.beta_2.unwrap_or(beta_2) as f32,
        epsilon: config.epsilon.unwrap_or(epsilon) as f32,
        weight_decay: config.weight_decay as f32,
    };
    let without_decay = FusedAdamW {
        weight_decay: 0.0,
        ..adamw.clone()
    };
    // By path and not by id: loading a checkpoint replaces the ids.
    let paths: Vec<String> = no_decay_paths(config, model)
        .into_iter()
        .map(|path| format!("{MODEL_FIELD}.{path}"))
        .collect();
    let device = model.device().without_autodiff();
    let on_device = |optimizer: FusedAdamW| OnDevice::new(optimizer, device.clone());
    // The last group that matches counts: burn's first one only has to be there.
    ModuleOptimizer::from(adamw.clone())
        .with_group(ParamGroup::all(), on_device(adamw), None)
        .with_group(ParamGroup::from_paths(paths), on_device(without_decay), None)
}

/// Field of the tasks that holds the trained model.
const MODEL_FIELD: &str = "model";

/// Paths within `model` of the parameters that do not decay.
#[must_use]
pub fn no_decay_paths<M: Optimized>(config: &OptimConfig, model: &M) -> Vec<String> {
    named_params(model)
        .into_iter()
        .filter(|param| !param.is_buffer && !M::decays(config, param))
        .map(|param| param.path)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warm_up_is_a_tenth_of_the_run_by_default() {
        let schedule = OptimConfig::default().schedule(2_400, 5).expect("valid");
        assert_eq!(schedule.warmup_steps, 240);
    }

    #[test]
    fn a_warm_up_longer_than_the_run_is_an_error() {
        let config = OptimConfig {
            warmup_steps: Some(11),
            ..OptimConfig::default()
        };
        assert_eq!(
            config.schedule(10, 5),
            Err(OptimError::WarmupTooLong { steps: 11, total: 10 })
        );
        assert_eq!(config.schedule(11, 5).expect("valid").warmup_steps, 11);
    }

    #[test]
    fn a_cooldown_needs_its_schedule_and_room() {
        let toml = "schedule = \"constant-cooldown\"\nwarmup_steps = 4\ncooldown = { steps = 6 }";
        let config: OptimConfig = toml::from_str(toml).expect("valid");
        let schedule = config.schedule(10, 5).expect("valid");
        assert_eq!(schedule.at(4), schedule.base_lr);
        assert!(matches!(
            config.schedule(9, 5),
            Err(OptimError::CooldownLength { steps: 6, most: 5 })
        ));
        let without = OptimConfig {
            cooldown: None,
            ..config.clone()
        };
        assert!(matches!(without.validate(), Err(OptimError::CooldownAlone { .. })));
        let unused = OptimConfig {
            schedule: ScheduleKind::Cosine,
            ..config
        };
        assert!(matches!(unused.validate(), Err(OptimError::CooldownAlone { .. })));
    }

    #[test]
    fn bad_values_are_named() {
        let config = OptimConfig {
            beta_2: Some(1.0),
            ..OptimConfig::default()
        };
        assert_eq!(
            config.validate().expect_err("beta_2 of 1").to_string(),
            "optim.beta_2 = 1 is out of range: it must be in [0, 1)"
        );
        let config = OptimConfig {
            warmup_steps: Some(3),
            warmup_fraction: Some(0.5),
            ..OptimConfig::default()
        };
        assert!(matches!(config.validate(), Err(OptimError::WarmupTwice { .. })));
    }
}
