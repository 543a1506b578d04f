//! Changes to the bytes of a file.

use proptest::prelude::*;

/// A change to a file; places are shares of its length.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Set(f64, u8),
    /// A number where the reader may expect a length.
    Number(f64, u64),
    Insert(f64, Vec<u8>),
    Remove(f64, usize),
    /// A part once more, somewhere else.
    Copy(f64, f64, usize),
    Truncate(f64),
}

pub(crate) fn change() -> impl Strategy<Value = Change> {
    let place = 0.0..1.0f64;
    let numbers = prop_oneof![
        any::<u64>(),
        Just(u64::MAX),
        Just(u64::from(u32::MAX)),
        Just(i64::MAX as u64),
        (0..64u32).prop_map(|bit| 1 << bit),
    ];
    prop_oneof![
        6 => (place.clone(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        2 => (place.clone(), numbers).prop_map(|(at, number)| Change::Number(at, number)),
        1 => (place.clone(), prop::collection::vec(any::<u8>(), 1..8)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        1 => (place.clone(), 1..16usize).prop_map(|(at, len)| Change::Remove(at, len)),
        1 => (place.clone(), place.clone(), 1..256usize).prop_map(|(from, to, len)| Change::Copy(from, to, len)),
        1 => place.prop_map(Change::Truncate),
    ]
}

pub(crate) fn apply(bytes: &mut Vec<u8>, change: &Change) {
    let len = bytes.len();
    let at = |share: f64| ((len as f64 * share) as usize).min(len);
    match change {
        Change::Set(place, value) => {
            if let Some(byte) = bytes.get_mut(at(*place)) {
                *byte = *value;
            }
        }
        Change::Number(place, number) => {
            let bytes = &mut bytes[at(*place)..];
            let width = bytes.len().min(8);
            bytes[..width].copy_from_slice(&number.to_le_bytes()[..width]);
        }
        Change::Insert(place, new) => drop(bytes.splice(at(*place)..at(*place), new.iter().copied())),
        Change::Remove(place, count) => drop(bytes.drain(at(*place)..(at(*place) + count).min(len))),
        Change::Copy(from, to, count) => {
            let part = bytes[at(*from)..(at(*from) + count).min(len)].to_vec();
            drop(bytes.splice(at(*to)..at(*to), part));
        }
        Change::Truncate(place) => bytes.truncate(at(*place)),
    }
}
