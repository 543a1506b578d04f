use std::fmt;

use burn::tensor::Device;

use super::probe::probe;
use super::{Backend, Details, details};

/// What an adapter is, best for training first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AdapterKind {
    /// A GPU with its own memory.
    Discrete,
    /// A GPU that shares the host's memory.
    Integrated,
    /// A GPU passed through to a virtual machine.
    Virtual,
    /// A GPU whose driver does not say more.
    Other,
    /// The host processor.
    Host,
    /// A rasteriser that runs on the host processor: far slower than [`Host`](Self::Host).
    Software,
}

impl AdapterKind {
    /// Whether the adapter is a real GPU.
    pub fn is_gpu(self) -> bool {
        !matches!(self, Self::Host | Self::Software)
    }
}

impl fmt::Display for AdapterKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Discrete => "discrete GPU",
            Self::Integrated => "integrated GPU",
            Self::Virtual => "virtual GPU",
            Self::Other => "GPU",
            Self::Host => "processor",
            Self::Software => "software rasteriser",
        })
    }
}

/// One adapter as one backend reaches it.
#[derive(Clone, Debug)]
pub struct Adapter {
    /// The backend that reaches it.
    pub backend: Backend,
    /// What `--device` calls it: `cpu`, `wgpu:0`, `wgpu:cpu`.
    pub id: String,
    /// What it is.
    pub kind: AdapterKind,
    /// Its own name; empty where only opening it would tell.
    pub name: String,
    /// The programming interface it is reached through.
    pub api: String,
    /// Driver name and version, empty where the backend does not tell.
    pub driver: String,
    pub(super) device: Device,
}

impl Adapter {
    /// The device that computes on this adapter, without automatic differentiation.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Opens the adapter and asks for its memory, limits and float types.
    ///
    /// # Errors
    ///
    /// What its driver said, if the adapter does not start.
    pub fn details(&self) -> Result<Details, String> {
        probe(|| details::read(&self.device))
    }
}

/// The adapters that `backend` finds, in the driver's order; none if it is not compiled in.
///
/// # Errors
///
/// What the driver said, if it could not be asked.
pub fn adapters(backend: Backend) -> Result<Vec<Adapter>, String> {
    if !backend.is_compiled() {
        return Ok(Vec::new());
    }
    probe(|| list(backend))
}

#[allow(unreachable_patterns, reason = "which arms exist depends on the features")]
fn list(backend: Backend) -> Vec<Adapter> {
    match backend {
        #[cfg(feature = "cpu")]
        Backend::Cpu => vec![host(backend, "flex", Device::flex())],
        #[cfg(feature = "ndarray")]
        Backend::NdArray => {
            #[allow(deprecated, reason = "the feature exists to compare with it")]
            let device = Device::ndarray();
            vec![host(backend, "ndarray", device)]
        }
        #[cfg(feature = "wgpu")]
        Backend::Wgpu | Backend::Vulkan | Backend::Metal => super::graphics::list(backend),
        #[cfg(feature = "cuda")]
        Backend::Cuda => compute(backend, "CUDA", burn::tensor::DeviceType::Cuda),
        #[cfg(feature = "rocm")]
        Backend::Rocm => compute(backend, "ROCm", burn::tensor::DeviceType::Rocm),
        _ => Vec::new(),
    }
}

#[cfg(any(feature = "cpu", feature = "ndarray"))]
fn host(backend: Backend, api: &str, device: Device) -> Adapter {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    Adapter {
        backend,
        id: backend.name().to_owned(),
        kind: AdapterKind::Host,
        name: format!("{} processor, {threads} threads", std::env::consts::ARCH),
        api: api.to_owned(),
        driver: String::new(),
        device,
    }
}

/// The adapters of a vendor's own runtime, which reports names only once opened.
#[cfg(any(feature = "cuda", feature = "rocm"))]
fn compute(backend: Backend, api: &str, device_type: burn::tensor::DeviceType) -> Vec<Adapter> {
    Device::enumerate(device_type)
        .into_vec()
        .into_iter()
        .enumerate()
        .map(|(index, device)| Adapter {
            backend,
            id: format!("{backend}:{index}"),
            kind: AdapterKind::Discrete,
            name: String::new(),
            api: api.to_owned(),
            driver: String::new(),
            device,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_that_is_not_compiled_in_has_no_adapters() {
        for backend in Backend::ALL {
            if !backend.is_compiled() {
                assert!(adapters(backend).unwrap().is_empty(), "{backend}");
            }
        }
    }

    #[cfg(feature = "cpu")]
    #[test]
    fn the_host_is_there_and_opens() {
        let [host] = <[Adapter; 1]>::try_from(adapters(Backend::Cpu).unwrap()).unwrap();
        assert_eq!(host.id, "cpu");
        assert_eq!(host.kind, AdapterKind::Host);
        assert!(host.details().unwrap().float_types.contains(&"f32"));
    }
}
