"""Products in which a zero stays zero: what the rules of singular records multiply by.

A mask makes a cotangent zero, and the derivative behind it may be infinite or NaN: for
``where(x > 0, sqrt(x), 0)`` at x = 0 the product is 0 · ∞. The zero says that the branch was not
taken, so it wins. Only a zero does: an infinite derivative under any other cotangent stays
infinite, and a NaN cotangent stays NaN.

``where(g == 0, 0, g * f)`` written with `where` and `multiply` would be wrong at higher orders: it
is constant in g where g is 0, while the derivative of g · f in g is f there too, as for (√x - 1)²
at x = 1. So the product is a record, and differentiated as the bilinear map that it is.
"""

import math
from typing import Any

from atled.config import settings
from atled.core.kinds import broadcast_shapes, opaque
from atled.core.op import Spec
from atled.dtypes import promote
from atled.errors import DTypeError
from atled.ops.elementwise import PAIRS

__all__ = ["get_safe_gradients", "set_safe_gradients"]


def _is_plain(b: Any) -> bool:
    """Say whether a product by b needs no guard: it is off, or b is a finite number."""
    return not settings.safe_gradients or (type(b) in (float, int) and math.isfinite(b))


def _safe(xp: Any, a: Any, b: Any) -> Any:
    return a * b if _is_plain(b) else xp.where(a == 0, 0, a * b)


def _absorbing(xp: Any, a: Any, b: Any) -> Any:
    return a * b if _is_plain(b) else xp.where((a == 0) | (b == 0), 0, a * b)


def _product(a: Spec, b: Spec) -> Spec:
    return Spec(broadcast_shapes(a.shape, b.shape, name="multiply"), promote([a.dtype, b.dtype]))


safe_multiply = opaque(
    "safe_multiply",
    inputs=("a", "b"),
    forward=_safe,
    infer=_product,
    vjps=[
        lambda xp, g, b: xp.safe_multiply(g, b),
        lambda xp, g, a: xp.absorbing_multiply(g, a),
    ],
    jvps=[
        lambda xp, t, b: xp.safe_multiply(t, b),
        lambda xp, t, a: xp.absorbing_multiply(t, a),
    ],
    operands="same",
    weak=True,
    broadcasts=True,
    batch="ranks",
    samples=PAIRS,
    reference="reference.safe_multiply",
    doc="a · b, and 0 where a is 0, even if b is infinite or NaN.",
)
absorbing_multiply = opaque(
    "absorbing_multiply",
    inputs=("a", "b"),
    forward=_absorbing,
    infer=_product,
    vjps=[
        lambda xp, g, b: xp.absorbing_multiply(g, b),
        lambda xp, g, a: xp.absorbing_multiply(g, a),
    ],
    jvps=[
        lambda xp, t, b: xp.absorbing_multiply(t, b),
        lambda xp, t, a: xp.absorbing_multiply(t, a),
    ],
    operands="same",
    weak=True,
    broadcasts=True,
    batch="ranks",
    samples=PAIRS,
    reference="reference.absorbing_multiply",
    doc="a · b with 0 · ∞ = 0, as in measure theory: 0 where a or b is 0.",
)


def set_safe_gradients(enabled: bool) -> None:
    """Choose whether a zero cotangent stays zero through a singular derivative (initially yes).

    Switched off, 0 · ∞ is NaN in derivatives too, as in PyTorch and JAX. The setting holds for
    the whole process; compiled functions are traced anew when it changes.

    Args:
        enabled: True or False.

    Raises:
        DTypeError: something else was given.

    Example:
        >>> import atled as at
        >>> x = at.tensor([0.0, 4.0], requires_grad=True)
        >>> at.autograd.grad(at.where(x > 0, at.sqrt(x), 0.0).sum(), x)
        (tensor([0.0000, 0.2500]),)
        >>> at.set_safe_gradients(False)
        >>> at.autograd.grad(at.where(x > 0, at.sqrt(x), 0.0).sum(), x)
        (tensor([   nan, 0.2500]),)
        >>> at.set_safe_gradients(True)
    """
    if type(enabled) is not bool:
        raise DTypeError(f"set_safe_gradients: True or False is needed; found {enabled!r}")
    settings.safe_gradients = enabled


def get_safe_gradients() -> bool:
    """Return whether a zero cotangent stays zero through a singular derivative."""
    return settings.safe_gradients
