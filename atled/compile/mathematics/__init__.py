"""Vector mathematics as LLVM code: ``TABLE[name](writer, kind, *registers) -> register``.

An entry writes the instructions of one function of the standard or of its family for a type of
any number of lanes, and returns the register of the result. They stand in a straight line: both
sides of a case are computed and one is selected. Where that would be wasteful (an angle above
10^5, a quotient above 2^53, an integer's power) they call a function of their own that branches;
no library of C is called. The same bits come out with any number of lanes.

Types are "float" and "double"; the arithmetic of division, powers, signs and extremes takes signed
integers too, and has names of its own for unsigned ones. float16 is for the caller to widen.

The accuracy, measured against mpmath over the whole range, is at most 2 ulp (4 for `pow`,
`lgamma` and `digamma`); ``python -m tests.compile.accuracy`` prints the table.

Read `values.py` first, then `exponential.py`.
"""

from collections.abc import Callable

from atled.compile.ir import Type, Writer
from atled.compile.mathematics import (
    division,
    erf,
    erfinv,
    exponential,
    gamma,
    hyperbolic,
    inverse,
    logarithm,
    power,
    simple,
    trigonometric,
)
from atled.compile.mathematics.values import Value

__all__ = ["TABLE", "Expansion"]

Expansion = Callable[..., str]


def expansion(function: Callable[..., Value]) -> Expansion:
    """Return a function of Values as a function of a writer, a type and registers."""

    def write(writer: Writer, kind: Type, *registers: str) -> str:
        return function(*(Value(writer, kind, register) for register in registers)).register

    return write


FUNCTIONS: dict[str, Callable[..., Value]] = {
    "exp": exponential.exp,
    "exp2": exponential.exp2,
    "expm1": exponential.expm1,
    "sigmoid": exponential.sigmoid,
    "tanh": exponential.tanh,
    "log": logarithm.log,
    "log1p": logarithm.log1p,
    "log2": logarithm.log2,
    "log10": logarithm.log10,
    "logaddexp": logarithm.logaddexp,
    "softplus": logarithm.softplus,
    "log_sigmoid": logarithm.log_sigmoid,
    "sinh": hyperbolic.sinh,
    "cosh": hyperbolic.cosh,
    "asinh": hyperbolic.asinh,
    "acosh": hyperbolic.acosh,
    "atanh": hyperbolic.atanh,
    "sin": trigonometric.sin,
    "cos": trigonometric.cos,
    "tan": trigonometric.tan,
    "acos": inverse.acos,
    "asin": inverse.asin,
    "atan": inverse.atan,
    "atan2": inverse.atan2,
    "erf": erf.erf,
    "erfc": erf.erfc,
    "pow": power.pow,
    "erfinv": erfinv.erfinv,
    "floor_divide": division.floor_divide,
    "remainder": division.remainder,
    "lgamma": gamma.lgamma,
    "digamma": gamma.digamma,
    "hypot": power.hypot,
    "abs": simple.absolute,
    "ceil": simple.ceil,
    "copysign": simple.copysign,
    "floor": simple.floor,
    "isfinite": simple.isfinite,
    "isinf": simple.isinf,
    "isnan": simple.isnan,
    "maximum": simple.maximum,
    "minimum": simple.minimum,
    "nextafter": simple.nextafter,
    "round": simple.round_half_even,
    "rsqrt": simple.rsqrt,
    "sign": simple.sign,
    "signbit": simple.signbit,
    "sqrt": simple.sqrt,
    "trunc": simple.trunc,
    # The type of a register does not say whether an integer has a sign.
    "unsigned_floor_divide": division.unsigned_floor_divide,
    "unsigned_pow": power.unsigned_pow,
    "unsigned_remainder": division.unsigned_remainder,
    "unsigned_sign": simple.unsigned_sign,
}

TABLE: dict[str, Expansion] = {name: expansion(f) for name, f in FUNCTIONS.items()}
