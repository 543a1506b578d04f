use burn::tensor::Device;

use super::{Adapter, Backend, DeviceError, Pick, Request, adapters};

/// A device that is there and starts.
#[derive(Clone, Debug)]
pub struct Selected {
    /// The device, without automatic differentiation.
    pub device: Device,
    /// What `--device` calls it: `cpu`, `wgpu:0`. Names the same adapter again in a later run.
    pub id: String,
    /// One line for the user: what was taken, and why if the choice was open.
    pub description: String,
}

/// Turns the text of `--device` into a device that starts.
///
/// `auto` takes the best GPU that any compiled backend finds, never a software rasteriser, else
/// the processor. An adapter that is listed but does not start is passed over by `auto`, and said
/// so in the description.
///
/// # Errors
///
/// If the text names no device, the backend is not compiled in, or the device is not there.
pub fn select(text: &str) -> Result<Selected, DeviceError> {
    match text.parse()? {
        Request::Auto => auto(),
        Request::Backend { backend, pick } => named(backend, pick, text),
    }
}

fn auto() -> Result<Selected, DeviceError> {
    let gpu_backends: Vec<Backend> = Backend::GPU_BY_PREFERENCE
        .into_iter()
        .filter(|backend| backend.is_compiled())
        .collect();
    let mut found: Vec<Adapter> = gpu_backends
        .iter()
        .flat_map(|backend| adapters(*backend).unwrap_or_default())
        .filter(|adapter| adapter.kind.is_gpu())
        .collect();
    // A stable sort: among equals the preferred backend, then the driver's order.
    found.sort_by_key(|adapter| adapter.kind);

    let mut passed_over = Vec::new();
    for adapter in found {
        match start(&adapter) {
            Ok(name) => {
                let why = format!("the best GPU that {} finds", join(&gpu_backends));
                return Ok(selected(&adapter, &name, &with_failures(&why, &passed_over)));
            }
            Err(reason) => passed_over.push(format!("{} does not start: {reason}", adapter.id)),
        }
    }

    let host = [Backend::Cpu, Backend::NdArray]
        .into_iter()
        .filter_map(|backend| adapters(backend).ok()?.pop())
        .next()
        .ok_or(DeviceError::NoBackend)?;
    let why = if gpu_backends.is_empty() {
        "no GPU backend is compiled in; `--features wgpu` adds one".to_owned()
    } else {
        format!("{} finds no GPU that starts", join(&gpu_backends))
    };
    let name = host.name.clone();
    Ok(selected(&host, &name, &with_failures(&why, &passed_over)))
}

fn named(backend: Backend, pick: Pick, text: &str) -> Result<Selected, DeviceError> {
    if !backend.is_compiled() {
        return Err(DeviceError::NotCompiled {
            backend,
            compiled: join(&Backend::compiled().collect::<Vec<_>>()),
        });
    }
    if pick == Pick::Software && Backend::Vulkan.is_compiled() {
        return Err(DeviceError::SoftwareNeedsWgsl);
    }
    let not_there = |why: String| DeviceError::NotThere {
        requested: text.to_owned(),
        why,
        available: available(),
    };
    let found = adapters(backend).map_err(not_there)?;
    let adapter = choose(&found, pick).ok_or_else(|| not_there(absence(backend, &found)))?;
    let name = start(adapter).map_err(|reason| DeviceError::Broken {
        requested: text.to_owned(),
        name: adapter.name.clone(),
        reason,
    })?;
    Ok(selected(adapter, &name, ""))
}

/// The adapter of `found` that `pick` means. Only [`Pick::Software`] means a rasteriser.
fn choose(found: &[Adapter], pick: Pick) -> Option<&Adapter> {
    let mut real = found
        .iter()
        .filter(|adapter| adapter.kind != super::AdapterKind::Software);
    match pick {
        Pick::Best => real.min_by_key(|adapter| adapter.kind),
        Pick::Nth(index) => real.nth(index),
        Pick::Software => found
            .iter()
            .find(|adapter| adapter.kind == super::AdapterKind::Software),
    }
}

fn absence(backend: Backend, found: &[Adapter]) -> String {
    let gpus = found.iter().filter(|adapter| adapter.kind.is_gpu()).count();
    match (gpus, found.len()) {
        (0, 0) => format!("{backend} finds no adapter"),
        (0, _) => format!("{backend} finds a software rasteriser only"),
        (gpus, _) => format!("{backend} finds {gpus}, counted from 0"),
    }
}

/// Opens the adapter; its name, which some runtimes tell only now.
fn start(adapter: &Adapter) -> Result<String, String> {
    let details = adapter.details()?;
    Ok(details.name.unwrap_or_else(|| adapter.name.clone()))
}

fn selected(adapter: &Adapter, name: &str, why: &str) -> Selected {
    let mut description = format!("device {} ({name}, {})", adapter.id, adapter.api);
    if !why.is_empty() {
        description = format!("{description}: {why}");
    }
    Selected {
        device: adapter.device().clone(),
        id: adapter.id.clone(),
        description,
    }
}

fn with_failures(why: &str, failures: &[String]) -> String {
    if failures.is_empty() {
        return why.to_owned();
    }
    format!("{why} ({})", failures.join("; "))
}

fn available() -> String {
    let ids: Vec<String> = Backend::compiled()
        .flat_map(|backend| adapters(backend).unwrap_or_default())
        .filter(|adapter| adapter.kind != super::AdapterKind::Software)
        .map(|adapter| match adapter.name.as_str() {
            "" => adapter.id,
            name => format!("{} ({name})", adapter.id),
        })
        .collect();
    if ids.is_empty() {
        "nothing".to_owned()
    } else {
        ids.join(", ")
    }
}

fn join(backends: &[Backend]) -> String {
    let names: Vec<&str> = backends.iter().map(|backend| backend.name()).collect();
    names.join(", ")
}

#[cfg(all(test, feature = "cpu"))]
mod tests {
    use super::super::AdapterKind;
    use super::*;

    fn adapter(kind: AdapterKind) -> Adapter {
        Adapter {
            backend: Backend::Wgpu,
            id: format!("{kind}"),
            kind,
            name: String::new(),
            api: String::new(),
            driver: String::new(),
            device: Device::flex(),
        }
    }

    #[test]
    fn best_prefers_a_discrete_gpu_and_indices_skip_rasterisers() {
        let found = [
            adapter(AdapterKind::Software),
            adapter(AdapterKind::Integrated),
            adapter(AdapterKind::Discrete),
        ];
        let kind = |pick| choose(&found, pick).map(|adapter| adapter.kind);
        assert_eq!(kind(Pick::Best), Some(AdapterKind::Discrete));
        assert_eq!(kind(Pick::Nth(0)), Some(AdapterKind::Integrated));
        assert_eq!(kind(Pick::Nth(2)), None);
        assert_eq!(kind(Pick::Software), Some(AdapterKind::Software));
        assert!(choose(&found[..1], Pick::Best).is_none());
    }

    #[test]
    fn the_processor_is_selected_by_name() {
        let selected = select("cpu").unwrap();
        assert_eq!(selected.device, Device::flex());
        assert_eq!(selected.id, "cpu");
        assert!(!selected.device.is_autodiff());
    }

    #[cfg(not(feature = "_gpu"))]
    #[test]
    fn auto_without_a_gpu_backend_says_how_to_get_one() {
        let selected = select("auto").unwrap();
        assert_eq!(selected.id, "cpu");
        assert!(selected.description.contains("--features wgpu"));
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_backend_left_out_names_its_feature() {
        let message = select("cuda:0").unwrap_err().to_string();
        assert!(message.contains("--features cuda"), "{message}");
    }
}
