//! What the test binaries share: the device that they compute on, and where the fixtures are.

use std::{env, path::PathBuf};

use burn::tensor::Device;

/// Variable that names the device of the tests, as `--device` does.
pub const DEVICE_VARIABLE: &str = "TWINFLAME_TEST_DEVICE";

/// The device that tests compute on: that of `TWINFLAME_TEST_DEVICE`, else the processor.
///
/// # Panics
///
/// If the variable names a device that is not compiled in or not there: a test that was asked to
/// run on a GPU must not pass on the processor.
pub fn device() -> Device {
    let name = env::var(DEVICE_VARIABLE).unwrap_or_else(|_| "cpu".to_owned());
    match twinflame::device::select(&name) {
        Ok(selected) => selected.device,
        Err(error) => panic!("{DEVICE_VARIABLE}={name}: {error}"),
    }
}

/// The folder `tests/fixtures`.
///
/// Cargo tells a test where its package is. Whoever runs the binary by itself, in another place than the one where it was built,
/// says so in the same variable.
pub fn fixtures() -> PathBuf {
    let package = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    PathBuf::from(package).join("fixtures")
}
