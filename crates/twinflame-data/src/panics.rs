//! Panics of libraries on damaged input, which are errors of the input and no bugs.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    /// Number of calls of [`contain_panic`] that this thread is in.
    static CONTAINED: Cell<usize> = const { Cell::new(0) };
}

/// Whether a panic of this thread would be turned into an error.
///
/// A panic hook asks here whether to keep quiet: the error that follows says what was wrong.
#[must_use]
pub fn panic_is_contained() -> bool {
    CONTAINED.get() > 0
}

/// Runs `work`, returning a panic's message as an error.
pub(crate) fn contain_panic<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    CONTAINED.set(CONTAINED.get() + 1);
    let outcome = catch_unwind(AssertUnwindSafe(work));
    CONTAINED.set(CONTAINED.get() - 1);
    outcome.map_err(|panic| message(panic.as_ref()))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_message_and_is_known_as_contained() {
        assert!(!panic_is_contained());
        assert_eq!(contain_panic(panic_is_contained), Ok(true));
        let number = 3;
        let failed: Result<(), _> = contain_panic(|| panic!("entry {number} is not there"));
        assert_eq!(failed, Err("entry 3 is not there".to_owned()));
        assert_eq!(
            contain_panic::<()>(|| panic!("fixed text")),
            Err("fixed text".to_owned())
        );
        assert!(!panic_is_contained());
    }
}
