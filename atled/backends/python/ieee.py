"""IEEE arithmetic on Python numbers: results where Python would raise.

`math` and `operator` raise at poles, outside domains, on overflow, and on a division by zero;
arrays have inf, nan or (for integers) a wrapped value there, as NumPy does. These are the slow
paths: arrays whose elements raise nowhere never come here.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

_INF, _NAN = math.inf, math.nan
_LOG2 = math.log(2.0)


def wrapped(value: int) -> int:
    """Return an integer as two's complement of 64 bits keeps it."""
    return ((value + 2**63) & (2**64 - 1)) - 2**63


def wrapping(function: Callable[..., int]) -> Callable[..., int]:
    """Return an exact integer function with its result wrapped."""
    return lambda *values: wrapped(function(*values))


def patched(
    function: Callable[[Any], float],
    poles: Mapping[float, float],
    overflow: Callable[[float], float],
) -> Callable[[Any], float]:
    """Return a function of `math` that has a value everywhere.

    Args:
        function: raises ValueError at a pole and outside its domain, OverflowError where the
            result is too large.
        poles: values at the poles; it is nan elsewhere outside the domain.
        overflow: the infinity at an argument whose result is too large.
    """

    def careful(x: Any) -> float:
        try:
            return function(x)
        except ValueError:
            return poles.get(x, _NAN)
        except OverflowError:
            return overflow(x)

    return careful


def signed_infinity(x: float) -> float:
    """Return the infinity with the sign of x."""
    return math.copysign(_INF, x)


def divide(a: float, b: float) -> float:
    """Return a / b; inf or nan where b is 0."""
    if b:
        return a / b
    if not a or a != a:
        return _NAN
    return math.copysign(_INF, a) * math.copysign(1.0, b)


def floor_divide(a: float, b: float) -> float:
    """Return a // b for floats; inf or nan where b is 0."""
    return a // b if b else divide(a, b)


def remainder(a: float, b: float) -> float:
    """Return a % b for floats, with the sign of b; nan where b is 0."""
    return a % b if b else _NAN


def floor_divide_integers(a: int, b: int) -> int:
    """Return a // b for integers, wrapped; 0 where b is 0."""
    return wrapped(a // b) if b else 0


def remainder_integers(a: int, b: int) -> int:
    """Return a % b for integers, with the sign of b; 0 where b is 0."""
    return a % b if b else 0


def power(a: float, b: float) -> float:
    """Return a to the power b; an infinity at a pole or on overflow, nan off the domain."""
    try:
        return math.pow(a, b)
    except ValueError:  # 0 to a negative power, or a negative number to a fractional one
        if a:
            return _NAN
    except OverflowError:
        pass
    return math.copysign(_INF, a) if b % 2 == 1 else _INF


def lgamma(x: float) -> float:
    """Return math.lgamma(x); inf at the integers from 0 down, and on overflow."""
    try:
        return math.lgamma(x)
    except (ValueError, OverflowError):
        return _INF


def logaddexp(a: float, b: float) -> float:
    """Return log(exp(a) + exp(b)) without overflow; -inf is the log of 0."""
    if a == b:
        return a + _LOG2
    low, high = (a, b) if a < b else (b, a)
    return high + math.log1p(math.exp(low - high)) if low == low and high == high else _NAN


def shift_left(a: int, bits: int) -> int:
    """Return a << bits in 64 bits; 0 for a shift out of range."""
    return wrapped(a << bits) if 0 <= bits < 64 else 0


def shift_right(a: int, bits: int) -> int:
    """Return a >> bits; all sign bits for a shift out of range."""
    return a >> bits if 0 <= bits < 64 else -(a < 0)


def truncated(x: float) -> int:
    """Return a float as an int64; the smallest one for nan and what is out of range."""
    try:
        value = int(x)
    except (ValueError, OverflowError):
        return -(2**63)
    return value if -(2**63) <= value < 2**63 else -(2**63)


def integral(function: Callable[[float], float]) -> Callable[[float], float]:
    """Return a rounding function that passes inf and nan through."""
    return lambda x: function(x) if math.isfinite(x) else x
