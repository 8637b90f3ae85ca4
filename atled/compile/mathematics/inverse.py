"""asin, acos, atan and atan2.

The reductions are those of Sun's fdlibm (e_asin.c, s_atan.c), with polynomials of our own
(Remez exchange): z = x² below 0.25 for asin, below 0.1915 for atan.
"""

import math

from atled.compile.mathematics.values import (
    Value,
    call,
    constant_pair,
    fast_two_sum,
    fma,
    horner,
    is_nan,
    through_double,
)

__all__ = ["acos", "asin", "atan", "atan2"]

HALF_PI = (1.5707963267948966, 6.123233995736766e-17)
# (atan t / t - 1) / t² in t², for t < 7/16
ATAN = {
    "float": [
        *(-5.821922793984413e-2, 0.1049228310585022, -0.14229844510555267),
        *(0.1999775618314743, -0.3333330452442169),
    ],
    "double": [
        *(-1.627056049590632e-2, 3.651624456512884e-2, -4.976214680148059e-2),
        *(5.83340834884331e-2, -6.66104870809334e-2, 7.691873843582568e-2),
        *(-9.090886987449057e-2, 0.11111110399866958, -0.14285714272379452),
        *(0.199999999998751, -0.33333333333332926),
    ],
}
# (asin t / t - 1) / t² in t², for t <= 1/2
ASIN = {
    "float": [
        *(3.757810220122337e-2, 1.4393857680261135e-2, 3.181980177760124e-2),
        *(4.451547563076019e-2, 7.500512152910233e-2, 0.16666659712791443),
    ],
    "double": [
        *(3.270043951728672e-2, -2.111387670695002e-2, 2.1788566436011493e-2),
        *(3.673074662374732e-3, 1.0789074984140968e-2, 1.139733921051706e-2),
        *(1.3981012567201962e-2, 1.7351596030743065e-2, 2.237221587415671e-2),
        *(3.0381942676499622e-2, 4.464285717525849e-2, 7.499999999970129e-2),
        0.16666666666666763,
    ],
}
# What rounding took from atan ½, atan 1 and atan 1½.
ATAN_REST = {0.5: 2.2698777452961687e-17, 1.0: 3.061616997868383e-17, 1.5: 1.3903311031230998e-17}


def quotient_angle(y: Value, x: Value) -> tuple[Value, Value]:
    """Return atan(y / x) as a sum of two, for y >= 0 and x >= 0 that are not both 0.

    With t = y / x: atan t = atan c + atan((t - c) / (1 + c·t)) for c = 0, ½, 1, 1½, ∞; numerator
    and denominator are rounded once each.
    """
    steps = ((0.4375, 0.5), (0.6875, 1.0), (1.1875, 1.5), (2.4375, math.inf))
    above, below = y, x
    high, low = y.const(0.0), y.const(0.0)
    for bound, c in steps:
        beyond = y > x * bound
        if c == math.inf:
            top, bottom = -x, y
            angle, rest = constant_pair(x, *HALF_PI)
        else:
            top, bottom = fma(x, -c, y), fma(y, c, x)
            angle, rest = constant_pair(x, math.atan(c), ATAN_REST[c])
        above, below = beyond.select(top, above), beyond.select(bottom, below)
        high, low = beyond.select(angle, high), beyond.select(rest, low)
    t = above / below
    z = t * t
    series = fma(t * z, horner(z, ATAN[x.kind.scalar]), low)
    total, left = fast_two_sum(high, t)
    return total, left + series


def atan(x: Value) -> Value:
    """Return the arc tangent."""
    total, rest = quotient_angle(abs(x), x.const(1.0))
    return call("copysign", total + rest, x)


@through_double
def atan2(y: Value, x: Value) -> Value:
    """Return the angle of the point (x, y)."""
    a, b = abs(y), abs(x)
    both = a.equals(math.inf) & b.equals(math.inf)
    a, b = both.select(1.0, a), both.select(1.0, b)
    large = (a > 2.0**1000) | (b > 2.0**1000)
    small = (a < 2.0**-900) & (b < 2.0**-900)
    factor = large.select(a.const(2.0**-100), small.select(a.const(2.0**150), 1.0))
    a, b = a * factor, b * factor
    nothing = a.equals(0.0)
    total, rest = quotient_angle(a, nothing.select(1.0, b))
    turned = fast_two_sum(total.const(math.pi), -total)
    left = x.bits() < 0
    angle = left.select(turned[0], total) + left.select(turned[1] - rest + 2 * HALF_PI[1], rest)
    angle = call("copysign", angle, y)
    return (is_nan(x) | is_nan(y)).select(x + y, angle)


def asin_series(t: Value, z: Value) -> Value:
    """Return asin t - t for t <= 1/2, given z = t²."""
    return t * z * horner(z, ASIN[t.kind.scalar])


def root_parts(z: Value) -> tuple[Value, Value]:
    """Return √z and what rounding took from it; 0 for 0."""
    root = call("sqrt", z)
    rest = fma(-root, root, z) / (root + root)
    return root, z.equals(0.0).select(0.0, rest)


def acos_of_large(a: Value) -> tuple[Value, Value]:
    """Return acos a as a sum of two, for 1/2 <= a <= 1: 2·asin √((1 - a) / 2)."""
    z = (1.0 - a) * 0.5
    root, rest = root_parts(z)
    return root + root, 2.0 * (asin_series(root, z) + rest)


def asin(x: Value) -> Value:
    """Return the arc sine."""
    a = abs(x)
    half_pi, half_pi_rest = constant_pair(x, *HALF_PI)
    small = a + asin_series(a, a * a)
    angle, rest = acos_of_large(a)
    total, left = fast_two_sum(a.const(half_pi), -angle)
    large = total + (left + (half_pi_rest - rest))
    return call("copysign", (a < 0.5).select(small, large), x)


def acos(x: Value) -> Value:
    """Return the arc cosine."""
    a = abs(x)
    half_pi, half_pi_rest = constant_pair(x, *HALF_PI)
    first, rest = fast_two_sum(x.const(half_pi), -x)
    small = first + (rest + (half_pi_rest - asin_series(x, x * x)))
    angle, angle_rest = acos_of_large(a)
    total, left = fast_two_sum(a.const(2 * half_pi), -angle)
    turned = total + (left + (2 * half_pi_rest - angle_rest))
    return (a < 0.5).select(small, (x < 0.0).select(turned, angle + angle_rest))
