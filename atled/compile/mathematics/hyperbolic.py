"""sinh and cosh from eˣ as a sum of two; asinh, acosh and atanh from log of a sum of two.

With arguments of twice the precision the textbook's formulas are good near zero too, where they
cancel. (tanh is in `exponential.py`.)
"""

import math

from atled.compile.mathematics.exponential import (
    clamp,
    copysign_to,
    exp_parts,
    power_of_two,
    reduced,
)
from atled.compile.mathematics.logarithm import log1p_parts, log_parts
from atled.compile.mathematics.values import (
    Value,
    call,
    fast_two_sum,
    fma,
    horner,
    through_double,
    two_product,
)

__all__ = ["acosh", "asinh", "atanh", "cosh", "sinh"]

# (sinh x / x - 1) / x² in x², for |x| < 1, to 2^-27 and 2^-61
SINH = {
    "float": [
        *(2.8175641091365833e-06, 1.983604597626254e-4, 8.333350531756878e-3),
        0.1666666716337204,
    ],
    "double": [
        *(7.775648028078905e-13, 1.605668815991889e-10, 2.5052130666413693e-08),
        *(2.755731910851815e-06, 1.9841269841589204e-4, 8.333333333332915e-3),
        0.16666666666666669,
    ],
}


def eighths(x: Value) -> tuple[Value, Value, Value]:
    """Return e^|x| / 8 as a sum of two, and e^-|x| / 8 (or less than 2^-100 of the former).

    An eighth, because e^|x| may be too large where half of it is not.
    """
    n, r, tail = reduced(clamp(abs(x), 0.0, 90.0 if x.kind.scalar == "float" else 711.0))
    high, low = exp_parts(r, tail)
    power = power_of_two(n - 3)
    inverse = power_of_two(-3 - (n > 100).select(100, n)) / high
    return high * power, low * power, inverse


def sinh(x: Value) -> Value:
    """Return (eˣ - e⁻ˣ) / 2."""
    grown, rest, shrunk = eighths(x)
    total, left = fast_two_sum(grown, -shrunk)
    far = 4.0 * (total + (left + rest))
    z = x * x
    near = fma(x * z, horner(z, SINH[x.kind.scalar]), x)
    y = (abs(x) < 1.0).select(near, copysign_to(far, x))
    return (abs(x) < 2.0**-30).select(x, y)  # -0.0


def cosh(x: Value) -> Value:
    """Return (eˣ + e⁻ˣ) / 2."""
    grown, rest, shrunk = eighths(x)
    total, left = fast_two_sum(grown, shrunk)
    return 4.0 * (total + (left + rest))


def root_of_sum(square: Value, rest: Value) -> tuple[Value, Value]:
    """Return √(square + rest) as a sum of two."""
    root = call("sqrt", square)
    left = (fma(-root, root, square) + rest) / (root + root)
    return root, square.equals(0.0).select(0.0, left)


@through_double
def asinh(x: Value) -> Value:
    """Return log(|x| + √(x² + 1)) with the sign of x; log 2|x| above 2^60."""
    a = abs(x)
    large = a > 2.0**60
    held = large.select(1.0, a)
    square, lost = two_product(held, held)
    total, left = fast_two_sum(*ordered(square, square.const(1.0)))
    root, root_rest = root_of_sum(total, left + lost)
    u, rest = fast_two_sum(root, held)
    y = doubled_log(large, a, u, rest + root_rest)
    y = (a < math.inf).select(y, a)
    return (a < 2.0**-28).select(x, copysign_to(y, x))


def ordered(a: Value, b: Value) -> tuple[Value, Value]:
    """Return the larger and the smaller of two positive numbers."""
    first = a > b
    return first.select(a, b), first.select(b, a)


def doubled_log(large: Value, x: Value, u: Value, rest: Value) -> Value:
    """Return log 2x where it is large, else log(u + rest)."""
    high, low = log_parts(large.select(x, u), large.select(0.0, rest))
    twice, left = fast_two_sum(high, large.select(math.log(2), high.const(0.0)))
    return twice + (left + low)


@through_double
def acosh(x: Value) -> Value:
    """Return log(x + √(x² - 1)); log 2x above 2^60."""
    large = x > 2.0**60
    held = large.select(2.0, x)
    square, lost = two_product(held, held)
    total, left = fast_two_sum(square, square.const(-1.0))
    root, root_rest = root_of_sum(total, left + lost)
    u, rest = fast_two_sum(held, root)
    y = doubled_log(large, x, u, rest + root_rest)
    y = (x < math.inf).select(y, x)
    return (x < 1.0).select(math.nan, y)


@through_double
def atanh(x: Value) -> Value:
    """Return log((1 + x) / (1 - x)) / 2, as log(1 + 2a / (1 - a)) of a = |x|."""
    a = abs(x)
    below, below_rest = fast_two_sum(a.const(1.0), -a)
    twice = a + a
    q = twice / below
    rest = fma(-q, below_rest, fma(-q, below, twice)) / below
    high, low = log1p_parts(q, rest)
    y = (a < 1.0).select(0.5 * (high + low), a.equals(1.0).select(a.const(math.inf), math.nan))
    return (a < 2.0**-28).select(x, copysign_to(y, x))
