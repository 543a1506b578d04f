use clap::Args;

use crate::device::{self, Selected};

/// The flag that chooses where to compute.
#[derive(Args, Clone, Debug)]
pub(super) struct DeviceArg {
    /// Where to compute: auto, cpu, ndarray, wgpu[:N], vulkan[:N], metal[:N], cuda[:N] or rocm[:N]
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub(super) device: String,
}

impl DeviceArg {
    /// The device, after telling the user on standard error which one it is and why.
    ///
    /// # Errors
    ///
    /// If the device is unknown, not compiled in or not there.
    pub(super) fn select(&self) -> anyhow::Result<Selected> {
        let selected = device::select(&self.device)?;
        eprintln!("{}", selected.description);
        Ok(selected)
    }
}
