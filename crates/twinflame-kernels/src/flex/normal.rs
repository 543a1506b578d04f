//! GELU by way of the normal distribution's tail.
//!
//! `0.5 (1 + erf(x / sqrt 2))` in f32 has no correct digit left where `x` is below -5, and loses half of them at -3.5. Here
//! the tail beyond `|x|` is computed to nearly full precision and subtracted from 1 where `x` is positive. It is
//! `exp(-x^2/2)`, which the derivative needs too, times a smooth function (cf. W. J. Cody, "Rational Chebyshev Approximations
//! for the Error Function", Math. Comp. 23, 1969).

use super::exp::{exp, polynomial, split};
use crate::activation::DENSITY_AT_0;

/// From here on the tail counts as zero: it is below 2.3e-38, and soon not a normal number.
const LIMIT: f32 = 12.9;

/// `K` of `fit/normal_tail.py`.
const K: f32 = 3.0;

/// `exp(a^2/2) tail(a) (a + K)` as a polynomial in `a / (a + K)`, from `fit/normal_tail.py`; relative error `9.9e-10`.
const TAIL: [f32; 11] = [
    1.5,
    -2.090_480_8,
    1.069_054_7,
    0.206_792_42,
    -0.256_858_61,
    -0.137_618_7,
    0.112_469_68,
    -0.107_661_1,
    0.256_729_85,
    -0.208_488_88,
    0.055_007_074,
];

/// `x normal_cdf(x)`.
#[inline(always)]
pub(crate) fn gelu(x: f32) -> f32 {
    x * cdf_and_exp(x)[0]
}

/// `normal_cdf(x) + x normal_density(x)`.
#[inline(always)]
pub(crate) fn gelu_derivative(x: f32) -> f32 {
    let [cdf, exp] = cdf_and_exp(x);
    cdf + x * (exp * DENSITY_AT_0 as f32)
}

/// `normal_cdf(x)` and `exp(-x^2/2)`.
#[inline(always)]
fn cdf_and_exp(x: f32) -> [f32; 2] {
    let distance = x.abs();
    let inside = distance < LIMIT;
    // of what is not a number too, which `x` brings into the result
    let a = if inside { distance } else { LIMIT };
    let [high, low] = split(a);
    // a^2 = high^2 + (a - high) (a + high), the first of them exact
    let exp = exp(-0.5 * (high * high), -0.5 * (low * (a + high)));
    let exp = if inside { exp } else { 0.0 };
    let inverse = 1.0 / (a + K);
    let tail = exp * (polynomial(&TAIL, a * inverse) * inverse);
    [if x < 0.0 { tail } else { 1.0 - tail }, exp]
}

#[cfg(test)]
mod tests {
    use std::f64::consts::SQRT_2;

    use super::*;
    use crate::flex::sweep::{units, worst};

    fn cdf(x: f64) -> f64 {
        0.5 * libm::erfc(-x / SQRT_2)
    }

    fn density_times(x: f64) -> f64 {
        x * (-0.5 * x * x).exp() * DENSITY_AT_0
    }

    #[test]
    fn gelu_is_exact_to_the_last_bits() {
        let error = |x| units(gelu(x), f64::from(x) * cdf(x.into()), 0.0);
        assert!(worst("gelu, |x| < 1", 1.0, error) < 4.0);
        assert!(worst("gelu, |x| < 3", 3.0, error) < 4.0);
        assert!(worst("gelu", LIMIT, error) < 8.0);
    }

    #[test]
    fn so_is_its_derivative_measured_by_its_terms() {
        let error = |x: f32| {
            let terms = [cdf(x.into()), density_times(x.into())];
            let largest = terms[0].abs().max(terms[1].abs());
            units(gelu_derivative(x), terms[0] + terms[1], largest)
        };
        assert!(worst("derivative of gelu, |x| < 3", 3.0, error) < 4.0);
        assert!(worst("derivative of gelu", LIMIT, error) < 8.0);
    }

    #[test]
    fn beyond_the_limit_it_is_zero_or_the_identity() {
        for x in [LIMIT, 14.0, 1e10, f32::MAX] {
            assert_eq!((gelu(x), gelu_derivative(x)), (x, 1.0));
            assert_eq!((gelu(-x), gelu_derivative(-x)), (0.0, 0.0));
        }
    }
}
