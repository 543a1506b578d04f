//! Where a run computes: compiled backends, the adapters behind them, and the choice of one.
//!
//! This is the only module of the workspace that names a backend. Everything below takes a
//! [`burn::tensor::Device`], which [`select`] makes from the text of `--device`.
//!
//! ```
//! let selected = twinflame::device::select("cpu")?;
//! println!("{}", selected.description);
//! # Ok::<(), twinflame::device::DeviceError>(())
//! ```

mod adapter;
mod backend;
mod details;
mod error;
#[cfg(feature = "wgpu")]
mod graphics;
mod probe;
mod request;
mod select;

pub use adapter::{Adapter, AdapterKind, adapters};
pub use backend::Backend;
pub use details::Details;
pub use error::DeviceError;
pub use probe::is_probing;
pub use request::{Pick, Request};
pub use select::{Selected, select};

/// Value of burn's variable `BURN_DEVICE` that makes `Device::default()` the host.
///
/// burn builds a loaded optimiser's state on `Device::default()` before it moves each tensor to
/// its parameter's device, and that default goes by compiled features, not by what the machine
/// has: a build with `cuda` would touch CUDA on a machine without it. The host is always there
/// (burn's own trainer depends on it), so a program that resumes runs sets
/// `BURN_DEVICE` to this value as the first thing in `main`, while it has one thread.
pub const HOST_DEVICE: &str = "flex";
