//! A step's output as the input of every metric: they share one readback.

use burn::train::metric::Adaptor;

use crate::task::ClipStepOutput;

impl Adaptor<ClipStepOutput> for ClipStepOutput {
    fn adapt(&self) -> ClipStepOutput {
        self.clone()
    }
}
