"""Verbs that compute: numbers stay Python's, arrays go straight to atled's operations.

Integers are exact: alone they have no limit, in arrays they are int64. A power of integers that
would leave int64 becomes a list of integers; sums and products of arrays wrap, as in NumPy.
"""

import math
from typing import Any

from atled import functions as at
from atled.core.tensor import Tensor
from atled.klong.arrays import (
    carries,
    holds,
    integers,
    is_floating,
    real,
    settle,
    shape_of,
)
from atled.klong.errors import KlongError
from atled.klong.values import NUMBERS, Char, kind_of
from atled.klong.verbs.record import aligned, each_atom, each_pair, is_numeric, verb

__all__ = ["divide", "maximum", "minimum", "minus", "plus", "power", "times"]

LARGEST = 4_000_000  # bits of an integer


@verb("+", 2, "Plus", atomic=True)
def plus(a: Any, b: Any) -> Any:
    """a+b: the sum of a and b.

    12+3  -->  15
    12+-3  -->  9
    1+0.3  -->  1.3
    """
    if type(a) in NUMBERS and type(b) in NUMBERS:
        return a + b
    if is_numeric(a, b):
        return aligned(at.add, plus, "+", a, b)
    return each_pair(plus, "+", a, b)


@verb("-", 2, "Minus", atomic=True)
def minus(a: Any, b: Any) -> Any:
    """a-b: b subtracted from a.

    12-3  -->  9
    12--3  -->  15
    1-0.3  -->  0.7
    """
    if type(a) in NUMBERS and type(b) in NUMBERS:
        return a - b
    if is_numeric(a, b):
        return aligned(at.subtract, minus, "-", a, b)
    return each_pair(minus, "-", a, b)


@verb("*", 2, "Times", atomic=True)
def times(a: Any, b: Any) -> Any:
    """a*b: a multiplied by b.

    3*4  -->  12
    3*-4  -->  -12
    0.3*7  -->  2.1
    """
    if type(a) in NUMBERS and type(b) in NUMBERS:
        if type(a) is int and type(b) is int and a.bit_length() + b.bit_length() > LARGEST:
            raise _too_large()
        return a * b
    if is_numeric(a, b):
        return aligned(at.multiply, times, "*", a, b)
    return each_pair(times, "*", a, b)


@verb("%", 2, "Divide", atomic=True)
def divide(a: Any, b: Any) -> Any:
    """a%b: the quotient of a and b, always a real number; undefined where b is 0.

    10%2  -->  5.0
    10%8  -->  1.25
    """
    if type(a) in NUMBERS and type(b) in NUMBERS:
        if b == 0:
            return math.nan if a == 0 or a != a else math.copysign(math.inf, a)
        return a / b
    if is_numeric(a, b):
        return aligned(at.divide, divide, "%", a, b)
    return each_pair(divide, "%", a, b)


@verb("^", 2, "Power", atomic=True)
def power(a: Any, b: Any) -> Any:
    """a^b: a to the power of b; exact for integers, undefined where it would be complex.

    2^0  -->  1
    2^8  -->  256
    2^-5  -->  0.03125
    """
    if type(a) in NUMBERS and type(b) in NUMBERS:
        return _number_power(a, b)
    if is_numeric(a, b):
        if not (_is_real(a) or _is_real(b)):
            return _integer_powers(a, b)
        return aligned(at.pow, power, "^", a, b)
    return each_pair(power, "^", a, b)


def _number_power(a: Any, b: Any) -> Any:
    if type(a) is int and type(b) is int and b >= 0:
        if a.bit_length() * b > LARGEST and abs(a) > 1:
            raise _too_large()
        return a**b
    try:
        value = float(a) ** b
    except ZeroDivisionError:
        return math.inf
    except OverflowError:
        odd = a < 0 and b % 2 == 1
        return -math.inf if odd else math.inf
    return math.nan if isinstance(value, complex) else value


def _is_real(a: Any) -> bool:
    return is_floating(a) if type(a) is Tensor else type(a) is float


def _integer_powers(a: Any, b: Any) -> Any:
    """Raise integers to integers: in int64 where that is exact, else in reals or in a list."""
    positive = b >= 0 if type(b) is int else holds(at.greater_equal(at.min(b), 0))
    if not positive:
        a = real(a) if type(a) is Tensor else float(a)
    elif not _powers_fit(a, b):
        return each_pair(power, "^", a, b)
    return aligned(at.pow, power, "^", a, b)


def _powers_fit(a: Any, b: Any) -> bool:
    """Say whether all powers stay in int64: b log₂|a| < 63 for the largest b and |a|."""
    most = b if type(b) is int else real(at.max(b))
    if type(a) is int:
        bits = at.multiply(most, math.log2(max(abs(a), 1)))
    else:
        bits = at.multiply(most, at.log2(at.maximum(at.max(at.abs(real(a))), 1.0)))
    return holds(at.less(bits, 62.999))


def _too_large() -> KlongError:
    return KlongError(f"this integer would have more than {LARGEST} bits")


@verb("!", 2, "Remainder", atomic=True)
def remainder(a: Any, b: Any) -> Any:
    """a!b: what is left of the division of integers a and b; it has the sign of a.

    7!5  -->  2
    7!-5  -->  2
    (-7)!5  -->  -2
    -7!-5  -->  -2
    """
    if type(a) is int and type(b) is int:
        return int(math.copysign(1, a)) * (abs(a) % abs(b)) if b else math.nan
    if is_numeric(a, b):
        if not _whole(a, b):
            raise KlongError(f"a!b needs integers; found {kind_of(a)} and {kind_of(b)}")
        if (shape_of(a) or shape_of(b)) and _no_zero(b):
            return aligned(at.fmod, remainder, "!", a, b)
    return each_pair(remainder, "!", a, b)


@verb(":%", 2, "Integer-Divide", atomic=True)
def integer_divide(a: Any, b: Any) -> Any:
    """a:%b: the integer part of the quotient of integers; a = (b*a:%b)+a!b.

    10:%2  -->  5
    10:%8  -->  1
    """
    if type(a) is int and type(b) is int:
        if not b:
            return math.nan
        quotient = abs(a) // abs(b)
        return quotient if (a < 0) == (b < 0) else -quotient
    if is_numeric(a, b):
        if not _whole(a, b):
            raise KlongError(f"a:%b needs integers; found {kind_of(a)} and {kind_of(b)}")
        if (shape_of(a) or shape_of(b)) and _no_zero(b):
            return aligned(_truncated, integer_divide, ":%", a, b)
    return each_pair(integer_divide, ":%", a, b)


def _whole(a: Any, b: Any) -> bool:
    return not (_is_real(a) or _is_real(b))


def _no_zero(b: Any) -> bool:
    return bool(b) if type(b) is int else holds(at.all(at.not_equal(b, 0)))


def _truncated(a: Any, b: Any) -> Tensor:
    return at.floor_divide(at.subtract(a, at.fmod(a, b)), b)


@verb("|", 2, "Max/Or", atomic=True)
def maximum(a: Any, b: Any) -> Any:
    """a|b: the larger of two numbers; "or" of truth values.

    0|1  -->  1
    123|-123  -->  123
    1.0|1.1  -->  1.1
    """
    if type(a) in NUMBERS and type(b) in NUMBERS:
        return a if a >= b else b
    if is_numeric(a, b):
        return aligned(at.maximum, maximum, "|", a, b)
    return each_pair(maximum, "|", a, b)


@verb("&", 2, "Min/And", atomic=True)
def minimum(a: Any, b: Any) -> Any:
    """a&b: the smaller of two numbers; "and" of truth values.

    0&1  -->  0
    123&-123  -->  -123
    1.0&1.1  -->  1.0
    """
    if type(a) in NUMBERS and type(b) in NUMBERS:
        return a if a <= b else b
    if is_numeric(a, b):
        return aligned(at.minimum, minimum, "&", a, b)
    return each_pair(minimum, "&", a, b)


# -- of one operand


def _needs_number(glyph: str, a: Any) -> KlongError:
    return KlongError(f"{glyph}a needs a number; found {kind_of(a)}")


@verb("-", 1, "Negate", atomic=True)
def negate(a: Any) -> Any:
    """-a: 0-a.

    -1  -->  -1
    -1.23  -->  -1.23
    """
    if type(a) in NUMBERS:
        return -a
    if type(a) is Tensor:
        return settle(at.negative(a))
    if type(a) is list:
        return each_atom(negate, a)
    raise _needs_number("-", a)


@verb("%", 1, "Reciprocal", atomic=True)
def reciprocal(a: Any) -> Any:
    """%a: 1%a.

    %1  -->  1.0
    %2  -->  0.5
    %0.1  -->  10.0
    """
    if type(a) in NUMBERS or type(a) is Tensor:
        return divide(1, a)
    if type(a) is list:
        return each_atom(reciprocal, a)
    raise _needs_number("%", a)


@verb("_", 1, "Floor", atomic=True)
def floor(a: Any) -> Any:
    """_a: a rounded down, as an integer where reals of that size are exact.

    _123  -->  123
    _123.9  -->  123
    _1e100  -->  1.0e+100
    """
    if type(a) is int:
        return a
    if type(a) is float:
        return math.floor(a) if abs(a) < 2**53 else a
    if type(a) is Tensor:
        if not is_floating(a):
            return a
        low = at.floor(a.detach())
        if not shape_of(low) and not carries(low):
            return floor(settle(low))
        if not holds(at.all(at.less(at.abs(low), 2.0**53))):
            return each_atom(floor, low)
        return integers(low)
    if type(a) is list:
        return each_atom(floor, a)
    raise _needs_number("_", a)


@verb("#", 1, "Size")
def size(a: Any) -> Any:
    """#a: the length of a list or string, the magnitude of a number, the code of a character.

    #[1 2 3]  -->  3
    #"123456789"  -->  9
    #-123  -->  123
    #0cA  -->  65
    """
    kind = type(a)
    if kind in NUMBERS:
        return abs(a)
    if kind is Tensor:
        return shape_of(a)[0] if shape_of(a) else settle(at.abs(a))
    if kind is Char:
        return ord(a)
    if kind is list or kind is str or isinstance(a, dict):
        return len(a)
    raise KlongError(f"#a needs a list, a string, a number or a character; found {kind_of(a)}")
