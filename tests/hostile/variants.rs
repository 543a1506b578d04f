//! Many variants of one file.

use std::sync::atomic::{AtomicU32, Ordering};

use proptest::test_runner::{Config, TestRunner};

use crate::change::{apply, change};

fn cases() -> u32 {
    std::env::var("TWINFLAME_FUZZ_CASES").map_or(2000, |cases| cases.parse().unwrap())
}

/// Tries variants of a file; how many, and how many of them were read all the same.
pub(crate) fn try_variants(original: &[u8], read: impl Fn(Vec<u8>) -> bool) -> (u32, u32) {
    let mut runner = TestRunner::new(Config {
        cases: cases(),
        failure_persistence: None,
        ..Config::default()
    });
    let (tried, accepted) = (AtomicU32::new(0), AtomicU32::new(0));
    runner
        .run(&proptest::collection::vec(change(), 1..5), |changes| {
            let mut bytes = original.to_vec();
            for change in &changes {
                apply(&mut bytes, change);
            }
            let was_read = read(bytes);
            tried.fetch_add(1, Ordering::Relaxed);
            accepted.fetch_add(u32::from(was_read), Ordering::Relaxed);
            Ok(())
        })
        .unwrap();
    (tried.into_inner(), accepted.into_inner())
}
