//! How failure looks: a user's mistake is one paragraph, a bug is one line and where to report it.

use std::error::Error;
use std::io::Write;
use std::panic::PanicHookInfo;
use std::process::ExitCode;

use crate::{data, device};

const ISSUES: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/issues");

/// How the panics of `println!` and `eprintln!` begin when a stream cannot be written.
const UNWRITABLE: [&str; 2] = ["failed printing to stdout: ", "failed printing to stderr: "];

/// How they end when the reader of a pipe has gone away; the last two are those of Windows.
const CLOSED_PIPE: [&str; 3] = ["(os error 32)", "(os error 109)", "(os error 232)"];

/// Prints the error, if any, with its causes and returns the process's exit code.
pub(super) fn exit_code(outcome: anyhow::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {}", paragraph(error.as_ref())));
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
        if let Some(text) = info.payload_as_str().filter(|text| is_unwritable(text)) {
            // `twinflame models | head` closes the pipe early; that is no failure.
            if CLOSED_PIPE.iter().any(|end| text.ends_with(end)) {
                std::process::exit(0);
            }
            say(&format!("error: {text}"));
            std::process::exit(1);
        }
        say(&panic_line(info));
        if wants_backtrace {
            default_hook(info);
        }
    }));
}

fn is_unwritable(panic: &str) -> bool {
    UNWRITABLE.iter().any(|begin| panic.starts_with(begin))
}

/// Prints a line on standard error, if that can be written: `eprintln!` would panic.
pub(super) fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
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
