//! `twinflame devices`: what this binary and this machine can compute with.

use clap::Args;
use comfy_table::Table;

use super::table::{bytes, table};
use crate::device::{self, Adapter, Backend, Details};

/// Arguments of `twinflame devices`.
#[derive(Args, Debug)]
pub(super) struct DevicesArgs {}

/// Prints the table of backends and the table of adapters.
///
/// # Errors
///
/// If no backend is compiled in.
pub(super) fn run(_: &DevicesArgs) -> anyhow::Result<()> {
    println!("Backends\n{}\n", backends());
    let (adapters, failures) = adapters();
    println!("Devices\n{adapters}\n");
    for failure in failures {
        println!("{failure}");
    }
    println!("--device auto takes: {}", device::select("auto")?.description);
    Ok(())
}

fn backends() -> Table {
    let mut table = table(["--device", "compiled in", "serves"]);
    for backend in Backend::ALL {
        let compiled = if backend.is_compiled() {
            "yes".to_owned()
        } else {
            format!("no: --features {backend}")
        };
        table.add_row([backend.name(), &compiled, backend.serves()]);
    }
    table
}

/// The adapters of every compiled backend, and a line for each backend that could not be asked.
fn adapters() -> (Table, Vec<String>) {
    let mut table = table([
        "--device",
        "adapter",
        "kind",
        "API, driver",
        "memory",
        "limits",
        "float types",
    ]);
    let mut failures = Vec::new();
    for backend in Backend::compiled() {
        match device::adapters(backend) {
            Err(reason) => failures.push(format!("{backend}: cannot ask its driver: {reason}")),
            Ok(found) if found.is_empty() => failures.push(format!("{backend}: no adapter found")),
            Ok(found) => {
                for adapter in found {
                    table.add_row(row(&adapter));
                }
            }
        }
    }
    (table, failures)
}

fn row(adapter: &Adapter) -> [String; 7] {
    let (details, failure) = match adapter.details() {
        Ok(details) => (details, None),
        Err(reason) => (Details::default(), Some(format!("does not start: {reason}"))),
    };
    let interface = [adapter.api.as_str(), adapter.driver.as_str()];
    [
        adapter.id.clone(),
        details.name.clone().unwrap_or_else(|| adapter.name.clone()),
        adapter.kind.to_string(),
        interface.join(" ").trim().to_owned(),
        details.memory_bytes.map(bytes).unwrap_or_default(),
        failure.unwrap_or_else(|| limits(&details)),
        details.float_types.join(" "),
    ]
}

fn limits(details: &Details) -> String {
    let mut parts = Vec::new();
    if let Some(size) = details.max_allocation_bytes {
        parts.push(format!("buffer {}", bytes(size)));
    }
    if let Some(size) = details.shared_memory_bytes {
        parts.push(format!("shared {}", bytes(size)));
    }
    if let Some(threads) = details.max_workgroup_threads {
        parts.push(format!("workgroup {threads}"));
    }
    if let Some((least, most)) = details.subgroup_size {
        parts.push(format!("subgroup {least}-{most}"));
    }
    parts.join(", ")
}
