"""Functions of each element that are written with others.

None has a derivative of its own, save `fmod`: its record says why.
"""

import math
from typing import Any

from atled.backends.protocol import default_dtype
from atled.core.apply import apply, as_tensor
from atled.core.kinds import elementwise
from atled.core.op import SCALARS, Sample
from atled.core.surface import FUNCTIONS, public
from atled.core.tensor import Tensor, wrap
from atled.dtypes import finfo, promote
from atled.ops.elementwise import PAIRS, UNARY, maximum, minimum
from atled.ops.select import where

LN2 = math.log(2.0)


def floating(x: Any) -> Tensor:
    """Return x as a Tensor of a floating dtype, the default one for integers and booleans."""
    t = as_tensor(x)
    return t if t.dtype.is_floating_point else FUNCTIONS["astype"](t, default_dtype(t.backend))


def beside(*operands: Any) -> list[Tensor]:
    """Return floating Tensors of the operands, numbers in the dtype and place of the Tensors.

    A number by itself would become the default dtype, and lose digits beside float64.
    """
    known = [floating(x) for x in operands if type(x) not in SCALARS]
    if not known:
        return [floating(x) for x in operands]
    first, dtype = known[0], promote([t.dtype for t in known])
    rest = iter(known)
    return [
        wrap(first.backend.full((), x, dtype=dtype, device=first.device))
        if type(x) in SCALARS
        else next(rest)
        for x in operands
    ]


# -- real numbers seen as complex ones


@public(samples=UNARY)
def conj(x: Any) -> Tensor:
    """Return the complex conjugate: x itself, as atled's numbers are real."""
    return as_tensor(x)


@public(method=False, samples=(Sample(((2, 3),)),))
def real(x: Any) -> Tensor:
    """Return the real part: x itself, as atled's numbers are real."""
    return as_tensor(x)


@public(method=False)
def imag(x: Any) -> Tensor:
    """Return the imaginary part: zeros, as atled's numbers are real."""
    return FUNCTIONS["zeros_like"](x)


@public(samples=UNARY)
def angle(x: Any) -> Tensor:
    """Return the angle in the complex plane: π where x < 0, else 0; NaN stays; derivative 0."""
    x = floating(x).detach()
    return where(FUNCTIONS["isnan"](x), x, where(x < 0, math.pi, FUNCTIONS["zeros_like"](x)))


Tensor.real = property(real)  # type: ignore[assignment, method-assign]
Tensor.imag = property(imag)  # type: ignore[assignment, method-assign]

# -- elementwise


@public("radians", samples=UNARY)
def deg2rad(x: Any) -> Tensor:
    """Convert degrees to radians: x π / 180."""
    return floating(x) * (math.pi / 180)


@public("degrees", samples=UNARY)
def rad2deg(x: Any) -> Tensor:
    """Convert radians to degrees: x 180 / π."""
    return floating(x) * (180 / math.pi)


@public(samples=UNARY, reference="reference.frac")
def frac(x: Any) -> Tensor:
    """Return what is left after truncation: x - trunc(x), with the sign of x."""
    x = as_tensor(x)
    return x - FUNCTIONS["trunc"](x)


@public(samples=(Sample(((3, 4),)), Sample(([1.0, math.nan, math.inf, -math.inf],), {"nan": 2.0})))
def nan_to_num(
    x: Any, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Tensor:
    """Replace NaN, and infinities by the dtype's limits unless told; derivative 0 there."""
    x = as_tensor(x)
    if not x.dtype.is_floating_point:
        return x
    limits = finfo(x.dtype)
    x = where(FUNCTIONS["isnan"](x), nan, x)
    x = where(x == math.inf, limits.max if posinf is None else posinf, x)
    return where(x == -math.inf, limits.min if neginf is None else neginf, x)


@public(samples=PAIRS)
def fmax(a: Any, b: Any) -> Tensor:
    """Return the larger of a and b, or the one that is not NaN; a tie is split evenly."""
    return _ignoring_nan(maximum, a, b)


@public(samples=PAIRS)
def fmin(a: Any, b: Any) -> Tensor:
    """Return the smaller of a and b, or the one that is not NaN; a tie is split evenly."""
    return _ignoring_nan(minimum, a, b)


def _ignoring_nan(op: Any, a: Any, b: Any) -> Tensor:
    a, b = FUNCTIONS["broadcast_arrays"](*beside(a, b))
    isnan = FUNCTIONS["isnan"]
    return apply(op, where(isnan(a), b, a), where(isnan(b), a, b))


def _fmod(xp: Any, a: Any, b: Any) -> Any:
    left = xp.remainder(xp.abs(a), xp.abs(b))
    return xp.where(a < 0, -left, left)


elementwise(
    "fmod",
    [1, lambda xp, a, b, y: xp.round((y - a) / b)],
    forward=_fmod,
    operands="same",
    samples=PAIRS,
    domain=(0.6, 5.0),
    doc="Remainder of a / b with the sign of a: a - b trunc(a / b). A record, because written with "
    "others it is inexact for large quotients or has no derivative at multiples of b.",
)


@public(samples=PAIRS)
def heaviside(x: Any, values: Any) -> Tensor:
    """Return 0 where x < 0, `values` where x = 0, 1 where x > 0; derivative in `values` only."""
    x, v = beside(x, values)
    x = x.detach()
    steps = where(FUNCTIONS["isnan"](x), x, FUNCTIONS["astype"](x > 0, x.dtype))
    return where(x == 0, v, steps)


@public(samples=PAIRS)
def isclose(
    a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Tensor:
    """Return where |a - b| ≤ atol + rtol |b|; infinities are close to themselves only."""
    a, b = FUNCTIONS["broadcast_arrays"](*[t.detach() for t in beside(a, b)])
    finite = FUNCTIONS["isfinite"](a) & FUNCTIONS["isfinite"](b)
    gap = FUNCTIONS["abs"](where(finite, a, 0.0) - where(finite, b, 0.0))
    near = finite & (gap <= atol + rtol * FUNCTIONS["abs"](where(finite, b, 0.0)))
    close = near | (a == b)
    return close | (FUNCTIONS["isnan"](a) & FUNCTIONS["isnan"](b)) if equal_nan else close


@public()
def allclose(
    a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> bool:
    """Say whether all elements are close; see `isclose`."""
    return bool(FUNCTIONS["all"](isclose(a, b, rtol, atol, equal_nan)))


@public()
def array_equal(a: Any, b: Any) -> bool:
    """Say whether two arrays have one shape and equal elements (PyTorch's `torch.equal`)."""
    a, b = as_tensor(a), as_tensor(b)
    return a.shape == b.shape and bool(FUNCTIONS["all"](a == b))


@public(samples=(Sample(((2, 3), [[1, 0, -2], [3, 4, 5]])), Sample(((3,), [2]))))
def ldexp(a: Any, b: Any) -> Tensor:
    """Multiply by a power of two: a · 2ᵇ, in two halves so that neither overflows alone."""
    a, b = floating(a), as_tensor(b)
    exponent = FUNCTIONS["astype"](b, a.dtype)
    half = FUNCTIONS["floor"](exponent * 0.5)
    return a * FUNCTIONS["exp2"](half) * FUNCTIONS["exp2"](exponent - half)


@public(
    samples=(Sample(((3, 4), (3, 4)), {"weight": 0.3}), Sample(((3, 4), (4,), (3, 1)))),
    reference="reference.lerp",
)
def lerp(a: Any, b: Any, weight: Any) -> Tensor:
    """Go from a to b: a + weight (b - a), exact at both ends."""
    a, b = beside(a, b)
    gap = b - a
    if not isinstance(weight, Tensor):
        return a + gap * weight if abs(weight) < 0.5 else b - gap * (1 - weight)
    near = FUNCTIONS["abs"](weight) < 0.5
    return where(near, a + gap * weight, b - gap * (1 - weight))


@public(samples=PAIRS, domain=(0.5, 2.0))
def float_power(a: Any, b: Any) -> Tensor:
    """Raise to a power in a floating dtype, integers too: a^b; see `pow`."""
    return FUNCTIONS["pow"](*beside(a, b))


@public(samples=PAIRS)
def logaddexp2(a: Any, b: Any) -> Tensor:
    """log₂(2ᵃ + 2ᵇ) without overflow."""
    a, b = beside(a, b)
    return FUNCTIONS["logaddexp"](a * LN2, b * LN2) / LN2


@public(samples=(Sample(((3, 4), (3, 1), (4,)), {"value": 0.5}),), reference="reference.addcmul")
def addcmul(x: Any, a: Any, b: Any, value: float = 1) -> Tensor:
    """x + value · a · b."""
    x, a, b = beside(x, a, b)
    return x + value * (a * b)


@public(
    samples=(Sample(((3, 4), (3, 1), (4,)), {"value": 0.5}),),
    domain=(0.5, 2.0),
    reference="reference.addcdiv",
)
def addcdiv(x: Any, a: Any, b: Any, value: float = 1) -> Tensor:
    """x + value · a / b."""
    x, a, b = beside(x, a, b)
    return x + value * (a / b)


@public(samples=(Sample(((3, 4), (4,)), {"alpha": 2.0}),), reference="reference.rsub")
def rsub(a: Any, b: Any, alpha: float = 1) -> Tensor:
    """Subtract the other way round: b - alpha · a."""
    a, b = beside(a, b)
    return b - alpha * a


@public(samples=(Sample(((3, 4), (3, 4))),), domain=(0.2, 2.0), reference="scipy.special.xlog1py")
def xlog1py(x: Any, y: Any) -> Tensor:
    """x log(1 + y), 0 where x is 0."""
    x, y = beside(x, y)
    zero = (x == 0) & (y <= -1)  # elsewhere the product is right, and so is its derivative
    return where(zero, 0.0, x * FUNCTIONS["log1p"](where(zero, 0.0, y)))


@public(samples=UNARY, reference="scipy.special.ndtr")
def ndtr(x: Any) -> Tensor:
    """Return the normal distribution's Φ(x); loses digits where x is far below 0."""
    return 0.5 * (1 + FUNCTIONS["erf"](floating(x) * math.sqrt(0.5)))


@public(domain=(0.2, 2.0), samples=(Sample(((3, 4), (3, 4))),), reference="scipy.special.xlogy")
def xlogy(x: Any, y: Any) -> Tensor:
    """x log(y), 0 where x is 0."""
    x, y = beside(x, y)
    zero = (x == 0) & (y <= 0)  # elsewhere the product is right, and so is its derivative
    return where(zero, 0.0, x * FUNCTIONS["log"](where(zero, 1.0, y)))


@public(domain=(0.2, 2.0), samples=(Sample(((3, 4),)),), reference="scipy.special.entr")
def entr(x: Any) -> Tensor:
    """-x log(x), 0 at 0."""
    return -xlogy(x, x)
