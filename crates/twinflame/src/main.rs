//! The `twinflame` command.

use std::process::ExitCode;

#[allow(unsafe_code, reason = "setting a variable is unsafe once there are threads")]
fn main() -> ExitCode {
    // SAFETY: the first statement of `main`; no thread has been started that could read the
    // environment meanwhile.
    unsafe { std::env::set_var("BURN_DEVICE", twinflame::device::HOST_DEVICE) };
    twinflame::cli::main()
}
