//! Learning rates, which are in the configuration itself.

use serde_json::{Value, json};

use super::{
    Fixture, VerifyError,
    compare::{Difference, FileReport},
    fixture::CONFIG,
};
use crate::schedule::{AlbefSchedule, Cooldown, Schedule, ScheduleKind};

/// Largest difference of a learning rate, over the rate; all of this is in f64.
const TOLERANCE: f64 = 1e-12;

/// More steps than any schedule has; what a fixture may make us compute.
const MAX_STEPS: u64 = 100_000_000;

/// Computes every schedule: what comparing shows, and the configuration with the computed rates.
///
/// # Errors
/// If a schedule is not one that there is.
pub(super) fn checks(fixture: &Fixture) -> Result<(FileReport, Value), VerifyError> {
    let mut report = FileReport::new(CONFIG);
    let mut config = fixture.config().clone();
    for (index, _) in fixture.list("open_clip")?.iter().enumerate() {
        let case = Case {
            fixture,
            key: format!("open_clip.{index}"),
        };
        let schedule = case.open_clip()?;
        let expected = case.numbers("lr")?;
        let lr: Vec<f64> = (0..expected.len() as u64).map(|step| schedule.at(step)).collect();
        report.add(&format!("{}.lr", case.key), difference(&lr, &expected));
        config["open_clip"][index]["lr"] = json!(lr);
    }
    for (index, _) in fixture.list("albef")?.iter().enumerate() {
        let case = Case {
            fixture,
            key: format!("albef.{index}"),
        };
        let (schedule, steps) = case.albef()?;
        let changes = changes(&schedule, steps);
        let key = "lr_changes_epoch_iter_lr";
        report.add(
            &format!("{}.{key}", case.key),
            case.difference_of_changes(key, &changes)?,
        );
        config["albef"][index][key] = json!(changes);
    }
    Ok((report, config))
}

/// One schedule of a fixture.
struct Case<'a> {
    fixture: &'a Fixture,
    key: String,
}

impl Case<'_> {
    fn key(&self, key: &str) -> String {
        format!("{}.{key}", self.key)
    }

    fn number(&self, key: &str) -> Result<f64, VerifyError> {
        self.fixture.number(&self.key(key))
    }

    fn count(&self, key: &str) -> Result<u64, VerifyError> {
        let key = self.key(key);
        let count = self.fixture.value(&key).as_u64().filter(|count| *count <= MAX_STEPS);
        count.ok_or_else(|| self.fixture.wrong(&key, "a whole number of at most 100,000,000"))
    }

    fn numbers(&self, key: &str) -> Result<Vec<f64>, VerifyError> {
        let key = self.key(key);
        let list = self.fixture.list(&key)?.iter().map(Value::as_f64).collect();
        let list: Option<Vec<f64>> = list;
        list.ok_or_else(|| self.fixture.wrong(&key, "a list of numbers"))
    }

    fn open_clip(&self) -> Result<Schedule, VerifyError> {
        let kind = match self.fixture.value(&self.key("kind")).as_str() {
            Some("cosine_lr") => ScheduleKind::Cosine,
            Some("const_lr") => ScheduleKind::Constant,
            Some("const_lr_cooldown") => ScheduleKind::ConstantCooldown,
            _ => {
                let expected = "\"cosine_lr\", \"const_lr\" or \"const_lr_cooldown\"";
                return Err(self.fixture.wrong(&self.key("kind"), expected));
            }
        };
        let cooldown = match kind {
            ScheduleKind::ConstantCooldown => Some(Cooldown {
                steps: self.count("cooldown_steps")?,
                power: self.number("power")?,
                end_lr: self.number("end_lr")?,
            }),
            _ => None,
        };
        let schedule = Schedule::new(
            self.number("base_lr")?,
            self.count("warmup")?,
            self.count("steps")?,
            kind,
        );
        Ok(schedule.with_cooldown(cooldown))
    }

    /// The schedule and its number of steps.
    fn albef(&self) -> Result<(Schedule, u64), VerifyError> {
        let per_epoch = self.count("iterations_per_epoch")?;
        let albef = AlbefSchedule {
            warmup_lr: self.number("schedule.warmup_lr")?,
            warmup_units: self.count("schedule.warmup_epochs")?,
            unit_steps: self.count("step_size")?.max(1),
        };
        let total = self.count("schedule.epochs")?.saturating_mul(per_epoch).min(MAX_STEPS);
        let schedule = Schedule::new(self.number("schedule.lr")?, 0, total, ScheduleKind::Albef);
        let min_lr = self.number("schedule.min_lr")?;
        Ok((schedule.with_min_lr(min_lr).with_albef(albef, per_epoch), total))
    }

    /// The reference lists the rate where it sets it, which need not change it.
    fn difference_of_changes(&self, key: &str, actual: &[Change]) -> Result<Difference, VerifyError> {
        let key = self.key(key);
        let expected = serde_json::from_value(self.fixture.value(&key).clone());
        let mut expected: Vec<Change> =
            expected.map_err(|_| self.fixture.wrong(&key, "a list of [epoch, iteration, learning rate]"))?;
        expected.dedup_by(|next, last| is_close(next.2, last.2));
        let places = |changes: &[Change]| {
            changes
                .iter()
                .map(|(epoch, step, _)| (*epoch, *step))
                .collect::<Vec<_>>()
        };
        if places(actual) != places(&expected) {
            return Ok(Difference::other("the rate changes at other steps"));
        }
        let rates = |changes: &[Change]| changes.iter().map(|change| change.2).collect::<Vec<_>>();
        Ok(difference(&rates(actual), &rates(&expected)))
    }
}

/// Epoch, iteration, and the rate from there on.
type Change = (u64, u64, f64);

fn changes(schedule: &Schedule, steps: u64) -> Vec<Change> {
    let per_epoch = schedule.steps_per_epoch;
    let rates = (0..steps).map(|step| (step / per_epoch, step % per_epoch, schedule.at(step)));
    let mut changes: Vec<Change> = Vec::new();
    for change in rates {
        if changes.last().is_none_or(|last| !is_close(last.2, change.2)) {
            changes.push(change);
        }
    }
    changes
}

fn is_close(a: f64, b: f64) -> bool {
    (a - b).abs() <= TOLERANCE * b.abs()
}

fn difference(actual: &[f64], expected: &[f64]) -> Difference {
    let off = std::iter::zip(actual, expected).map(|(a, b)| (a - b).abs() / b.abs().max(f64::MIN_POSITIVE));
    let worst = off.fold(0.0, f64::max);
    let wrong = std::iter::zip(actual, expected).position(|(a, b)| !is_close(*a, *b));
    Difference {
        relative: worst as f32,
        reason: wrong.map(|at| format!("entry {at} is {:e}, not {:e}", actual[at], expected[at])),
    }
}
