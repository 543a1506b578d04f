//! What the loggers could not write.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use burn::train::metric::store::{Aggregate, EventStoreClient, Split};

/// The first file that the loggers of a run could not write.
///
/// burn calls loggers in a thread of its own and takes no error from them. They leave it here and write no more, so that
/// what they wrote is without a gap; the training loop asks and stops.
#[derive(Clone, Debug, Default)]
pub struct LogFault(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    is_broken: bool,
    error: Option<(PathBuf, io::Error)>,
}

impl LogFault {
    /// The file and why, once.
    pub fn take(&self) -> Option<(PathBuf, io::Error)> {
        self.with(|state| state.error.take())
    }

    /// Writes, unless something could not be written before, and keeps the error of it.
    pub(super) fn guard(&self, path: &Path, write: impl FnOnce() -> io::Result<()>) {
        if self.with(|state| state.is_broken) {
            return;
        }
        if let Err(error) = write() {
            self.with(|state| {
                state.is_broken = true;
                state.error.get_or_insert_with(|| (path.to_owned(), error));
            });
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Waits until the loggers have written, or failed to write, every event that the store was sent.
///
/// The store has no flush, but it answers questions in order, and [`JsonlLogger`](super::JsonlLogger) has an answer to
/// this one: no values.
pub fn settle(store: &EventStoreClient) {
    let _no_values = store.find_metric("", 0, Aggregate::Mean, &Split::Train);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_the_first_error_nothing_is_written() {
        let fault = LogFault::default();
        let mut written = 0;
        fault.guard(Path::new("a"), || {
            written += 1;
            Ok(())
        });
        assert!(fault.take().is_none());
        fault
            .clone()
            .guard(Path::new("b"), || Err(io::ErrorKind::StorageFull.into()));
        fault.guard(Path::new("a"), || {
            written += 1;
            Ok(())
        });
        assert_eq!(written, 1);
        let (path, error) = fault.take().unwrap();
        assert_eq!(
            (path.as_path(), error.kind()),
            (Path::new("b"), io::ErrorKind::StorageFull)
        );
        assert!(fault.take().is_none());
    }
}
