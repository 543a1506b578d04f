//! Learning rate over steps: linear warm-up, then cosine, constant, or constant with a cool-down; and ALBEF's.

use std::f64::consts::PI;

use burn::{
    lr_scheduler::{LrScheduler, LrSchedulerRecord},
    optim::LearningRate,
};
use serde::{Deserialize, Serialize};

/// Shape of the learning rate after the warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScheduleKind {
    /// Half a cosine from the base rate to `min_lr` at the last step.
    #[default]
    Cosine,
    /// The base rate.
    Constant,
    /// The base rate, and a polynomial descent over the last steps ([`Cooldown`]).
    ConstantCooldown,
    /// What salesforce/ALBEF does ([`AlbefSchedule`]).
    Albef,
}

/// salesforce/ALBEF's schedule, which moves by epochs.
///
/// Its recipes say `warmup_epochs: 20`. That means 20 times `unit_steps` steps of the first epoch, in which the rate
/// climbs from `warmup_lr` in as many jumps, the first one after step 100. From the second epoch on the rate is constant
/// within an epoch, on half a cosine over all epochs that ends at `optim.min_lr`. A first epoch that is shorter than the
/// warm-up cuts it off.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AlbefSchedule {
    /// Rate of the first steps.
    pub warmup_lr: f64,
    /// Jumps of the warm-up: the reference's `warmup_epochs`.
    pub warmup_units: u64,
    /// Steps between two jumps.
    pub unit_steps: u64,
}

impl Default for AlbefSchedule {
    /// The reference's for pre-training.
    fn default() -> Self {
        Self {
            warmup_lr: 1e-5,
            warmup_units: 20,
            unit_steps: 100,
        }
    }
}

/// The last steps of [`ScheduleKind::ConstantCooldown`]: the part of the rate above `end_lr` shrinks by
/// `(1 - position / steps)^power`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cooldown {
    /// Number of steps, counted from the end of the run.
    pub steps: u64,
    /// Exponent; 1 is a straight line.
    #[serde(default = "linear")]
    pub power: f64,
    /// Rate that the descent aims at, one step after the last.
    #[serde(default)]
    pub end_lr: f64,
}

/// open_clip's default exponent.
fn linear() -> f64 {
    1.0
}

/// The learning rate of every step, set before the step.
///
/// open_clip's schedules: `base * (step + 1) / warmup` during the warm-up, then
/// `base * (1 + cos(pi * (step - warmup) / (total - warmup))) / 2`, which may end at a floor here; or the base rate, with
/// or without a cool-down. Or salesforce/ALBEF's.
///
/// burn's `Sequential` of `Linear` and `Cosine` gives the same numbers, but refuses a warm-up of one step or of the
/// whole run, and restores its counters through the default device, which may be one that is not there. This one
/// is a pure function of the step, so that it can also be asked about any other step.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// Rate at the end of the warm-up.
    pub base_lr: f64,
    /// Steps of the linear warm-up.
    pub warmup_steps: u64,
    /// Steps of the whole run, warm-up included.
    pub total_steps: u64,
    /// Shape after the warm-up.
    pub kind: ScheduleKind,
    /// Where the cosines end.
    pub min_lr: f64,
    /// The descent, where `kind` has one.
    pub cooldown: Option<Cooldown>,
    /// The warm-up of [`ScheduleKind::Albef`].
    pub albef: AlbefSchedule,
    /// Steps of an epoch, for [`ScheduleKind::Albef`].
    pub steps_per_epoch: u64,
    next_step: u64,
}

/// Key of the step counter in a scheduler record.
const STEP_KEY: &str = "step";

impl Schedule {
    /// A schedule that starts at step 0.
    #[must_use]
    pub fn new(base_lr: f64, warmup_steps: u64, total_steps: u64, kind: ScheduleKind) -> Self {
        Self {
            base_lr,
            warmup_steps,
            total_steps,
            kind,
            min_lr: 0.0,
            cooldown: None,
            albef: AlbefSchedule::default(),
            steps_per_epoch: total_steps.max(1),
            next_step: 0,
        }
    }

    /// With the last steps of [`ScheduleKind::ConstantCooldown`].
    #[must_use]
    pub fn with_cooldown(mut self, cooldown: Option<Cooldown>) -> Self {
        self.cooldown = cooldown;
        self
    }

    /// With cosines that end at this rate.
    #[must_use]
    pub fn with_min_lr(mut self, min_lr: f64) -> Self {
        self.min_lr = min_lr;
        self
    }

    /// With the epochs that [`ScheduleKind::Albef`] moves by.
    #[must_use]
    pub fn with_albef(mut self, albef: AlbefSchedule, steps_per_epoch: u64) -> Self {
        self.albef = albef;
        self.steps_per_epoch = steps_per_epoch.max(1);
        self
    }

    /// The rate of one step, counted from 0. After the last step a cosine stays where it ended.
    #[must_use]
    pub fn at(&self, step: u64) -> f64 {
        if self.kind == ScheduleKind::Albef {
            return self.by_epoch(step);
        }
        if step < self.warmup_steps {
            return self.base_lr * (step + 1) as f64 / self.warmup_steps as f64;
        }
        match self.kind {
            ScheduleKind::Constant | ScheduleKind::Albef => self.base_lr,
            ScheduleKind::ConstantCooldown => self.cooled_down(step),
            ScheduleKind::Cosine => {
                let length = self.total_steps.saturating_sub(self.warmup_steps).max(1);
                let position = (step - self.warmup_steps).min(length);
                self.cosine(position as f64 / length as f64)
            }
        }
    }

    /// Half a cosine, from the base rate at 0 to `min_lr` at 1.
    fn cosine(&self, position: f64) -> f64 {
        0.5 * (1.0 + (PI * position).cos()) * (self.base_lr - self.min_lr) + self.min_lr
    }

    fn by_epoch(&self, step: u64) -> f64 {
        let AlbefSchedule {
            warmup_lr,
            warmup_units,
            unit_steps,
        } = self.albef;
        let epoch = step / self.steps_per_epoch;
        let num_epochs = self.total_steps.div_ceil(self.steps_per_epoch);
        if epoch > 0 {
            return self.cosine(epoch.min(num_epochs) as f64 / num_epochs as f64);
        }
        // The reference sets the rate after a step, for the next one.
        let unit = (step.saturating_sub(1) / unit_steps.max(1)).min(warmup_units);
        match unit == warmup_units {
            true => self.base_lr,
            false => warmup_lr + unit as f64 * (self.base_lr - warmup_lr) / warmup_units as f64,
        }
    }

    fn cooled_down(&self, step: u64) -> f64 {
        let Some(Cooldown { steps, power, end_lr }) = self.cooldown else {
            return self.base_lr;
        };
        let start = self.total_steps.saturating_sub(steps);
        let position = step.saturating_sub(start).min(steps) as f64;
        let left = (1.0 - position / steps.max(1) as f64).powf(power);
        left * (self.base_lr - end_lr) + end_lr
    }

    /// The step whose rate [`LrScheduler::step`] gives next.
    #[must_use]
    pub fn next_step(&self) -> u64 {
        self.next_step
    }
}

impl LrScheduler for Schedule {
    fn step(&mut self) -> LearningRate {
        let lr = self.at(self.next_step);
        self.next_step += 1;
        lr
    }

    fn to_record(&self) -> LrSchedulerRecord {
        LrSchedulerRecord::new().with_scalar(STEP_KEY, self.next_step)
    }

    fn load_record(&mut self, record: LrSchedulerRecord) {
        if let Some(step) = record.scalar(STEP_KEY) {
            self.next_step = step;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(lr: f64, expected: f64) {
        assert!((lr - expected).abs() <= 1e-6 * expected, "{lr} is not {expected}");
    }

    #[test]
    fn reference_values_of_ten_thousand_steps() {
        let schedule = Schedule::new(5e-4, 2_000, 10_000, ScheduleKind::Cosine);
        close(schedule.at(0), 2.5e-7);
        close(schedule.at(999), 2.5e-4);
        close(schedule.at(1_999), 5e-4);
        close(schedule.at(2_000), 5e-4);
        close(schedule.at(4_000), 4.267_766_95e-4);
        close(schedule.at(6_000), 2.5e-4);
        close(schedule.at(8_000), 7.322_330_47e-5);
        close(schedule.at(9_999), 1.927_657e-11);
        assert_eq!(schedule.at(20_000), 0.0);
    }

    #[test]
    fn warm_up_of_the_whole_run_is_allowed() {
        let schedule = Schedule::new(1.0, 4, 4, ScheduleKind::Cosine);
        assert_eq!(schedule.at(0), 0.25);
        assert_eq!(schedule.at(3), 1.0);
    }

    #[test]
    fn stepping_follows_the_formula_and_resumes_from_a_record() {
        let mut straight = Schedule::new(1e-3, 2, 9, ScheduleKind::Cosine);
        let rates: Vec<f64> = (0..9).map(|_| straight.step()).collect();
        assert_eq!(rates, (0..9).map(|s| straight.at(s)).collect::<Vec<_>>());

        let mut first = Schedule::new(1e-3, 2, 9, ScheduleKind::Cosine);
        first.step();
        first.step();
        first.step();
        let mut resumed = Schedule::new(1e-3, 2, 9, ScheduleKind::Cosine);
        resumed.load_record(first.to_record());
        assert_eq!(resumed.next_step(), 3);
        assert_eq!(resumed.step(), rates[3]);
    }
}
