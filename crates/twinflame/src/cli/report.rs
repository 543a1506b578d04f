//! How failure looks: a user's mistake is one paragraph, a bug is one line and where to report it.

use std::error::Error;
use std::panic::PanicHookInfo;
use std::process::ExitCode;

use crate::{data, device};

const ISSUES: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/issues");

/// How the panic of `println!` begins when standard output cannot be written.
const CLOSED_PIPE: &str = "failed printing to stdout";

/// Prints the error, if any, with its causes and returns the process's exit code.
pub(super) fn exit_code(outcome: anyhow::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", paragraph(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

/// The error and its causes, each once: a cause that the error above it already quotes is left out.
fn paragraph(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let message = cause.to_string();
        if !text.contains(&message) {
            text.push_str("\n  because: ");
            text.push_str(&message);
        }
        next = cause.source();
    }
    text
}

/// Replaces Rust's panic output by one line that asks for a report.
///
/// With `RUST_BACKTRACE` set, Rust's own output with the backtrace follows. Panics of a driver
/// that is being probed are expected and stay silent, as do those that become an error about damaged data.
pub(super) fn install_panic_hook() {
    let default_hook = std::panic::take_hook();
    let wants_backtrace = std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0");
    std::panic::set_hook(Box::new(move |info| {
        if device::is_probing() || data::panic_is_contained() {
            return;
        }
        // `twinflame models | head` closes the pipe early; that is no failure.
        if info.payload_as_str().is_some_and(|text| text.starts_with(CLOSED_PIPE)) {
            std::process::exit(0);
        }
        eprintln!("{}", panic_line(info));
        if wants_backtrace {
            default_hook(info);
        }
    }));
}

fn panic_line(info: &PanicHookInfo<'_>) -> String {
    let message = info.payload_as_str().unwrap_or("no message");
    let place = info
        .location()
        .map(|location| format!(" at {}:{}", location.file(), location.line()))
        .unwrap_or_default();
    format!(
        "internal error: {message}{place}\nThis is a bug in Twinflame {}, not your mistake: please report these lines \
         and the command at {ISSUES} (RUST_BACKTRACE=1 prints more)",
        env!("CARGO_PKG_VERSION")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{message}")]
    struct Layer {
        message: &'static str,
        #[source]
        cause: Option<Box<Layer>>,
    }

    #[test]
    fn causes_are_printed_once() {
        let inner = Layer {
            message: "no such file",
            cause: None,
        };
        let middle = Layer {
            message: "cannot read a.toml: no such file",
            cause: Some(Box::new(inner)),
        };
        let outer = Layer {
            message: "recipe",
            cause: Some(Box::new(middle)),
        };
        assert_eq!(paragraph(&outer), "recipe\n  because: cannot read a.toml: no such file");
    }
}
