"""lgamma and digamma.

Near the middle a minimax polynomial with the function's zero taken out, which keeps it exact
there; the recurrence by one step on both sides; Stirling's series, as a minimax polynomial too,
above; and the reflection formula for negative arguments. Near the zeros between the negative
poles only the absolute error is small.
"""

import math

from atled.compile.mathematics.logarithm import log_parts, positive_log
from atled.compile.mathematics.trigonometric import cosine_parts, sine_parts
from atled.compile.mathematics.values import (
    Value,
    call,
    fast_two_sum,
    fma,
    horner,
    is_nan,
    through_double,
    two_product,
    two_sum,
)

__all__ = ["digamma", "lgamma"]

Pair = tuple[Value, Value]  # a number as the sum of two

PI = (3.141592653589793, 1.2246467991473532e-16)
LOG_PI = 1.1447298858494002
# lgamma(2 + d) / d, for |d| <= 1/2
LGAMMA = [
    *(2.8267443919479236e-07, -5.813068843134823e-07, 9.158581950189125e-07),
    *(-1.9741355803083896e-06, 4.386546184786445e-06, -9.456358023515049e-06),
    *(2.0505161644496244e-05, -4.492371320532016e-05, 9.945773049990303e-05),
    *(-2.2315497910541338e-4, 5.096695111249941e-4, -1.1927539008963037e-3),
    *(2.8905103312054058e-3, -7.385551028938658e-3, 2.0580808427777313e-2),
    *(-6.73523010531956e-2, 0.32246703342411326, 0.42278433509846713),
]
# x·(lgamma x - (x - ½)·log x + x - log √(2π)) in 1 / x², for x >= 3.5
STIRLING = [
    *(0.48336696819496566, -0.3084602695299215, 0.10112546795826462, -2.5171465331749333e-2),
    *(6.233642966655526e-3, -1.9125892455809062e-3, 8.416592935449572e-4),
    *(-5.952370380699745e-4, 7.936507867886035e-4, -2.777777777757079e-3, 8.333333333333331e-2),
]
# digamma(1.5 + u) / (1.5 + u - its zero), for |u| <= 1/2
DIGAMMA = [
    *(5.940354943863064e-05, -8.40139090134373e-05, 3.331061161592646e-05),
    *(-5.76033564520742e-05, 1.500634916390623e-4, -2.2008518960486788e-4),
    *(3.048489139611248e-4, -4.5917392154347765e-4, 6.952127985087723e-4),
    *(-1.042437653889693e-3, 1.5627418962561967e-3, -2.3446244499697e-3),
    *(3.5181669111051133e-3, -5.280020265852515e-3, 7.927018061031752e-3),
    *(-1.1908215022864311e-2, 1.7907248459290124e-2, -2.6975796849874365e-2),
    *(4.076083393781906e-2, -6.1922133271540794e-2, 9.498872445292089e-2),
    *(-0.14840492305391872, 0.2405424842407869, -0.42362742128146047, 0.9510558760318328),
]
DIGAMMA_ZERO = (1.4616321449683622, 9.549995429965697e-17)
# (digamma x - log x + 1 / 2x)·x² in 1 / x², for x >= 3
DIGAMMA_SERIES = [
    *(16.293681358531675, -13.997161982087157, 5.777551689597278, -1.5946646465816214),
    *(0.3587682897947328, -7.959336104418872e-2, 2.0972478518335416e-2),
    *(-7.573076799358979e-3, 4.166627733062463e-3, -3.968253631937357e-3),
    *(8.333333331862956e-3, -8.333333333333108e-2),
]


def positive_lgamma(x: Value) -> Value:
    """Return log Γ(x) for a finite x > 0."""
    d = (x < 0.5).select(x, x - (x < 1.5).select(x.const(1.0), (x < 2.5).select(x.const(2.0), 3.0)))
    shifted = (x < 2.5).select(x.const(1.0), x - 1.0)
    argument = (x < 0.5).select(x * (x + 1.0), (x < 1.5).select(x, shifted))
    high, low = log_parts((x < 3.5).select(argument, x))
    term, term_rest = two_product(d, horner(d, LGAMMA))
    sign = (x < 1.5).select(x.const(-1.0), 1.0)
    near, near_rest = two_sum(term, sign * high)
    near = near + (near_rest + fma(sign, low, term_rest))

    inverse = 1.0 / x
    series = inverse * horner(inverse * inverse, STIRLING)
    factor, factor_rest = x - 0.5, x.const(-0.5) - ((x - 0.5) - x)
    less, less_rest = two_sum(high - 1.0, low)
    far, far_rest = two_product(factor, less)
    far_rest = fma(factor, less_rest, fma(factor_rest, less, far_rest))
    total = far + (far_rest + (series + 0.41893853320467274))  # log √(2π) - 1/2
    far = (far < math.inf).select(total, far)
    return (x < 3.5).select(near, far)


def half_turn(a: Value) -> tuple[Pair, Pair, Value]:
    """Return |sin πr| and |cos πr| as sums of two, and r: a less the nearest integer."""
    r = a - call("rint", a)
    size = abs(r)
    turned = size > 0.25
    angle = turned.select(0.5 - size, size)
    product, lost = two_product(angle, PI[0])
    tail = fma(angle, PI[1], lost)
    first, first_rest = fast_two_sum(*sine_parts(product, tail))
    second, second_rest = fast_two_sum(*cosine_parts(product, tail))
    sine = turned.select(second, first), turned.select(second_rest, first_rest)
    cosine = turned.select(first, second), turned.select(first_rest, second_rest)
    return sine, cosine, r


def cotangent(sine: Pair, cosine: Pair, r: Value) -> Pair:
    """Return π·cot πr as a sum of two, from what `half_turn` returns."""
    inverse = 1.0 / sine[0]
    q = cosine[0] * inverse
    rest = fma(-q, sine[1], fma(-q, sine[0], cosine[0]) + cosine[1]) * inverse
    product, lost = two_product(q, PI[0])
    lost = fma(q, PI[1], fma(rest, PI[0], lost))
    negative = r < 0.0
    return negative.select(-product, product), negative.select(-lost, lost)


@through_double
def lgamma(x: Value) -> Value:
    """Return log |Γ(x)|; for x < 0 as log π - log |x·sin πx| - log Γ(-x)."""
    a = abs(x)
    y = positive_lgamma(a)
    (sine, _), _, r = half_turn(a)
    reflected = LOG_PI - (positive_log(a * sine) + y)
    y = ((x < 0.0) & (a > 2.0**-70)).select(reflected, y)
    pole = x.equals(0.0) | (r.equals(0.0) & (x < 0.0)) | a.equals(math.inf)
    return is_nan(x).select(x, pole.select(math.inf, y))


@through_double
def digamma(x: Value) -> Value:
    """Return the derivative of log Γ; for x = -a < 0 as ψ(a) + 1/a + π·cot πa."""
    a = abs(x)
    negative = x < 0.0
    below, middle, near = a < 1.0, a < 2.0, a < 3.0
    zero, zero_rest = DIGAMMA_ZERO
    center = below.select(a.const(0.5), middle.select(a.const(1.5), 2.5))
    origin = below.select(a.const(zero - 1.0), zero)
    step = middle.select(a, a - 1.0)  # where the recurrence divides
    distance = (middle.select(a, step) - origin) - zero_rest
    core = distance * horner(a - center, DIGAMMA)

    inverse = 1.0 / a
    series = inverse * inverse * horner(inverse * inverse, DIGAMMA_SERIES)
    far = positive_log(a) + fma(inverse, -0.5, series)
    y = near.select(core, far)
    down = negative.select(a.const(0.0), -inverse)
    shift = below.select(down, middle.select(a.const(0.0), 1.0 / step))
    y = near.select(y + shift, y)

    sine, cosine, r = half_turn(a)
    turn, turn_rest = cotangent(sine, cosine, r)
    total, left = two_sum(y + below.select(y.const(0.0), inverse), turn)
    reflected = total + (left + turn_rest)
    y = negative.select(r.equals(0.0).select(math.nan, reflected), y)
    y = x.equals(0.0).select(-1.0 / x, y)
    y = x.equals(math.inf).select(x, y)
    return (x > -math.inf).select(y, math.nan)
