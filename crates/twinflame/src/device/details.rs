use burn::tensor::{DType, Device};

/// What an open adapter says about itself.
#[derive(Clone, Debug, Default)]
pub struct Details {
    /// Its own name, where the runtime tells.
    pub name: Option<String>,
    /// Size of its memory, in bytes, where the runtime tells.
    pub memory_bytes: Option<u64>,
    /// Largest single allocation, in bytes.
    pub max_allocation_bytes: Option<u64>,
    /// Memory that the threads of one workgroup share, in bytes.
    pub shared_memory_bytes: Option<u64>,
    /// Threads of one workgroup.
    pub max_workgroup_threads: Option<u32>,
    /// Fewest and most threads that run in lockstep.
    pub subgroup_size: Option<(u32, u32)>,
    /// Float types that it computes in.
    pub float_types: Vec<&'static str>,
}

/// Opens `device` and reads its properties. Panics as its driver does.
pub(super) fn read(device: &Device) -> Details {
    let mut details = properties(device);
    details.float_types = [
        (DType::F64, "f64"),
        (DType::F32, "f32"),
        (DType::F16, "f16"),
        (DType::BF16, "bf16"),
    ]
    .into_iter()
    .filter(|(dtype, _)| device.supports_dtype(*dtype))
    .map(|(_, name)| name)
    .collect();
    details
}

#[cfg(feature = "_gpu")]
fn properties(device: &Device) -> Details {
    use burn::backend::DispatchDevice;

    let DispatchDevice::Cube(device) = device.as_dispatch() else {
        return host();
    };
    let client = device.client();
    let properties = client.properties();
    let hardware = &properties.hardware;
    Details {
        name: Some(properties.identity.name.clone()),
        memory_bytes: properties.memory.max_memory(),
        max_allocation_bytes: Some(properties.memory.max_page_size),
        shared_memory_bytes: u64::try_from(hardware.max_shared_memory_size).ok(),
        max_workgroup_threads: Some(hardware.max_units_per_cube),
        subgroup_size: Some((hardware.plane_size_min, hardware.plane_size_max)),
        float_types: Vec::new(),
    }
}

#[cfg(not(feature = "_gpu"))]
fn properties(_: &Device) -> Details {
    host()
}

fn host() -> Details {
    Details {
        memory_bytes: host_memory_bytes(),
        ..Details::default()
    }
}

/// The host's memory, where the system tells in `/proc/meminfo`.
fn host_memory_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
    let kibibytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes * 1024)
}
