//! The exponential function of what is not positive.

use std::f32::consts::LOG2_E;

/// `1.5 * 2^23`: added to a number of magnitude below `2^22`, it leaves the nearest integer in the lowest bits.
const ROUND: f32 = 12_582_912.0;

/// `ln 2` in two parts; an integer of 8 bits times the first is exact in f32 (Cephes' `expf`).
const LN_2: [f32; 2] = [355.0 / 512.0, -2.121_944_4e-4];

/// `q` of `exp(r) = 1 + r + r^2 q(r)`, from `fit/normal_tail.py`; relative error `4.2e-9` for `|r| <= 0.51 ln 2`.
const Q: [f32; 5] = [
    0.499_999_87,
    0.166_665_06,
    0.041_669_763,
    0.008_370_347,
    0.001_374_621_9,
];

/// `exp(high + low)`, within 2 units in the last place, for `high` from -87 to 0 and a `low` that is small beside 1.
///
/// An exponent of 80 known to f32's 24 bits leaves the result with 18, so whoever has more of them gives the rest as `low`.
#[inline(always)]
pub(super) fn exp(high: f32, low: f32) -> f32 {
    let rounded = high * LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = (high - n * LN_2[0]) - n * LN_2[1] + low;
    let power = r * r * polynomial(&Q, r) + r + 1.0;
    // times 2^n: n is in the lowest bits of `rounded`, the exponent of `power` from bit 23 on
    f32::from_bits(power.to_bits().wrapping_add(rounded.to_bits() << 23))
}

/// `coefficients[0] + coefficients[1] x + ..`, by Horner's rule.
#[inline(always)]
pub(super) fn polynomial<const N: usize>(coefficients: &[f32; N], x: f32) -> f32 {
    let mut value = 0.0;
    for &coefficient in coefficients.iter().rev() {
        value = value * x + coefficient;
    }
    value
}

/// `x` as the sum of its upper 12 bits and the rest. The square of the former is exact in f32, as is its product with another
/// number of 12 bits.
#[inline(always)]
pub(super) fn split(x: f32) -> [f32; 2] {
    let high = f32::from_bits(x.to_bits() & !0xfff);
    [high, x - high]
}
