//! What stands for the sampler where it is not built: no value of it exists.

use std::convert::Infallible;
use std::io::{self, Write};

use super::stacks::{Stacks, Stage};

/// Cannot be made.
#[derive(Debug)]
pub(in crate::cli::bench) struct Sampler(Infallible);

impl Sampler {
    /// # Errors
    ///
    /// Always: it says what to build, or where.
    pub(in crate::cli::bench) fn new() -> anyhow::Result<Self> {
        if cfg!(any(target_os = "linux", target_os = "macos")) {
            anyhow::bail!(
                "this binary was built without the feature profile, which samples what runs: cargo run --profile profiling --features \
                 profile -- bench PRESET --profile FOLDER"
            );
        }
        anyhow::bail!("--profile samples with a signal that only Linux and macOS have")
    }

    pub(in crate::cli::bench) fn during<R>(
        &mut self,
        _stage: Stage,
        _work: impl FnOnce() -> anyhow::Result<R>,
    ) -> anyhow::Result<R> {
        match self.0 {}
    }

    pub(in crate::cli::bench) fn into_stacks(self) -> Stacks {
        match self.0 {}
    }
}

/// Without a sampler there is nothing to draw.
pub(super) fn flame_graph(_title: &str, _folded: &str, _writer: impl Write) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
