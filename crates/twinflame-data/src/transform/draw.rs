//! Random draws.
//!
//! Every number comes from 64 bits of the given generator by exact arithmetic, so a seed means the same image on
//! every machine. For the same reason `libm` computes sines and exponentials: the platform's differ in the last bit.

use rand::{Rng, RngExt};

/// Uniform in `low..high`.
pub(super) fn uniform<R: Rng + ?Sized>(rng: &mut R, [low, high]: [f64; 2]) -> f64 {
    low + (high - low) * rng.random::<f64>()
}

/// True with the given probability. Draws even when it is 0 or 1, so that one setting does not shift the draws of the
/// next.
pub(super) fn chance<R: Rng + ?Sized>(rng: &mut R, probability: f64) -> bool {
    rng.random::<f64>() < probability
}

/// Uniform in `0..count`.
///
/// # Panics
/// If `count` is 0.
pub(super) fn below<R: Rng + ?Sized>(rng: &mut R, count: u32) -> u32 {
    rng.random_range(0..count)
}
