//! Figures of the whole validation set, handed from the training loop to the dashboard.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Values by metric key, shared between the training loop (which sets them at the end of a validation)
/// and the metrics (which show them).
#[derive(Clone, Debug, Default)]
pub struct Scores(Arc<Mutex<BTreeMap<&'static str, f64>>>);

impl Scores {
    /// Replaces all values.
    pub fn set(&self, values: BTreeMap<&'static str, f64>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = values;
    }

    /// The value of a key, if it has been computed.
    pub fn get(&self, key: &str) -> Option<f64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).copied()
    }
}
