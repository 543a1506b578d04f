//! Watches the training loss: stops a run whose loss is not a number, and says why when it does not fall.

use std::sync::{Mutex, PoisonError};

/// Steps over which a loss must stay at chance before the hint.
const PLATEAU_STEPS: usize = 200;

/// Relative distance to `ln(batch)` below which a loss counts as chance.
const PLATEAU_TOLERANCE: f64 = 0.01;

/// A loss that is infinite or not a number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NonFiniteLoss {
    /// The step, counted from 1.
    pub step: usize,
    /// The loss.
    pub loss: f64,
}

/// Judges the losses of a run as the metrics read them.
///
/// Reading a loss inside the training loop would make the device wait at every step, so the loop asks
/// [`non_finite`](Self::non_finite) instead: a broken loss is known at most a few steps late, and a
/// checkpoint is only written when all losses before it have been judged.
#[derive(Debug)]
pub struct Watchdog {
    /// First step at which a hint makes sense: the warm-up is over.
    settled_at: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    broken: Option<NonFiniteLoss>,
    at_chance: usize,
    hint: Option<String>,
}

impl Watchdog {
    /// A watchdog for a run whose warm-up takes `warmup_steps`.
    pub fn new(warmup_steps: usize) -> Self {
        Self {
            settled_at: warmup_steps,
            state: Mutex::default(),
        }
    }

    /// Judges the loss of a step (counted from 1) over a batch of `batch_size` pairs.
    pub fn observe(&self, step: usize, loss: f64, batch_size: usize) {
        let mut state = self.lock();
        if !loss.is_finite() {
            state.broken.get_or_insert(NonFiniteLoss { step, loss });
            return;
        }
        let chance = (batch_size as f64).ln();
        let at_chance = (loss - chance).abs() <= PLATEAU_TOLERANCE * chance;
        state.at_chance = match at_chance && step > self.settled_at {
            true => state.at_chance + 1,
            false => 0,
        };
        if state.at_chance == PLATEAU_STEPS && state.hint.is_none() {
            let hint = hint(step, loss, batch_size);
            tracing::warn!("{hint}");
            state.hint = Some(hint);
        }
    }

    /// The first loss that was not finite, if there was one.
    pub fn non_finite(&self) -> Option<NonFiniteLoss> {
        self.lock().broken
    }

    /// Why the loss may not fall, once it has not for long.
    pub fn hint(&self) -> Option<String> {
        self.lock().hint.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hint(step: usize, loss: f64, batch_size: usize) -> String {
    format!(
        "the loss has stayed at {loss:.3} = ln({batch_size}) for {PLATEAU_STEPS} steps (now at step {step}): the model does not \
         yet tell pairs apart. Usual reasons: images and captions that do not belong together (check the caption file's \
         columns), many equal captions in a batch (use task.targets = \"by-id\" or loader.distinct_ids = true), a learning \
         rate too high or too low for this batch size, or data too small to learn from"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_broken_loss_is_kept() {
        let watchdog = Watchdog::new(0);
        watchdog.observe(1, 2.0, 8);
        assert_eq!(watchdog.non_finite(), None);
        watchdog.observe(2, f64::INFINITY, 8);
        watchdog.observe(3, f64::NAN, 8);
        assert_eq!(
            watchdog.non_finite(),
            Some(NonFiniteLoss {
                step: 2,
                loss: f64::INFINITY
            })
        );
    }

    #[test]
    fn a_loss_at_chance_for_long_gets_a_hint() {
        let watchdog = Watchdog::new(10);
        let chance = 128f64.ln();
        for step in 1..=10 + PLATEAU_STEPS - 1 {
            watchdog.observe(step, chance * 1.004, 128);
        }
        assert_eq!(watchdog.hint(), None, "one step early");
        watchdog.observe(10 + PLATEAU_STEPS, chance, 128);
        assert!(watchdog.hint().unwrap().contains("ln(128)"));
    }

    #[test]
    fn a_loss_that_falls_gets_none() {
        let watchdog = Watchdog::new(0);
        for step in 1..=2 * PLATEAU_STEPS {
            let loss = if step % 50 == 0 { 4.0 } else { 128f64.ln() };
            watchdog.observe(step, loss, 128);
        }
        assert_eq!(watchdog.hint(), None);
    }
}
