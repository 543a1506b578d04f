//! Adapters of the graphics interfaces that wgpu reaches.
//!
//! burn lists them by kind and index only, so names and drivers come from wgpu itself, through
//! the version that burn re-exports.

use burn::backend::wgpu::graphics::{AutoGraphicsApi, GraphicsApi};
use burn::backend::{CubeDevice, DispatchDevice, WgpuDeviceKind};
use burn::tensor::wgpu::wgpu;
use burn::tensor::{Device, DeviceType};

use super::{Adapter, AdapterKind, Backend};

/// Parts of the names of rasterisers that some drivers report as GPUs.
const SOFTWARE_NAMES: [&str; 5] = ["llvmpipe", "softpipe", "lavapipe", "swiftshader", "basic render"];

/// The adapters of `backend`, which is [`Backend::Wgpu`], [`Backend::Vulkan`] or [`Backend::Metal`].
pub(super) fn list(backend: Backend) -> Vec<Adapter> {
    let (device_type, api) = match backend {
        #[cfg(feature = "vulkan")]
        Backend::Vulkan => (DeviceType::Vulkan, wgpu::Backend::Vulkan),
        #[cfg(feature = "metal")]
        Backend::Metal => (DeviceType::Metal, wgpu::Backend::Metal),
        _ => (DeviceType::Wgpu, AutoGraphicsApi::backend()),
    };
    let infos = adapter_infos(api);
    let mut next_gpu = 0;
    Device::enumerate(device_type)
        .into_vec()
        .into_iter()
        .filter_map(|device| {
            let info = info_of(&device, &infos)?;
            let kind = kind_of(info);
            let id = if kind.is_gpu() {
                let id = format!("{backend}:{next_gpu}");
                next_gpu += 1;
                id
            } else {
                format!("{backend}:cpu")
            };
            Some(Adapter {
                backend,
                id,
                kind,
                name: info.name.clone(),
                api: api_name(info.backend).to_owned(),
                driver: [info.driver.as_str(), info.driver_info.as_str()]
                    .join(" ")
                    .trim()
                    .to_owned(),
                device,
            })
        })
        .collect()
}

fn adapter_infos(api: wgpu::Backend) -> Vec<wgpu::AdapterInfo> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends: api.into(),
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    });
    futures_lite::future::block_on(instance.enumerate_adapters(api.into()))
        .iter()
        .map(wgpu::Adapter::get_info)
        .collect()
}

/// The description of `device`, found by the rule with which burn opens it: the n-th of its kind.
fn info_of<'a>(device: &Device, infos: &'a [wgpu::AdapterInfo]) -> Option<&'a wgpu::AdapterInfo> {
    let DispatchDevice::Cube(CubeDevice::Wgpu(device)) = device.as_dispatch() else {
        return None;
    };
    let (device_type, index) = match device.kind {
        WgpuDeviceKind::DiscreteGpu(index) => (wgpu::DeviceType::DiscreteGpu, index),
        WgpuDeviceKind::IntegratedGpu(index) => (wgpu::DeviceType::IntegratedGpu, index),
        WgpuDeviceKind::VirtualGpu(index) => (wgpu::DeviceType::VirtualGpu, index),
        WgpuDeviceKind::Other(index) => (wgpu::DeviceType::Other, index),
        WgpuDeviceKind::Cpu => (wgpu::DeviceType::Cpu, 0),
        WgpuDeviceKind::DefaultDevice | WgpuDeviceKind::Existing(_) => return None,
    };
    infos.iter().filter(|info| info.device_type == device_type).nth(index)
}

fn kind_of(info: &wgpu::AdapterInfo) -> AdapterKind {
    let name = info.name.to_lowercase();
    if SOFTWARE_NAMES.iter().any(|part| name.contains(part)) {
        return AdapterKind::Software;
    }
    match info.device_type {
        wgpu::DeviceType::DiscreteGpu => AdapterKind::Discrete,
        wgpu::DeviceType::IntegratedGpu => AdapterKind::Integrated,
        wgpu::DeviceType::VirtualGpu => AdapterKind::Virtual,
        wgpu::DeviceType::Other => AdapterKind::Other,
        wgpu::DeviceType::Cpu => AdapterKind::Software,
    }
}

fn api_name(api: wgpu::Backend) -> &'static str {
    match api {
        wgpu::Backend::Vulkan => "Vulkan",
        wgpu::Backend::Metal => "Metal",
        wgpu::Backend::Dx12 => "DX12",
        wgpu::Backend::Gl => "GL",
        wgpu::Backend::BrowserWebGpu => "WebGPU",
        wgpu::Backend::Noop => "none",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rasteriser_is_software_whatever_its_driver_calls_it() {
        for (name, device_type, expected) in [
            ("AMD Radeon", wgpu::DeviceType::DiscreteGpu, AdapterKind::Discrete),
            ("llvmpipe (LLVM 15)", wgpu::DeviceType::Cpu, AdapterKind::Software),
            (
                "Virtio-GPU Venus (llvmpipe)",
                wgpu::DeviceType::VirtualGpu,
                AdapterKind::Software,
            ),
            (
                "Microsoft Basic Render Driver",
                wgpu::DeviceType::Other,
                AdapterKind::Software,
            ),
        ] {
            let mut info = wgpu::AdapterInfo::new(device_type, wgpu::Backend::Vulkan);
            name.clone_into(&mut info.name);
            assert_eq!(kind_of(&info), expected, "{name}");
        }
    }
}
