"""Keeping a derivative zero where a mask has made it so: the record, and the setting.

How it is found out where is in `core/masks.py`.
"""

from atled.config import settings
from atled.core.kinds import linear
from atled.core.op import Sample
from atled.errors import DTypeError

__all__ = ["get_safe_gradients", "set_safe_gradients"]

keep = linear(
    "keep",
    inputs=("x", "mask"),
    forward=lambda xp, x, mask: xp.where(mask, x, 0),
    infer=lambda x, mask: x,
    transpose=lambda xp, g, mask: xp.keep(g, mask),
    operands="any",
    batch="ranks",
    passes="chooses",
    samples=(
        Sample(((2, 2), [[True, False], [False, True]])),
        Sample(((3, 2), [True, False])),
    ),
    reference="reference.keep",
    doc="x where a mask is true, 0 elsewhere, whatever x is there: also infinite or NaN.",
)


def set_safe_gradients(enabled: bool) -> None:
    """Choose whether what a mask has cut off stays zero behind it (initially yes).

    A mask is what chooses elements whatever the others are: `where`, an index, a larger operand,
    a clip, a constant factor of zero. Its zero then wins over an infinite or NaN derivative.
    Switched off, 0 · ∞ is NaN, as in PyTorch and JAX. The setting holds for the whole process;
    compiled functions are traced anew when it changes.

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
    """Return whether what a mask has cut off stays zero behind it."""
    return settings.safe_gradients
