//! Union-find, from several threads at once.

use std::sync::atomic::{AtomicU32, Ordering};

/// A partition of `0..n`, at first into single members. 4 bytes for each.
///
/// Every parent is smaller than its child, so that the root of a set is its smallest member and the partition does not depend
/// on the order of joins (Anderson and Woll 1991, <https://doi.org/10.1145/103418.103458>).
#[derive(Debug)]
pub(super) struct Groups {
    parents: Vec<AtomicU32>,
}

impl Groups {
    pub(super) fn new(len: u32) -> Self {
        Self {
            parents: (0..len).map(AtomicU32::new).collect(),
        }
    }

    /// The smallest member of the set.
    pub(super) fn root(&self, mut member: u32) -> u32 {
        loop {
            let parent = self.parent(member);
            if parent == member {
                return member;
            }
            // Halves the path. Where another thread was faster, that is as good.
            let above = self.parent(parent);
            let _ = self.replace(member, parent, above);
            member = above;
        }
    }

    /// Makes two sets one.
    pub(super) fn join(&self, a: u32, b: u32) {
        loop {
            let (a, b) = (self.root(a), self.root(b));
            // Fails if the greater one is no root any more: then again.
            if a == b || self.replace(a.max(b), a.max(b), a.min(b)) {
                return;
            }
        }
    }

    // No other memory hangs on a parent, so that the order of accesses is free.
    fn parent(&self, member: u32) -> u32 {
        self.parents[member as usize].load(Ordering::Relaxed)
    }

    fn replace(&self, member: u32, from: u32, to: u32) -> bool {
        let parent = &self.parents[member as usize];
        let (success, failure) = (Ordering::Relaxed, Ordering::Relaxed);
        parent.compare_exchange(from, to, success, failure).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use rayon::prelude::*;

    use super::*;

    #[test]
    fn the_smallest_member_stands_for_a_set_whatever_the_order() {
        const LEN: u32 = 10_000;
        // Sets of numbers with one remainder, joined back to front and by many threads.
        for _ in 0..20 {
            let groups = Groups::new(LEN);
            (0..LEN - 7)
                .into_par_iter()
                .rev()
                .for_each(|at| groups.join(at + 7, at));
            assert!((0..LEN).all(|at| groups.root(at) == at % 7));
        }
        let groups = Groups::new(4);
        groups.join(3, 1);
        groups.join(1, 1);
        assert_eq!([0, 1, 2, 3].map(|at| groups.root(at)), [0, 1, 2, 1]);
    }
}
