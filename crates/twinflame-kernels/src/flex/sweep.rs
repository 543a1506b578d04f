//! Errors over all magnitudes of f32.

/// From one bit pattern to the next that is tried: a prime, so that all lowest bits occur.
const STRIDE: usize = 1_999;

/// Error in units in the last place (ulp) of the larger of `expected` and `scale`, as f32 has them.
pub(super) fn units(found: f32, expected: f64, scale: f64) -> f64 {
    let largest = (expected.abs().max(scale) as f32).max(f32::MIN_POSITIVE);
    let unit = f64::from(largest.next_up()) - f64::from(largest);
    (f64::from(found) - expected).abs() / unit
}

/// The largest `error` of both signs of every [`STRIDE`]th number below `limit`, some million of them; printed with its
/// place.
pub(super) fn worst(name: &str, limit: f32, error: impl Fn(f32) -> f64) -> f64 {
    let (mut largest, mut place, mut sum, mut count) = (0.0, 0.0, 0.0, 0_u32);
    for bits in (0..limit.to_bits()).step_by(STRIDE) {
        for x in [f32::from_bits(bits), -f32::from_bits(bits)] {
            let error = error(x);
            assert!(!error.is_nan(), "{name} of {x:e} is not a number");
            if error > largest {
                (largest, place) = (error, x);
            }
            sum += error;
            count += 1;
        }
    }
    println!(
        "{name}: {largest:.2} ulp at {place:e}, {:.3} on average of {count}",
        sum / f64::from(count)
    );
    largest
}
