//! What a run shows of each step: one numeric [`ScalarMetric`] per quantity, all fed from the same
//! host values, so that a step costs one readback however many are shown.

mod scalar;
mod scores;
pub(crate) mod set;
pub mod spec;
mod step;

pub use scalar::ScalarMetric;
pub use scores::Scores;
pub use spec::{MetricSpec, by_title};
