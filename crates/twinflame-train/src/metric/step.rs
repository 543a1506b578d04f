//! A step's output as the input of every metric: they share one readback.

use burn::train::metric::Adaptor;

use crate::task::StepOutput;

impl Adaptor<StepOutput> for StepOutput {
    fn adapt(&self) -> StepOutput {
        self.clone()
    }
}
