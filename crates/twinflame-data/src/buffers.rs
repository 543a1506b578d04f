//! Large buffers that a thread uses again for its next image.
//!
//! A megabyte for each image that is asked of the system and given back costs a page fault for every 4 KiB, more than a tenth of
//! the time that an image takes.

use std::cell::RefCell;

/// Buffers that a thread keeps: those of an image before, between and after the passes of a resize.
const MAX_KEPT: usize = 4;

/// Smaller buffers are left to the allocator, which keeps them itself.
const MIN_BYTES: usize = 64 << 10;

/// Buffers of more bytes are given back to the system: one huge picture must not stay in memory for the rest of a run.
const MAX_BYTES: usize = 16 << 20;

thread_local! {
    static KEPT: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer of `len` bytes, whatever they are.
pub(crate) fn take(len: usize) -> Vec<u8> {
    let kept = KEPT.with_borrow_mut(|kept| {
        let large_enough = kept.iter().position(|buffer| buffer.capacity() >= len);
        large_enough.map(|index| kept.swap_remove(index))
    });
    let Some(mut buffer) = kept else {
        return vec![0; len];
    };
    buffer.resize(len, 0);
    buffer
}

/// Keeps a buffer for a [`take`] of this thread.
pub(crate) fn give(buffer: Vec<u8>) {
    if !(MIN_BYTES..=MAX_BYTES).contains(&buffer.capacity()) {
        return;
    }
    // a thread that ends keeps nothing
    let _ = KEPT.try_with(|kept| {
        let mut kept = kept.borrow_mut();
        kept.push(buffer);
        if kept.len() > MAX_KEPT {
            // the oldest: images may have become larger
            kept.remove(0);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_in_any_length_it_has_room_for() {
        std::thread::spawn(|| {
            let first = take(MIN_BYTES);
            let address = first.as_ptr();
            give(first);
            let shorter = take(40);
            assert_eq!((shorter.as_ptr(), shorter.len()), (address, 40));
            give(shorter);
            assert_eq!(take(MIN_BYTES + 1).len(), MIN_BYTES + 1);
            let longer = take(90);
            assert_eq!((longer.as_ptr(), longer.len()), (address, 90));
        })
        .join()
        .unwrap();
    }

    #[test]
    fn few_are_kept_and_none_that_is_tiny_or_huge() {
        std::thread::spawn(|| {
            give(Vec::with_capacity(MAX_BYTES + 1));
            give(Vec::with_capacity(MIN_BYTES - 1));
            assert!(KEPT.with_borrow(Vec::is_empty));
            (1..=10).for_each(|len| give(vec![0; MIN_BYTES + len]));
            let lengths =
                KEPT.with_borrow(|kept| kept.iter().map(|buffer| buffer.len() - MIN_BYTES).collect::<Vec<_>>());
            assert_eq!(lengths, [7, 8, 9, 10]);
        })
        .join()
        .unwrap();
    }
}
