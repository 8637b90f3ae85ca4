"""Elementwise functions of one array.

Each maps a function of `math` or `operator` over the elements in C, and falls back to its
careful form of `ieee` where that raises. Float functions of integers give float64.
"""

import builtins
import math
import operator
from array import array
from collections.abc import Callable
from itertools import repeat
from typing import Any

from atled.backends.python import ieee
from atled.backends.python.array import Array
from atled.backends.python.operand import as_array, mapped
from atled.dtypes import DType, bool_, float64, int64
from atled.errors import DTypeError

__all__ = [
    "abs", "acos", "acosh", "asin", "asinh", "atan", "atanh", "bitwise_invert", "ceil", "cos",
    "cosh", "erf", "exp", "exp2", "expm1", "floor", "isfinite", "isinf", "isnan", "lgamma",
    "log", "log1p", "log2", "log10", "logical_not", "negative", "positive", "round", "sign",
    "signbit", "sin", "sinh", "sqrt", "square", "tan", "tanh", "trunc",
]  # fmt: skip


_PLUS, _MINUS = math.inf, -math.inf


def _floating(
    function: Callable[[Any], float],
    poles: dict[float, float] | None = None,
    overflow: Callable[[float], float] = ieee.signed_infinity,
) -> Callable[[Any], Array]:
    """Return the elementwise form of a function of `math`; see `ieee.patched`."""
    name = function.__name__
    careful = ieee.patched(function, poles or {}, overflow)

    def call(x: Any) -> Array:
        x = as_array(name, x)
        return Array(mapped(float64, function, careful, x.flat()), x.shape, float64)

    call.__name__ = call.__qualname__ = name
    return call


sqrt = _floating(math.sqrt)
exp = _floating(math.exp)
exp2 = _floating(math.exp2)
expm1 = _floating(math.expm1)
log = _floating(math.log, {0.0: _MINUS})
log1p = _floating(math.log1p, {-1.0: _MINUS})
log2 = _floating(math.log2, {0.0: _MINUS})
log10 = _floating(math.log10, {0.0: _MINUS})
sin = _floating(math.sin)
cos = _floating(math.cos)
tan = _floating(math.tan)
asin = _floating(math.asin)
acos = _floating(math.acos)
atan = _floating(math.atan)
sinh = _floating(math.sinh)
cosh = _floating(math.cosh, overflow=lambda x: _PLUS)
tanh = _floating(math.tanh)
asinh = _floating(math.asinh)
acosh = _floating(math.acosh)
atanh = _floating(math.atanh, {1.0: _PLUS, -1.0: _MINUS})
erf = _floating(math.erf)


def lgamma(x: Any) -> Array:
    """Return log(abs(gamma(x))); inf at its poles, the integers from 0 down."""
    x = as_array("lgamma", x)
    return Array(mapped(float64, math.lgamma, ieee.lgamma, x.flat()), x.shape, float64)


def _rounding(function: Callable[[Any], Any], name: str) -> Callable[[Any], Array]:
    """Return the elementwise form of a rounding function; integers pass through.

    The sign of x is put back on the result, which keeps -0.0 as IEEE has it.
    """
    careful = ieee.integral(function)

    def call(x: Any) -> Array:
        found = as_array(name, x)
        if found.dtype is not float64:
            return found
        flat = found.flat()
        try:
            data = array("d", map(math.copysign, map(function, flat), flat))
        except (OverflowError, ValueError):
            data = array("d", map(math.copysign, map(careful, flat), flat))
        return Array(data, found.shape, float64)

    call.__name__ = call.__qualname__ = name
    return call


floor = _rounding(math.floor, "floor")
ceil = _rounding(math.ceil, "ceil")
trunc = _rounding(math.trunc, "trunc")
round = _rounding(builtins.round, "round")  # half to even


def _arithmetic(x: Array) -> DType:
    """Return the dtype of arithmetic on x: booleans count as integers."""
    return float64 if x.dtype is float64 else int64


def negative(x: Any) -> Array:
    """Return -x; booleans give int64."""
    x = as_array("negative", x)
    dtype = _arithmetic(x)
    data = mapped(dtype, operator.neg, ieee.wrapping(operator.neg), x.flat())
    return Array(data, x.shape, dtype)


def positive(x: Any) -> Array:
    """Return x itself."""
    return as_array("positive", x)


def abs(x: Any) -> Array:
    """Return the absolute value, in the dtype of x."""
    x = as_array("abs", x)
    careful = ieee.wrapping(builtins.abs)
    return Array(mapped(x.dtype, builtins.abs, careful, x.flat()), x.shape, x.dtype)


def square(x: Any) -> Array:
    """Return x * x; booleans give int64."""
    x = as_array("square", x)
    dtype, flat = _arithmetic(x), x.flat()
    data = mapped(dtype, operator.mul, ieee.wrapping(operator.mul), flat, flat)
    return Array(data, x.shape, dtype)


def sign(x: Any) -> Array:
    """Return -1, 0 or 1, in the dtype of x (booleans give int64); 0 for -0.0, nan for nan."""
    x = as_array("sign", x)
    dtype, flat = _arithmetic(x), x.flat()
    if dtype is float64:
        # v + 0.0 is nan for nan, and 0.0 for both zeros
        data = array("d", [1.0 if v > 0 else -1.0 if v < 0 else v + 0.0 for v in flat])
    else:
        data = array("q", [(v > 0) - (v < 0) for v in flat])
    return Array(data, x.shape, dtype)


def _predicate(function: Callable[[Any], bool], name: str) -> Callable[[Any], Array]:
    """Return the elementwise form of a question about numbers."""

    def call(x: Any) -> Array:
        x = as_array(name, x)
        # bytes of a map, then array: 1.7 times faster than array("b", map(...))
        return Array(array("b", bytes(map(function, x.flat()))), x.shape, bool_)

    call.__name__ = call.__qualname__ = name
    return call


isnan = _predicate(math.isnan, "isnan")
isinf = _predicate(math.isinf, "isinf")
isfinite = _predicate(math.isfinite, "isfinite")
logical_not = _predicate(operator.not_, "logical_not")


def signbit(x: Any) -> Array:
    """Return whether the sign bit is set: true of -0.0 too."""
    x = as_array("signbit", x)
    signs = map(math.copysign, repeat(1.0), x.flat())
    return Array(array("b", bytes(map(operator.lt, signs, repeat(0.0)))), x.shape, bool_)


def bitwise_invert(x: Any) -> Array:
    """Return ~x for integers, not x for booleans.

    Raises:
        DTypeError: x is float64.
    """
    x = as_array("bitwise_invert", x)
    if x.dtype is float64:
        raise DTypeError("bitwise_invert is not defined on float64; convert to int64 or bool first")
    if x.dtype is bool_:
        return Array(array("b", bytes(map(operator.not_, x.flat()))), x.shape, bool_)
    return Array(array("q", map(operator.invert, x.flat())), x.shape, int64)
