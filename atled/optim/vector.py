"""A nest of parameters as one float64 vector, which is what SciPy's optimizers move."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from atled.core.apply import as_tensor
from atled.core.tensor import Tensor, wrap
from atled.dtypes import float64
from atled.errors import DTypeError, ShapeError
from atled.tree import Structure, flatten, unflatten

__all__ = ["Layout"]


class Layout:
    """Where each leaf of a nest lies in the vector, and what it is.

    Args:
        x0: Tensors, arrays and floats, nested in lists, tuples, dicts and dataclasses.

    Attributes:
        leaves: them as constant Tensors; a Python float is a float64.
        structure: how they are nested.
        size: the length of the vector.

    Raises:
        DTypeError: a leaf is no floating Tensor, array or number.
        ShapeError: there are no numbers.
    """

    def __init__(self, x0: Any) -> None:
        given, self.structure = flatten(x0)
        self.leaves = [_as_leaf(x) for x in given]
        self.size = sum(x.size for x in self.leaves)
        if not self.size:
            raise ShapeError("minimize: x0 holds no numbers")
        self.shapes = [x.shape for x in self.leaves]
        starts = [0]
        for x in self.leaves:
            starts.append(starts[-1] + x.size)
        self.spans = list(pairwise(starts))

    def nest(self, leaves: Sequence[Any]) -> Any:
        """Nest one thing for each leaf as x0 is nested."""
        return unflatten(self.structure, list(leaves))

    def tensors(self, vector: Any) -> list[Tensor]:
        """Return the leaves, as Tensors in their own dtypes, of a vector that will not change."""
        out = []
        for x, shape, (start, stop) in zip(self.leaves, self.shapes, self.spans, strict=True):
            xp = x.backend
            piece = vector[start:stop].reshape(shape)
            if xp.name == "python":
                piece = piece.tolist()
            device = None if x.device == "cpu" else x.device
            out.append(wrap(xp.asarray(piece, dtype=x.dtype, device=device)))
        return out

    def vector(self, leaves: Sequence[Tensor]) -> Any:
        """Return leaves as one new float64 vector."""
        import numpy as np

        out = np.empty(self.size)
        for x, (start, stop) in zip(leaves, self.spans, strict=True):
            out[start:stop] = x.backend.to_numpy(x._value).reshape(-1)
        return out

    # -- bounds

    def bounds(self, given: Any) -> list[tuple[float, float]]:
        """Return a pair (low, high) for each number; infinite where there is no bound.

        Args:
            given: one pair for all, or pairs nested as x0: for each leaf None, or (low, high)
                with each of them None, a number, or an array of the leaf's shape; for a vector
                also a list with a pair for each number. SciPy's `Bounds` is a pair.

        Raises:
            ShapeError: the nest, or an array in it, does not fit x0.
            ValueError: a lower bound lies above the upper one.
        """
        found: list[tuple[float, float]] = []
        for path, entry, x in _paired(given, self.structure, self.leaves):
            found += _of_leaf(entry, x.shape, f"minimize: the bounds{path}")
        for i, (low, high) in enumerate(found):
            if not low <= high:
                raise ValueError(
                    f"minimize: the bounds of number {i} are ({low}, {high}); the lower one must "
                    "not lie above the upper one, and neither may be NaN"
                )
        return found


def _as_leaf(x: Any) -> Tensor:
    wrong = isinstance(x, (bool, int, str)) or not (
        isinstance(x, (Tensor, float)) or hasattr(x, "__array__")
    )
    t = None if wrong else as_tensor(x, dtype=float64 if isinstance(x, float) else None).detach()
    if t is None or not t.dtype.is_floating_point:
        found = type(x).__name__ if t is None else t.dtype.name
        raise DTypeError(
            f"minimize: x0 holds Tensors, arrays and floats (also nested); found {found}. Write "
            "1.0 for 1, or pass what is not to be moved through args"
        )
    return t


def _is_pair(entry: Any) -> bool:
    """Say whether an entry is (low, high), and not a list of pairs or a nest."""
    return (
        isinstance(entry, (tuple, list))
        and len(entry) == 2
        and not any(isinstance(e, (tuple, list, dict)) for e in entry)
    )


def _paired(
    given: Any, structure: Structure, leaves: Sequence[Tensor]
) -> Iterator[tuple[str, Any, Tensor]]:
    """Yield, for each leaf of x0, its path, the entry of the bounds and the leaf."""
    if hasattr(given, "lb") and hasattr(given, "ub"):  # scipy.optimize.Bounds
        given = (given.lb, given.ub)
    numbers = _is_pair(given) and all(e is None or isinstance(e, (int, float)) for e in given)
    rest = iter(leaves)

    def walk(entry: Any, form: Structure, path: str) -> Iterator[tuple[str, Any, Tensor]]:
        if form.build is None:
            yield path, entry, next(rest)
            return
        keys, parts = _parts(entry, form)
        if parts is None:
            raise ShapeError(
                f"minimize: the bounds{path} must be nested as x0 ({len(form.children)} entries "
                f"of a {_kind(form).__name__}), or be one pair (low, high) of numbers for all; "
                f"found {entry!r}"
            )
        for key, part, child in zip(keys, parts, form.children, strict=True):
            yield from walk(part, child, f"{path}[{key!r}]")

    if numbers or given is None:
        yield from (("", given, x) for x in leaves)
    else:
        yield from walk(given, structure, "")


def _kind(form: Structure) -> Any:
    return form.kind[0] if isinstance(form.kind, tuple) else form.kind


def _parts(entry: Any, form: Structure) -> tuple[Sequence[Any], list[Any] | None]:
    """Return the keys of a container of x0, and what the bounds hold for each of them."""
    kind, count = _kind(form), len(form.children)
    if entry is None:
        return range(count), [None] * count
    if isinstance(form.kind, tuple):  # a dict
        keys = form.kind[1:]
        fits = isinstance(entry, dict) and set(entry) == set(keys)
        return keys, [entry[k] for k in keys] if fits else None
    fields = getattr(kind, "__dataclass_fields__", None)
    if fields is not None:
        names = [name for name, field in fields.items() if field.init]
        return names, [getattr(entry, n) for n in names] if isinstance(entry, kind) else None
    fits = isinstance(entry, (tuple, list)) and len(entry) == count
    return range(count), list(entry) if fits else None


def _of_leaf(entry: Any, shape: tuple[int, ...], what: str) -> list[tuple[float, float]]:
    import numpy as np

    size = math.prod(shape)
    if isinstance(entry, (tuple, list)) and not _is_pair(entry):
        if len(shape) == 1 and len(entry) == size and all(_is_pair(e) for e in entry):
            return [pair for e in entry for pair in _of_leaf(e, (), what)]
        raise ShapeError(
            f"{what}: a leaf of shape {shape} takes (low, high), None, or, if it is a vector, a "
            f"pair for each number; found {entry!r}"
        )
    if entry is not None and not _is_pair(entry):
        raise ShapeError(f"{what}: a pair (low, high) is needed; found {entry!r}")
    sides = []
    for side, default in zip(entry or (None, None), (-np.inf, np.inf), strict=True):
        value = side.detach().numpy() if isinstance(side, Tensor) else side
        array = np.asarray(default if value is None else value, dtype=float)
        if array.shape not in ((), tuple(shape)):
            raise ShapeError(f"{what}: one of shape {array.shape} for a leaf of shape {shape}")
        sides.append(np.broadcast_to(array, shape).reshape(-1).tolist())
    return list(zip(*sides, strict=True))
