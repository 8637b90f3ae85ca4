"""log and its family: the exponent by bits, and log(1 + f) of what is left.

x = 2ᵏ·m with m in [√½, √2], and f = m - 1. In float64, as in Sun's fdlibm (e_log.c) and
FreeBSD's k_log.h: with s = f / (2 + f), log(1 + f) = f - f²/2 + s·(f²/2 + R(s²)), where
2 artanh s = 2s + s·R(s²). In float32 a polynomial in f needs no division. Both are minimax
polynomials of our own (Remez exchange), with errors below 2^-27 and 2^-59 of the logarithm;
``python tools/minimax.py`` finds float32's again.
"""

import math

from atled.compile.mathematics.exponential import (
    BIAS,
    LN2,
    MANTISSA,
    exp_parts,
    power_of_two,
    reduced,
    scale,
)
from atled.compile.mathematics.values import (
    Value,
    constant_pair,
    fast_two_sum,
    fma,
    horner,
    is_nan,
    two_product,
    two_sum,
)

__all__ = [
    "ends",
    "log",
    "log1p",
    "log1p_parts",
    "log2",
    "log10",
    "log_parts",
    "positive_log",
    "split",
    "with_exponent",
]

# (log(1 + f) - f + f²/2) / f³
LOG = [
    *(-7.638765871524811e-2, 0.12764877080917358, -0.13159999251365662, 0.14201226830482483),
    *(-0.16623327136039734, 0.20001253485679626, -0.250008225440979, 0.3333333134651184),
]
# R: (2·artanh(s) / s - 2) / s² in s²
ARTANH = [
    *(0.1482845366512978, 0.15310946912736, 0.18183679527062813, 0.22222196484081597),
    *(0.28571428761385714, 0.3999999999933603, 0.6666666666666745),
]


def split(x: Value) -> tuple[Value, Value]:
    """Return the float k and m in [√½, √2] so that x = 2ᵏ·m, for a finite x > 0."""
    scalar = x.kind.scalar
    subnormal = x < 2.0 ** (1 - BIAS[scalar])
    x = subnormal.select(x * 2.0**54, x)
    root = x.const(math.sqrt(0.5)).bits()
    above = x.bits() - root
    m = ((above & ((1 << MANTISSA[scalar]) - 1)) + root).floats()
    exponent = (above >> MANTISSA[scalar]).to(scalar)
    return subnormal.select(exponent - 54.0, exponent), m


def beyond_square(f: Value, half_square: Value) -> Value:
    """Return log(1 + f) - f + f²/2, given f²/2."""
    if f.kind.scalar == "float":
        return f * half_square * (2.0 * horner(f, LOG))
    s = f / (f + 2.0)
    z = s * s
    return s * fma(z, horner(z, ARTANH), half_square)


def ends(x: Value, y: Value) -> Value:
    """Return y = log x where x is positive and finite, and what it ought to be elsewhere."""
    y = (x < math.inf).select(y, x)
    return (x > 0.0).select(y, x.equals(0.0).select(y.const(-math.inf), math.nan))


def positive_log(x: Value) -> Value:
    """Return the natural logarithm of a finite x > 0.

    float32's ln 2 is good to 29 bits, by luck: one step adds k times it to log m.
    """
    ln2, rest = constant_pair(x, *LN2)
    k, m = split(x)
    f = m - 1.0
    if x.kind.scalar == "float":
        return fma(k, ln2, fma(f * f, horner(f, [*LOG, -0.5]), f))
    half_square = f * f * 0.5
    low = fma(k, rest, beyond_square(f, half_square) - half_square)
    return fma(k, ln2, f) + low


def log(x: Value) -> Value:
    """Return the natural logarithm."""
    return ends(x, positive_log(x))


def log_of_fraction(f: Value, tail: Value | None = None) -> tuple[Value, Value]:
    """Return log(1 + f + tail) as a sum of two, to 57 bits (27 in float32), for |f| < 0.42."""
    half_square, lost = two_product(0.5 * f, f)
    high, low = fast_two_sum(f, -half_square)
    low = low - lost + beyond_square(f, half_square)
    if tail is not None:
        low = low + tail / (f + 1.0)
    return high, low


def log_parts(x: Value, tail: Value | None = None) -> tuple[Value, Value]:
    """Return the natural logarithm of x + tail as a sum of two, for a finite x > 0."""
    k, m = split(x)
    if tail is None:
        return with_exponent(k, *log_of_fraction(m - 1.0))
    n = k.to(f"i{k.kind.bits}")
    most = BIAS[k.kind.scalar] - 1
    n = (n > most).select(most, n)  # 2⁻ⁿ must be normal; a tail that is left too large is tiny
    f, rest = fast_two_sum(m - 1.0, tail * power_of_two(-n))
    return with_exponent(k, *log_of_fraction(f, rest))


def with_exponent(k: Value, high: Value, low: Value) -> tuple[Value, Value]:
    """Return k·ln 2 + high + low as a sum of two."""
    ln2, rest = constant_pair(k, *LN2)
    whole, lost = two_product(k, ln2)
    total, left = fast_two_sum(whole, high)
    return total, fma(k, rest, low + left + lost)


def log1p_parts(high: Value, low: Value | None = None) -> tuple[Value, Value]:
    """Return log(1 + high + low) as a sum of two, where 1 + high is positive and finite."""
    u, lost = two_sum(high.const(1.0), high)
    return log_parts(u, lost if low is None else lost + low)


def log1p(x: Value) -> Value:
    """Return log(1 + x), exact near zero too."""
    high, low = log1p_parts(x)
    y = ends(x + 1.0, high + low)
    return (abs(x) < 2.0**-60).select(x, y)


def log2(x: Value) -> Value:
    """Return the logarithm to base 2."""
    inverse, rest = constant_pair(x, 1.4426950408889634, 2.0355273740931033e-17)
    k, m = split(x)
    high, low = log_of_fraction(m - 1.0)
    y, lost = two_product(high, inverse)
    total, left = fast_two_sum(k, y)
    return ends(x, total + (left + fma(low, inverse, fma(high, rest, lost))))


def log10(x: Value) -> Value:
    """Return the logarithm to base 10."""
    inverse, rest = constant_pair(x, 0.4342944819032518, 1.098319650216765e-17)
    high, low = log_parts(x)
    y, lost = two_product(high, inverse)
    return ends(x, y + fma(low, inverse, fma(high, rest, lost)))


def log1p_of_exp(d: Value, lost: Value | None = None) -> tuple[Value, Value]:
    """Return log(1 + e^(d + lost)) as a sum of two, for d <= 0."""
    low = -104.0 if d.kind.scalar == "float" else -746.0
    n, r, tail = reduced((d < low).select(low, d))
    high, rest = exp_parts(r, tail if lost is None else tail + lost)
    return log1p_parts(scale(high, n), scale(rest, n))


def softplus(x: Value) -> Value:
    """Return log(1 + eˣ): the larger of x and 0, and log(1 + e^-|x|)."""
    larger = (x < 0.0).select(0.0, x)
    high, low = log1p_of_exp(-abs(x))
    total, left = two_sum(larger, high)
    return (larger < math.inf).select(total + (left + low), larger)


def log_sigmoid(x: Value) -> Value:
    """Return log(1 / (1 + e⁻ˣ))."""
    return -softplus(-x)


def logaddexp(x: Value, y: Value) -> Value:
    """Return log(eˣ + eʸ): the larger, and log(1 + e⁻ᵈ) of the distance d.

    The two may cancel: the error is below an ulp of the larger operand.
    """
    first = x >= y
    larger, smaller = first.select(x, y), first.select(y, x)
    distance, lost = two_sum(smaller, -larger)
    distance = x.equals(y).select(0.0, distance)  # of two infinities too
    high, low = log1p_of_exp(distance, (abs(lost) < 1.0).select(lost, 0.0))
    total, left = two_sum(larger, high)
    result = (abs(larger) < math.inf).select(total + (left + low), larger)
    return (is_nan(x) | is_nan(y)).select(x + y, result)
