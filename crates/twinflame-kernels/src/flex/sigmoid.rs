//! QuickGELU.

use super::exp::{exp, split};
use crate::activation::QUICK_GELU_SLOPE;

/// From here on the sigmoid counts as zero or one: `exp(-1.702 * 51)` is 2e-38, and soon not a normal number.
const LIMIT: f32 = 51.0;

/// The upper 12 bits of the slope, and the rest of it.
const SLOPE: [f32; 2] = {
    let high = f32::from_bits((QUICK_GELU_SLOPE as f32).to_bits() & !0xfff);
    [high, (QUICK_GELU_SLOPE - high as f64) as f32]
};

/// `x sigmoid(1.702 x)`.
#[inline(always)]
pub(crate) fn quick_gelu(x: f32) -> f32 {
    x * sigmoid_and_rest(x)[0]
}

/// `s (1 + 1.702 x (1 - s))` with `s = sigmoid(1.702 x)`.
#[inline(always)]
pub(crate) fn quick_gelu_derivative(x: f32) -> f32 {
    let [sigmoid, rest] = sigmoid_and_rest(x);
    // in this order, so that the largest `x` times the slope is not infinite where the factor is zero
    sigmoid + QUICK_GELU_SLOPE as f32 * (x * (sigmoid * rest))
}

/// `s = sigmoid(1.702 x)` and `1 - s`, each to nearly full precision.
#[inline(always)]
fn sigmoid_and_rest(x: f32) -> [f32; 2] {
    let distance = x.abs();
    let inside = distance < LIMIT;
    // of what is not a number too, which `x` brings into the result
    let a = if inside { distance } else { LIMIT };
    let [high, low] = split(a);
    // the first product is exact, and the second is what it lacks
    let exp = exp(-(high * SLOPE[0]), -(low * SLOPE[0] + a * SLOPE[1]));
    let exp = if inside { exp } else { 0.0 };
    let larger = 1.0 / (1.0 + exp);
    let smaller = exp * larger;
    if x < 0.0 { [smaller, larger] } else { [larger, smaller] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flex::sweep::{units, worst};

    fn sigmoid(x: f64) -> f64 {
        1.0 / (1.0 + (-QUICK_GELU_SLOPE * x).exp())
    }

    #[test]
    fn quick_gelu_is_exact_to_the_last_bits() {
        let error = |x| units(quick_gelu(x), f64::from(x) * sigmoid(x.into()), 0.0);
        assert!(worst("quick_gelu", LIMIT, error) < 4.0);
    }

    #[test]
    fn so_is_its_derivative_measured_by_its_terms() {
        let error = |x: f32| {
            let (wide, s) = (f64::from(x), sigmoid(x.into()));
            let terms = [s, QUICK_GELU_SLOPE * wide * s * sigmoid(-wide)];
            let largest = terms[0].abs().max(terms[1].abs());
            units(quick_gelu_derivative(x), terms[0] + terms[1], largest)
        };
        assert!(worst("derivative of quick_gelu", LIMIT, error) < 6.0);
    }

    #[test]
    fn beyond_the_limit_it_is_zero_or_the_identity() {
        for x in [LIMIT, 60.0, 1e10, f32::MAX] {
            assert_eq!((quick_gelu(x), quick_gelu_derivative(x)), (x, 1.0));
            assert_eq!((quick_gelu(-x), quick_gelu_derivative(-x)), (0.0, 0.0));
        }
    }
}
