"""Functions of a few instructions: rounding, signs, comparisons, roots; floats and integers."""

import math
from collections.abc import Callable

from atled.compile.mathematics.values import Value, call, fma, is_nan

__all__ = [
    "absolute",
    "ceil",
    "copysign",
    "floor",
    "isfinite",
    "isinf",
    "isnan",
    "maximum",
    "minimum",
    "nextafter",
    "round_half_even",
    "rsqrt",
    "sign",
    "signbit",
    "sqrt",
    "trunc",
    "unsigned_sign",
]


def rounding(name: str) -> Callable[[Value], Value]:
    """Return a rounding function; an integer is rounded already."""

    def function(x: Value) -> Value:
        return call(name, x) if x.kind.is_float else x

    return function


floor, ceil, trunc = rounding("floor"), rounding("ceil"), rounding("trunc")
round_half_even = rounding("rint")  # in the default environment: to nearest, ties to even


def absolute(x: Value) -> Value:
    """Return |x|."""
    return abs(x)


def sign(x: Value) -> Value:
    """Return -1, 0 or 1; NaN for NaN."""
    positive = (x > 0).select(1, (x < 0).select(x.const(-1), 0))
    return is_nan(x).select(x, positive) if x.kind.is_float else positive


def signbit(x: Value) -> Value:
    """Return where the sign bit is set, as i1."""
    return (x.bits() if x.kind.is_float else x) < 0


def copysign(x: Value, y: Value) -> Value:
    """Return |x| with the sign of y."""
    return call("copysign", x, y)


def maximum(x: Value, y: Value) -> Value:
    """Return the larger; NaN if either is."""
    if not x.kind.is_float:
        return (x > y).select(x, y)
    return (x >= y).select(x, is_nan(x).select(x, y))


def minimum(x: Value, y: Value) -> Value:
    """Return the smaller; NaN if either is."""
    if not x.kind.is_float:
        return (x < y).select(x, y)
    return (x <= y).select(x, is_nan(x).select(x, y))


def isnan(x: Value) -> Value:
    """Return where x is NaN, as i1."""
    return is_nan(x)


def isinf(x: Value) -> Value:
    """Return where x is infinite, as i1."""
    return abs(x).equals(math.inf)


def isfinite(x: Value) -> Value:
    """Return where x is neither infinite nor NaN, as i1."""
    return abs(x) < math.inf


def sqrt(x: Value) -> Value:
    """Return the square root, correctly rounded."""
    return call("sqrt", x)


def rsqrt(x: Value) -> Value:
    """Return 1 / √x, the quotient corrected by the root's rounding error."""
    root = call("sqrt", x)
    y = 1.0 / root
    left = fma(-y, root, 1.0) - y * (fma(-root, root, x) * y) * 0.5
    better = fma(y, left, y)
    return ((x > 0.0) & (x < math.inf)).select(better, y)


def nextafter(x: Value, y: Value) -> Value:
    """Return the float next to x towards y."""
    bits = x.bits()
    away = (x < y) ^ (bits < 0)  # the magnitude grows
    stepped = bits + away.select(bits.const(1), -1)
    tiny = ((y.bits() & (1 << (bits.kind.bits - 1))) | 1).floats()
    moved = x.equals(0.0).select(tiny, stepped.floats())
    moved = x.equals(y).select(y, moved)
    return (is_nan(x) | is_nan(y)).select(x + y, moved)


def unsigned_sign(x: Value) -> Value:
    """Return 1 for an integer without a sign, 0 for 0."""
    return x.equals(0).select(x, 1)
