//! Why a sample of a shard is left out.

use serde::{Deserialize, Serialize};

use crate::report::{OpenReport, Skipped, Tally};

/// Why a sample is left out. Reports count by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Fault {
    /// There is no image.
    NoImage,
    /// There is no caption.
    NoCaption,
    /// The caption is no text.
    BadCaption,
    /// The caption is empty.
    EmptyCaption,
    /// Two members of one name.
    TwiceNamed,
}

impl Fault {
    fn tally(self, report: &mut OpenReport) -> &mut Tally {
        match self {
            Self::NoImage => &mut report.no_image,
            Self::NoCaption => &mut report.no_caption,
            Self::BadCaption => &mut report.bad_captions,
            Self::EmptyCaption => &mut report.empty_captions,
            Self::TwiceNamed => &mut report.twice_named,
        }
    }
}

impl OpenReport {
    /// Counts a sample of `file` that is left out, and names it among what was.
    pub(super) fn leave_out(&mut self, fault: Fault, file: &str, sample: String, reason: String) {
        fault.tally(self).add(|| format!("{file}, {sample}: {reason}"));
        self.skipped.push(Skipped {
            file: Some(file.to_owned()),
            sample: Some(sample),
            reason,
        });
    }
}
