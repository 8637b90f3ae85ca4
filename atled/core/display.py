"""How a Tensor prints: nested brackets, aligned columns, long axes shortened."""

from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["render"]

PRECISION = 4  # digits after the point, as in PyTorch
SHORTEN_ABOVE = 1000  # elements; a longer Tensor shows EDGE items at the ends of each axis
EDGE = 3


def render(tolist: Callable[[Any], Any], value: Any, suffix: Sequence[str]) -> str:
    """Return the text of an array: ``tensor([[1., 2.], [3., 4.]], dtype=float64)``.

    Args:
        tolist: makes nested lists of the array or of a slice of it.
        value: the raw array.
        suffix: what follows the values, each part after a comma.
    """
    shape = tuple(value.shape)
    size = 1
    for n in shape:
        size *= n
    nest = _edges(value, tolist, shape, ()) if size > SHORTEN_ABOVE else tolist(value)
    numbers = [x for x in _leaves(nest) if x is not _GAP]
    write = _writer(numbers)
    width = max((len(write(x)) for x in numbers), default=0)
    text = _lay_out(nest, lambda x: "..." if x is _GAP else write(x).rjust(width), 8)
    extra = [f"shape={shape}"] if size == 0 and len(shape) > 1 else []
    return f"tensor({', '.join([text, *extra, *suffix])})"


_GAP = object()


def _edges(value: Any, tolist: Any, shape: tuple[int, ...], at: tuple[int, ...]) -> Any:
    """Return nested lists with the middle of each long axis replaced by a gap."""
    if len(at) == len(shape):
        return tolist(value[at])
    n = shape[len(at)]
    if n <= 2 * EDGE:
        return [_edges(value, tolist, shape, (*at, i)) for i in range(n)]
    head = [_edges(value, tolist, shape, (*at, i)) for i in range(EDGE)]
    tail = [_edges(value, tolist, shape, (*at, i)) for i in range(n - EDGE, n)]
    return [*head, _GAP, *tail]


def _leaves(nest: Any) -> list[Any]:
    if not isinstance(nest, list):
        return [nest]
    return [leaf for item in nest for leaf in _leaves(item)]


def _writer(numbers: list[Any]) -> Callable[[Any], str]:
    """Choose one notation for all numbers: integers, fixed point, or scientific."""
    if not all(isinstance(x, float) for x in numbers):
        return str
    finite = [abs(x) for x in numbers if x - x == 0 and x != 0]
    if finite and (max(finite) >= 1e8 or min(finite) < 1e-4 or max(finite) / min(finite) > 1e3):
        if all(x == int(x) for x in finite) and max(finite) < 1e8:
            return _whole
        return lambda x: f"{x:.{PRECISION}e}"
    if all(x == int(x) for x in finite):
        return _whole
    return lambda x: f"{x:.{PRECISION}f}"


def _whole(x: float) -> str:
    return f"{x:.0f}." if x - x == 0 else str(x)


def _lay_out(nest: Any, write: Callable[[Any], str], indent: int) -> str:
    if nest is _GAP or not isinstance(nest, list):
        return write(nest)
    items = [_lay_out(item, write, indent + 1) for item in nest]
    if not nest or not any(isinstance(item, list) for item in nest):
        lines, line = [], ""
        for item in items:
            if line and indent + len(line) + len(item) + 2 > 80:
                lines.append(line.rstrip())
                line = ""
            line += item + ", "
        lines.append(line.rstrip(", ") if line.endswith(", ") else line)
        return "[" + ("\n" + " " * indent).join(lines) + "]"
    deep = any(isinstance(x, list) and any(isinstance(y, list) for y in x) for x in nest)
    gap = ",\n" + ("\n" if deep else "") + " " * indent
    return "[" + gap.join(items) + "]"
