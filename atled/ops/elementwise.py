"""Operations on each element by itself, as the table in a textbook: name, ∂/∂a, ∂/∂b.

Conventions at kinks and ties are PyTorch's: |x|' = 0 at 0, a maximum's tie is split evenly,
a clip has slope 1 on its bounds, 0⁰ has the derivatives (0, 0).
"""

import math
from typing import Any

from atled.core.apply import apply, as_tensor
from atled.core.kinds import STEP, elementwise
from atled.core.op import Sample
from atled.core.surface import FUNCTIONS, public
from atled.core.tensor import Tensor

LN2, LN10 = math.log(2.0), math.log(10.0)
UNARY = (Sample(((3, 4),)), Sample(((),)), Sample(((2, 0),)))
PAIRS = (
    Sample(((3, 4), (3, 4))),
    Sample(((3, 1), (1, 4))),
    Sample(((2, 3), (3,))),
    Sample(((), (2, 2))),
)

# -- arithmetic

add = elementwise("add", [1, 1], operands="same", weak=True, samples=PAIRS, doc="Add: a + b.")
subtract = elementwise(
    "subtract",
    [1, -1],
    operands="same",
    weak=True,
    samples=PAIRS,
    aliases=("sub",),
    doc="Subtract: a - b.",
)
multiply = elementwise(
    "multiply",
    [lambda xp, b: b, lambda xp, a: a],
    operands="same",
    weak=True,
    samples=PAIRS,
    aliases=("mul",),
    singular=True,
    keeps_line=False,
    passes="factor",
    doc="Multiply element by element: a · b.",
)
divide_ = elementwise(
    "divide",
    [lambda xp, b: 1 / b, lambda xp, b, y: -y / b],
    weak=True,
    door=False,
    samples=PAIRS,
    domain=(0.5, 2.0),
    aliases=("div", "true_divide"),
    singular=True,
    doc="Divide: a / b; integers give floats.",
)
negative = elementwise(
    "negative", [-1], operands="same", samples=UNARY, aliases=("neg",), doc="Negate: -x."
)
pow_ = elementwise(
    "pow",
    [
        lambda xp, a, b: b * xp.where((a == 0) & (b == 0), 1, a) ** (b - 1),
        lambda xp, a, b, y: y * xp.log(xp.where((a == 0) & (b >= 0), 1, a)),
    ],
    operands="same",
    samples=PAIRS,
    domain=(0.5, 2.0),
    door=False,
    singular=True,
    doc="Raise to a power: a^b, with the derivatives (0, 0) at 0⁰.",
)
power = elementwise(
    "power",
    [lambda xp, x, exponent: exponent * x ** (exponent - 1) if exponent else xp.zeros_like(x)],
    forward=lambda xp, x, *, exponent: x**exponent,
    operands="same",
    domain=(0.5, 2.0),
    reference="reference.power",
    samples=tuple(Sample(((3, 4),), {"exponent": n}) for n in (0, 1, 2, 3, -1, 2.5)),
    door=False,
    singular=True,
    doc="Raise to a constant power: xⁿ.",
)
square = elementwise(
    "square", [lambda xp, x: 2 * x], operands="same", samples=UNARY, doc="Square: x²."
)
sqrt = elementwise(
    "sqrt",
    [lambda xp, y: 0.5 / y],
    domain=(0.1, 4.0),
    samples=UNARY,
    singular=True,
    doc="Square root: √x; its derivative at 0 is inf.",
)
reciprocal = elementwise(
    "reciprocal",
    [lambda xp, y: -y * y],
    forward=lambda xp, x: 1 / x,
    domain=(0.5, 2.0),
    samples=UNARY,
    singular=True,
    doc="Reciprocal: 1 / x.",
)
rsqrt = elementwise(
    "rsqrt",
    [lambda xp, x, y: -0.5 * y / x],
    forward=lambda xp, x: 1 / xp.sqrt(x),
    domain=(0.1, 4.0),
    samples=UNARY,
    reference="reference.rsqrt",
    singular=True,
    doc="Reciprocal square root: 1 / √x.",
)
absolute = elementwise(
    "abs",
    [lambda xp, x: xp.sign(x)],
    operands="same",
    samples=UNARY,
    aliases=("absolute",),
    doc="Absolute value: |x|; derivative 0 at 0.",
)

# -- exponentials and logarithms

exp = elementwise("exp", [lambda xp, y: y], samples=UNARY, singular=True, doc="Exponential: eˣ.")
expm1 = elementwise(
    "expm1", [lambda xp, y: y + 1], samples=UNARY, singular=True, doc="eˣ - 1, exact near 0."
)
exp2 = elementwise(
    "exp2", [lambda xp, y: LN2 * y], samples=UNARY, singular=True, doc="Power of two: 2ˣ."
)
log = elementwise(
    "log",
    [lambda xp, x: 1 / x],
    domain=(0.1, 4.0),
    samples=UNARY,
    singular=True,
    doc="Natural logarithm.",
)
log1p = elementwise(
    "log1p",
    [lambda xp, x: 1 / (1 + x)],
    domain=(-0.5, 4.0),
    samples=UNARY,
    singular=True,
    doc="log(1 + x), exact near 0.",
)
log2 = elementwise(
    "log2",
    [lambda xp, x: 1 / (LN2 * x)],
    domain=(0.1, 4.0),
    samples=UNARY,
    singular=True,
    doc="Logarithm to base 2.",
)
log10 = elementwise(
    "log10",
    [lambda xp, x: 1 / (LN10 * x)],
    domain=(0.1, 4.0),
    samples=UNARY,
    singular=True,
    doc="Logarithm to base 10.",
)
logaddexp = elementwise(
    "logaddexp",
    [lambda xp, a, b: xp.sigmoid(a - b), lambda xp, a, b: xp.sigmoid(b - a)],
    samples=PAIRS,
    singular=True,
    doc="log(eᵃ + eᵇ) without overflow.",
)

# -- circular and hyperbolic

sin = elementwise("sin", [lambda xp, x: xp.cos(x)], samples=UNARY, doc="Sine of radians.")
cos = elementwise("cos", [lambda xp, x: -xp.sin(x)], samples=UNARY, doc="Cosine of radians.")
tan = elementwise(
    "tan", [lambda xp, y: 1 + y * y], domain=(-1.2, 1.2), samples=UNARY, doc="Tangent of radians."
)
asin = elementwise(
    "asin",
    [lambda xp, x: 1 / xp.sqrt(1 - x * x)],
    domain=(-0.9, 0.9),
    samples=UNARY,
    aliases=("arcsin",),
    singular=True,
    doc="Inverse sine, in radians.",
)
acos = elementwise(
    "acos",
    [lambda xp, x: -1 / xp.sqrt(1 - x * x)],
    domain=(-0.9, 0.9),
    samples=UNARY,
    aliases=("arccos",),
    singular=True,
    doc="Inverse cosine, in radians.",
)
atan = elementwise(
    "atan",
    [lambda xp, x: 1 / (1 + x * x)],
    samples=UNARY,
    aliases=("arctan",),
    doc="Inverse tangent, in radians.",
)
sinh = elementwise(
    "sinh", [lambda xp, x: xp.cosh(x)], samples=UNARY, singular=True, doc="Hyperbolic sine."
)
cosh = elementwise(
    "cosh", [lambda xp, x: xp.sinh(x)], samples=UNARY, singular=True, doc="Hyperbolic cosine."
)
tanh = elementwise("tanh", [lambda xp, y: 1 - y * y], samples=UNARY, doc="Hyperbolic tangent.")
asinh = elementwise(
    "asinh",
    [lambda xp, x: 1 / xp.sqrt(1 + x * x)],
    samples=UNARY,
    aliases=("arcsinh",),
    doc="Inverse hyperbolic sine.",
)
acosh = elementwise(
    "acosh",
    [lambda xp, x: 1 / (xp.sqrt(x - 1) * xp.sqrt(x + 1))],
    domain=(1.2, 4.0),
    samples=UNARY,
    aliases=("arccosh",),
    singular=True,
    doc="Inverse hyperbolic cosine.",
)
atanh = elementwise(
    "atanh",
    [lambda xp, x: 1 / (1 - x * x)],
    domain=(-0.9, 0.9),
    samples=UNARY,
    aliases=("arctanh",),
    singular=True,
    doc="Inverse hyperbolic tangent.",
)
atan2 = elementwise(
    "atan2",
    [
        lambda xp, a, b: b / _length(xp, a, b) / _length(xp, a, b),
        lambda xp, a, b: -a / _length(xp, a, b) / _length(xp, a, b),
    ],
    samples=PAIRS,
    aliases=("arctan2",),
    singular=True,
    doc="Angle of the point (b, a), in radians; derivatives (0, 0) at the origin.",
)
hypot = elementwise(
    "hypot",
    [lambda xp, a, y: a / y, lambda xp, b, y: b / y],
    samples=PAIRS,
    singular=True,
    doc="√(a² + b²) without overflow.",
)


def _length(xp: Any, a: Any, b: Any) -> Any:
    """Return √(a² + b²), 1 at the origin: divided by twice, it neither under- nor overflows."""
    return xp.hypot(xp.where((a == 0) & (b == 0), 1, a), b)


# -- choices, signs and rounding

maximum = elementwise(
    "maximum",
    [lambda xp, a, b, y: _winner(xp, a, b, y), lambda xp, a, b, y: _winner(xp, b, a, y)],
    operands="same",
    samples=PAIRS,
    passes="cuts",
    singular=True,
    keeps_line=False,
    doc="The larger of a and b; a tie is split evenly.",
)
minimum = elementwise(
    "minimum",
    [lambda xp, a, b, y: _winner(xp, b, a, y), lambda xp, a, b, y: _winner(xp, a, b, y)],
    operands="same",
    samples=PAIRS,
    passes="cuts",
    singular=True,
    keeps_line=False,
    doc="The smaller of a and b; a tie is split evenly.",
)


def _winner(xp: Any, a: Any, b: Any, y: Any) -> Any:
    """Return 0 where a < b, 1/2 where they tie, else 1 (also at a NaN), in the dtype of y."""
    one = xp.ones_like(y)
    return xp.where(a < b, 0, xp.where(a == b, 0.5 * one, one))


clip_ = elementwise(
    "clip_to",
    [lambda xp, x, lo, hi: _inside(xp, x, lo, hi)],
    forward=lambda xp, x, *, lo, hi: _clip(xp, x, lo, hi),
    operands="same",
    reference="reference.clip",
    samples=(
        Sample(((3, 4),), {"lo": -1.0, "hi": 1.0}),
        Sample(((5,),), {"lo": None, "hi": 0.5}),
        Sample(((5,),), {"lo": 0.0, "hi": None}),
    ),
    door=False,
    passes="cuts",
    singular=True,
    keeps_line=False,
    doc="Clip to constant bounds; slope 1 on them.",
)


def _clip(xp: Any, x: Any, lo: Any, hi: Any) -> Any:
    if lo is not None:
        x = xp.where(x < lo, lo, x)
    return x if hi is None else xp.where(x > hi, hi, x)


def _inside(xp: Any, x: Any, lo: Any, hi: Any) -> Any:
    low = xp.ones_like(x) if lo is None else xp.where(x >= lo, xp.ones_like(x), 0)
    return low if hi is None else xp.where(x <= hi, low, 0)


sign = elementwise(
    "sign", STEP, operands="same", samples=UNARY, aliases=("sgn",), doc="Sign: -1, 0 or 1."
)
floor = elementwise("floor", STEP, samples=UNARY, doc="Round down.")
ceil = elementwise("ceil", STEP, samples=UNARY, doc="Round up.")
trunc = elementwise("trunc", STEP, samples=UNARY, aliases=("fix",), doc="Round toward 0.")
round_ = elementwise(
    "round", STEP, samples=UNARY, door=False, doc="Round to nearest, halves to even."
)
copysign = elementwise(
    "copysign",
    [lambda xp, a, y: xp.sign(y) * xp.sign(a), None],
    samples=PAIRS,
    doc="|a| with the sign of b.",
)
remainder = elementwise(
    "remainder",
    [1, lambda xp, a, b: -xp.floor_divide(a, b)],
    operands="same",
    samples=PAIRS,
    domain=(0.6, 5.0),
    doc="Remainder of a / b with the sign of b: a - b ⌊a / b⌋.",
)
floor_divide = elementwise(
    "floor_divide",
    STEP,
    operands="same",
    inputs=("a", "b"),
    samples=PAIRS,
    domain=(0.6, 5.0),
    doc="⌊a / b⌋.",
)
nextafter = elementwise(
    "nextafter",
    STEP,
    inputs=("a", "b"),
    samples=PAIRS,
    doc="The next floating number from a toward b.",
)

# -- activations

relu = elementwise(
    "relu",
    [lambda xp, y: y > 0],
    forward=lambda xp, x: xp.maximum(x, 0),
    operands="same",
    samples=UNARY,
    reference="reference.relu",
    passes="cuts",
    singular=True,
    keeps_line=False,
    doc="max(x, 0); derivative 0 at 0.",
)
sigmoid = elementwise(
    "sigmoid",
    [lambda xp, y: y * (1 - y)],
    forward=lambda xp, x: _sigmoid(xp, x),
    samples=UNARY,
    reference="scipy.special.expit",
    doc="1 / (1 + e⁻ˣ) without overflow.",
)
softplus_ = elementwise(
    "softplus_unit",
    [lambda xp, x: xp.sigmoid(x)],
    door=False,
    forward=lambda xp, x: xp.log1p(xp.exp(-xp.abs(x))) + xp.maximum(x, 0),
    samples=UNARY,
    reference="reference.softplus",
    doc="log(1 + eˣ) without overflow.",
)
silu = elementwise(
    "silu",
    [lambda xp, x, y: xp.sigmoid(x) + y * xp.sigmoid(-x)],
    forward=lambda xp, x: x * xp.sigmoid(x),
    samples=UNARY,
    reference="reference.silu",
    doc="x · sigmoid(x), also called swish (Elfwing et al. 2017, arXiv:1702.03118).",
)


def _sigmoid(xp: Any, x: Any) -> Any:
    small = xp.exp(-xp.abs(x))
    return xp.where(x >= 0, 1 / (1 + small), small / (1 + small))


# -- doors that a record's kind cannot make


@public("div", "true_divide")
def divide(a: Any, b: Any) -> Tensor:
    """Divide: a / b, by the rules of floating numbers also at 0; integers give floats."""
    if type(b) in (float, int) and b == 0 and isinstance(a, Tensor):  # Python's 1 / 0 would raise
        zero = as_tensor(float(b), dtype=a.dtype if a.dtype.is_floating_point else None)
        b = zero.to(a)
    return apply(divide_, a, b)


@public(domain=(0.5, 2.0), samples=(*PAIRS,))
def pow(a: Any, b: Any) -> Tensor:
    """Raise to a power: a^b. A constant exponent has a cheaper rule, n·xⁿ⁻¹."""
    if type(b) not in (int, float) or not isinstance(a, Tensor):
        return apply(pow_, a, b)
    if b == 2:
        return apply(square, a)
    if b == 0.5:
        return apply(sqrt, a)
    if type(b) is float and not a.dtype.is_floating_point:
        return apply(pow_, a, b)
    return apply(power, a, exponent=b)


@public(
    "clamp", samples=(Sample(((3, 4),), {"min": -1.0, "max": 1.0}),), reference="reference.clamp"
)
def clip(x: Any, min: Any = None, max: Any = None) -> Tensor:
    """Limit x to [min, max]; bounds are numbers, Tensors or None.

    The slope is 1 in x between the bounds and on them, 1 in a bound (a Tensor) beyond it, and 1
    in max where max < min. A NaN anywhere gives NaN.
    """
    if isinstance(min, Tensor) or isinstance(max, Tensor):
        return _clip_to_tensors(as_tensor(x), min, max)
    return apply(clip_, x, lo=min, hi=max)


def _clip_to_tensors(x: Tensor, lo: Any, hi: Any) -> Tensor:
    where = FUNCTIONS["where"]
    if lo is not None:
        lo = as_tensor(lo)
        x = where((x < lo) | (lo != lo), lo, x)
    if hi is not None:
        hi = as_tensor(hi)
        x = where((x > hi) | (hi != hi), hi, x)
    return x


@public()
def round(x: Any, decimals: int = 0) -> Tensor:
    """Round to the nearest number of `decimals` digits, halves to even; derivative none."""
    if decimals == 0:
        return apply(round_, x)
    scale = 10.0**decimals
    return apply(divide_, apply(round_, apply(multiply, x, scale)), scale)


@public(method=True, samples=(Sample(((2, 3),)),))
def positive(x: Any) -> Tensor:
    """Return x itself: +x."""
    return as_tensor(x)
