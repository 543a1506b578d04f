use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Number of driver probes under way.
static PROBES: AtomicUsize = AtomicUsize::new(0);

/// Whether a driver is being probed at this moment.
///
/// Runtimes answer a missing or unusable driver with a panic, some of them on a thread of their
/// own. A probe turns that into "not there"; a panic hook asks here whether to keep quiet.
pub fn is_probing() -> bool {
    PROBES.load(Ordering::SeqCst) > 0
}

/// Runs `probe`, returning a panic's message as an error.
pub(super) fn probe<T>(probe: impl FnOnce() -> T) -> Result<T, String> {
    PROBES.fetch_add(1, Ordering::SeqCst);
    let outcome = catch_unwind(AssertUnwindSafe(probe));
    PROBES.fetch_sub(1, Ordering::SeqCst);
    outcome.map_err(|payload| {
        let message = payload
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| payload.downcast_ref::<&str>().copied())
            .unwrap_or("its driver failed without a message");
        // One line is what a table or an error has room for.
        message.lines().next().unwrap_or_default().trim().to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_first_line() {
        assert_eq!(probe(|| 7), Ok(7));
        let failed: Result<(), _> = probe(|| panic!("no driver {}\nbacktrace", 3));
        assert_eq!(failed, Err("no driver 3".to_owned()));
        assert!(probe(is_probing).unwrap());
    }
}
