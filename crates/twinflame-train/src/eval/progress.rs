//! A progress bar in one style.

use std::borrow::Cow;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar on standard error for `len` items, removed when done; nothing is shown if standard error is no terminal.
pub fn progress_bar(what: impl Into<Cow<'static, str>>, len: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {bar:30} {human_pos}/{human_len} {per_sec} {eta}");
    let bar = ProgressBar::new(len as u64).with_message(what);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar, // the default style shows the same without words
    }
}
