//! The dashboard's terminal.

use burn::train::Interrupter;
use burn::train::renderer::MetricsRenderer;

/// burn's dashboard, if the program has it and standard output is a terminal.
pub(super) fn dashboard(interrupter: &Interrupter, resumed_epoch: Option<usize>) -> Option<Box<dyn MetricsRenderer>> {
    #[cfg(feature = "tui")]
    if std::io::IsTerminal::is_terminal(&std::io::stdout()) {
        use burn::train::renderer::tui::TuiMetricsRendererWrapper;
        return Some(Box::new(TuiMetricsRendererWrapper::new(
            interrupter.clone(),
            resumed_epoch,
        )));
    }
    let _ = (interrupter, resumed_epoch);
    None
}

/// Lets Ctrl-C reach the program as a signal again.
///
/// The dashboard puts the terminal into raw mode, in which Ctrl-C is a key like any other, and it does not
/// listen for that one. Leaving the dashboard restores the terminal as it was before.
pub(super) fn let_ctrl_c_through() {
    #[cfg(unix)]
    {
        use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
        let stdin = std::io::stdin();
        if let Ok(mut termios) = tcgetattr(&stdin) {
            termios.local_modes |= LocalModes::ISIG;
            let _ = tcsetattr(&stdin, OptionalActions::Now, &termios);
        }
    }
}

/// Leaves the dashboard when the program has to end at once: the screen as before, keys echoed, no mouse reports.
/// Does nothing if standard output is no terminal.
pub fn restore_terminal() {
    use std::io::{IsTerminal, Write};
    let mut stdout = std::io::stdout();
    if !stdout.is_terminal() {
        return;
    }
    // Mouse reports off, cursor on, main screen: what crossterm sends when the dashboard closes.
    let _ = stdout.write_all(b"\x1b[?1006l\x1b[?1015l\x1b[?1003l\x1b[?1002l\x1b[?1000l\x1b[?25h\x1b[?1049l");
    let _ = stdout.flush();
    #[cfg(unix)]
    {
        use rustix::termios::{InputModes, LocalModes, OptionalActions, OutputModes, tcgetattr, tcsetattr};
        let stdin = std::io::stdin();
        if let Ok(mut termios) = tcgetattr(&stdin) {
            termios.input_modes |= InputModes::ICRNL | InputModes::IXON;
            termios.output_modes |= OutputModes::OPOST;
            termios.local_modes |= LocalModes::ISIG | LocalModes::ICANON | LocalModes::ECHO | LocalModes::IEXTEN;
            let _ = tcsetattr(&stdin, OptionalActions::Now, &termios);
        }
    }
}
