//! How much memory the process has used at most.

use burn::tensor::Device;

/// Most memory held so far, in bytes: the device's pools where it has them, else the process's.
///
/// `None` where neither is told: a processor on a system without `/proc`.
pub(super) fn peak_bytes(device: &Device) -> Option<u64> {
    // Pools keep their pages, so what they have reserved by now is also the most that they ever had.
    match device.memory_pool_usage() {
        Some(usage) => Some(usage.bytes_reserved),
        None => resident_peak_bytes(),
    }
}

fn resident_peak_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kibibytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_a_peak() {
        assert!(super::resident_peak_bytes().unwrap() > 1 << 20);
    }
}
