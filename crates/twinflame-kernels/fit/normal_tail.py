"""Coefficients of src/flex/normal.rs and src/flex/exp.rs. Needs mpmath: `python normal_tail.py`.

The tail of the normal distribution is exp(-a^2/2) R(a) with a smooth R. R(a) (a + K) is a polynomial of degree DEGREE in
v = a / (a + K), which maps the range of a to a part of [0, 1]. Its value at 0, K / 2, is kept exact, so that GELU is exact to
the last bits around 0. K and DEGREE are those of the smallest error after evaluation in f32 among K = 2, 2.5, 3, 4 and degrees
9 to 11.
"""

import mpmath as mp

mp.mp.dps = 40

K = mp.mpf(3)
DEGREE = 10
LIMIT = mp.mpf("12.9")
POINTS = 400


def ratio(a):
    """Tail of the normal distribution beyond a, over exp(-a^2/2)."""
    return mp.exp(a * a / 2) * mp.erfc(a / mp.sqrt(2)) / 2


def chebyshev(low, high):
    middle, radius = (low + high) / 2, (high - low) / 2
    return [middle - radius * mp.cos(mp.pi * (i + mp.mpf(1) / 2) / POINTS) for i in range(POINTS)]


def least_squares(points, weights, targets, first, last):
    """Coefficients of x^first .. x^last."""
    rows, right = mp.matrix(len(points), last - first + 1), mp.matrix(len(points), 1)
    for i, (x, weight, target) in enumerate(zip(points, weights, targets)):
        for j in range(first, last + 1):
            rows[i, j - first] = weight * x**j
        right[i] = weight * target
    return list(mp.lu_solve(rows, right))


def tail():
    """Lawson's reweighted least squares, which goes towards the smallest maximum of the relative error."""
    points = chebyshev(mp.mpf(0), LIMIT / (LIMIT + K))
    values = [ratio(K * v / (1 - v)) * K / (1 - v) for v in points]
    weights, best = [mp.mpf(1)] * POINTS, None
    for _ in range(25):
        relative = [weight / value for weight, value in zip(weights, values)]
        found = least_squares(points, relative, [value - K / 2 for value in values], 1, DEGREE)
        coefficients = [K / 2] + found
        errors = [abs(mp.polyval(coefficients[::-1], v) / value - 1) for v, value in zip(points, values)]
        worst = max(errors)
        if best is None or worst < best[0]:
            best = worst, coefficients
        weights = [weight * mp.sqrt(error / worst + mp.mpf("1e-3")) for weight, error in zip(weights, errors)]
        weights = [weight / max(weights) for weight in weights]
    return best


def exponential():
    """q of exp(r) = 1 + r + r^2 q(r), degree 4, where |r| is at most half of ln 2 and a little for rounding."""
    reach = mp.log(2) / 2 * mp.mpf("1.02")
    points = chebyshev(-reach, reach)
    weights = [r * r / mp.exp(r) for r in points]
    values = [(mp.exp(r) - 1 - r) / r**2 for r in points]
    found = least_squares(points, weights, values, 0, 4)
    errors = [weight * abs(mp.polyval(found[::-1], r) - value) for r, weight, value in zip(points, weights, values)]
    return max(errors), found


for name, (error, coefficients) in ("tail", tail()), ("exp", exponential()):
    print(name, "relative error", mp.nstr(error, 3))
    print([mp.nstr(coefficient, 10) for coefficient in coefficients])
