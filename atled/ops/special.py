"""Special functions: erf and its inverse, gamma's logarithm and derivatives, gelu, sinc.

`erf` and `lgamma` come from the backend. `erfinv` and `polygamma` have portable forwards here,
used where a backend brings none; their errors are in the docstrings.
"""

import math
from typing import Any

from atled.core.apply import apply, as_tensor
from atled.core.kinds import elementwise
from atled.core.op import Sample
from atled.core.surface import FUNCTIONS, public
from atled.core.tensor import Tensor
from atled.ops.elementwise import UNARY, softplus_

ROOT_PI = math.sqrt(math.pi)


def _erfinv(xp: Any, x: Any) -> Any:
    """Inverse error function: Winitzki's formula (2008), then three steps of Halley's method.

    Relative error under 1e-15 in float64 for |x| < 1 - 1e-12.
    """
    inside = xp.where(xp.abs(x) < 1, x, 0 * x)
    log = xp.log1p(-inside * inside)
    half = 2 / (math.pi * 0.147) + 0.5 * log
    guess = xp.sqrt(xp.sqrt(half * half - log / 0.147) - half)
    y = xp.where(inside < 0, -guess, guess)
    for _ in range(3):
        error = (xp.erf(y) - inside) * (ROOT_PI / 2) * xp.exp(y * y)
        y = y - error / (1 + y * error)
    edge = xp.where(xp.abs(x) == 1, x * math.inf, x * math.nan)
    return xp.where(xp.abs(x) < 1, y, edge)


def _polygamma(xp: Any, x: Any, *, n: int) -> Any:
    """The n-th derivative of digamma for x > 0; digamma (n = 0) for all x by reflection.

    Recurrence to x ≥ 12 and the asymptotic series (Abramowitz & Stegun 6.3.18, 6.4.11).
    """
    reflected = None
    if n == 0:
        reflected = xp.where(x < 0.5, 1 - x, x)
    at = x if reflected is None else reflected
    total = 0 * at
    sign = -1.0 if n % 2 == 0 else 1.0
    for _ in range(12):
        total = total + sign * math.factorial(n) / at ** (n + 1)
        at = at + 1
    total = total + _asymptotic(xp, at, n)
    if reflected is None:
        return total
    whole = (x <= 0) & (x == xp.floor(x))
    angle = math.pi * xp.where(whole, 0 * x + 0.5, x)
    turned = total - math.pi * xp.cos(angle) / xp.sin(angle)
    return xp.where(whole, math.nan + 0 * x, xp.where(x < 0.5, turned, total))


_BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6)


def _asymptotic(xp: Any, x: Any, n: int) -> Any:
    if n == 0:
        series = xp.log(x) - 0.5 / x
        for k, b in enumerate(_BERNOULLI, 1):
            series = series - b / (2 * k * x ** (2 * k))
        return series
    series = math.factorial(n - 1) / x**n + math.factorial(n) / (2 * x ** (n + 1))
    for k, b in enumerate(_BERNOULLI, 1):
        factor = b * math.factorial(2 * k + n - 1) / math.factorial(2 * k)
        series = series + factor / x ** (2 * k + n)
    return series if n % 2 else -series


erf = elementwise(
    "erf",
    [lambda xp, x: (2 / ROOT_PI) * xp.exp(-x * x)],
    samples=UNARY,
    reference="scipy.special.erf",
    doc="Error function: 2/√π ∫₀ˣ exp(-t²) dt.",
)
erfinv = elementwise(
    "erfinv",
    [lambda xp, y: (ROOT_PI / 2) * xp.exp(y * y)],
    forward=_erfinv,
    domain=(-0.9, 0.9),
    samples=UNARY,
    reference="scipy.special.erfinv",
    singular=True,
    doc="Inverse of the error function, on (-1, 1).",
)
lgamma = elementwise(
    "lgamma",
    [lambda xp, x: xp.polygamma(x, n=0)],
    domain=(0.5, 6.0),
    samples=UNARY,
    reference="scipy.special.gammaln",
    aliases=("gammaln",),
    singular=True,
    doc="log |Γ(x)|.",
)
polygamma_ = elementwise(
    "polygamma",
    [lambda xp, x, n: xp.polygamma(x, n=n + 1)],
    forward=_polygamma,
    domain=(0.5, 6.0),
    door=False,
    reference="reference.polygamma",
    samples=tuple(Sample(((3, 4),), {"n": n}) for n in (0, 1, 2)),
    singular=True,
    doc="n-th derivative of digamma; for n > 0 on x > 0.",
)
sinc_ = elementwise(
    "sinc",
    [lambda xp, x: _sinc_slope(xp, x)],
    forward=lambda xp, x: _sinc(xp, x),
    samples=UNARY,
    doc="sin(πx) / (πx), 1 at 0.",
)


def _sinc(xp: Any, x: Any) -> Any:
    angle = math.pi * xp.where(x == 0, xp.ones_like(x), x)
    return xp.where(x == 0, xp.ones_like(x), xp.sin(angle) / angle)


def _sinc_slope(xp: Any, x: Any) -> Any:
    """cos(πx)/x - sin(πx)/(πx²); near 0 its series -π²x/3 + π⁴x³/30 - π⁶x⁵/840."""
    near = xp.abs(x) < 0.05
    safe = xp.where(near, xp.ones_like(x), x)
    angle = math.pi * safe
    far = xp.cos(angle) / safe - xp.sin(angle) / (math.pi * safe * safe)
    z = x * x * math.pi**2
    series = -(math.pi**2) * x * (1 / 3 - z * (1 / 30 - z * (1 / 840 - z / 45360)))
    return xp.where(near, series, far)


gelu_ = elementwise(
    "gelu",
    [lambda xp, x: _phi(xp, x) + x * xp.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)],
    forward=lambda xp, x: x * _phi(xp, x),
    door=False,
    samples=UNARY,
    reference="reference.gelu",
    doc="x Φ(x) with the normal distribution's Φ (Hendrycks & Gimpel 2016, arXiv:1606.08415).",
)


def _phi(xp: Any, x: Any) -> Any:
    return 0.5 * (1 + xp.erf(x * math.sqrt(0.5)))


@public(samples=(Sample(((3, 4),), {"approximate": "tanh"}),), reference="reference.gelu_by_tanh")
def gelu(x: Any, approximate: str = "none") -> Tensor:
    """Gaussian error linear unit: x Φ(x), or its approximation by tanh (approximate="tanh")."""
    if approximate == "none":
        return apply(gelu_, x)
    if approximate != "tanh":
        raise ValueError(f"gelu: approximate must be 'none' or 'tanh'; found {approximate!r}")
    x = as_tensor(x)
    inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)
    return 0.5 * x * (1 + FUNCTIONS["tanh"](inner))


@public(method=False)
def polygamma(n: int, x: Any) -> Tensor:
    """Return the n-th derivative of digamma at x; x > 0 for n > 0."""
    if n < 0:
        raise ValueError(f"polygamma: n must not be negative; found {n}")
    return apply(polygamma_, x, n=n)


@public(domain=(0.5, 6.0), samples=(Sample(((3, 4),)),), reference="scipy.special.digamma")
def digamma(x: Any) -> Tensor:
    """Return the derivative of lgamma."""
    return apply(polygamma_, x, n=0)


@public(samples=(Sample(((3, 4),)),), reference="scipy.special.erfc")
def erfc(x: Any) -> Tensor:
    """Complementary error function 1 - erf(x); loses digits where x is large."""
    return 1 - apply(erf, x)


@public(
    samples=(Sample(((3, 4),)), Sample(((3, 4),), {"beta": 2.0})), reference="reference.softplus"
)
def softplus(x: Any, beta: float = 1.0) -> Tensor:
    """log(1 + exp(βx)) / β, without overflow."""
    x = as_tensor(x)
    return apply(softplus_, x) if beta == 1 else apply(softplus_, x * beta) / beta


@public(samples=(Sample(((3, 4),)),), reference="reference.logsigmoid")
def logsigmoid(x: Any) -> Tensor:
    """log(sigmoid(x)) without overflow."""
    return -apply(softplus_, -as_tensor(x))


@public(domain=(0.1, 0.9), samples=(Sample(((3, 4),)),), reference="scipy.special.logit")
def logit(x: Any, eps: float | None = None) -> Tensor:
    """log(x / (1 - x)), the inverse of sigmoid; x is clipped to [eps, 1 - eps] if given."""
    x = as_tensor(x)
    if eps is not None:
        x = FUNCTIONS["clip"](x, eps, 1 - eps)
    return FUNCTIONS["log"](x) - FUNCTIONS["log1p"](-x)
