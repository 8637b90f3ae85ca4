"""Derivatives by central differences in float64, over nests of Tensors."""

from collections.abc import Callable, Sequence
from typing import Any

from atled.core.tensor import Tensor, wrap
from atled.dtypes import float64
from atled.errors import DTypeError, GradError
from atled.testing.values import elements, leaf_paths
from atled.tree import flatten, unflatten

__all__ = ["EPS", "Flat", "differences", "flattened", "like", "numeric_jvp"]

EPS = 1e-6  # step of the differences: errors of eps² and 1e-16 / eps

Flat = Callable[[Sequence[Tensor]], list[Tensor]]


def numeric_jvp(f: Callable[..., Any], args: Any, tangents: Any, eps: float | None = None) -> Any:
    """Return the derivative of `f` at `args` in the direction of `tangents`, by differences.

    The formula is (f(x + eps·t) - f(x - eps·t)) / 2 eps.

    Args:
        f, args: as in `check_grads`.
        tangents: Tensors or nested lists of numbers, one for each float64 Tensor in `args`,
            in their order; where `args` is a lone Tensor, its tangent.
        eps: the step.

    Returns:
        A list with the tangent of each floating Tensor in what f returns.

    Example:
        >>> import atled as at
        >>> x = at.tensor([1.0, 2.0], dtype=at.float64)
        >>> (t,) = numeric_jvp(lambda x: x * x, x, x)
        >>> [round(n, 6) for n in t.tolist()]
        [2.0, 8.0]
    """
    flat, xs, _ = flattened(f, args)
    ts = list(tangents) if type(args) in (tuple, list) else [tangents]
    ys = flat(xs)
    columns = differences(flat, xs, [elements(t) for t in ts], eps or EPS)
    return [like(y, column) for y, column in zip(ys, columns, strict=True)]


def flattened(f: Callable[..., Any], args: Any) -> tuple[Flat, list[Tensor], list[str]]:
    """Return `f` as a function of float64 Tensors only, those Tensors, and what to call them."""
    args = tuple(args) if type(args) in (tuple, list) else (args,)
    leaves, structure = flatten(args)
    paths = [path for i, arg in enumerate(args) for path, _ in leaf_paths(arg, f"{i}")]
    at = [i for i, x in enumerate(leaves) if isinstance(x, Tensor) and x.dtype.is_floating_point]
    for i in at:
        _require_float64(leaves[i], f"argument {paths[i]}")
    if not at:
        raise GradError("check_grads: no argument is a floating Tensor: nothing to differentiate")

    def flat(xs: Sequence[Tensor]) -> list[Tensor]:
        given = list(leaves)
        for i, x in zip(at, xs, strict=True):
            given[i] = x
        results, _ = flatten(f(*unflatten(structure, given)))
        ys = [y for y in results if isinstance(y, Tensor) and y.dtype.is_floating_point]
        for i, y in enumerate(ys):
            _require_float64(y, f"result {i}")
        return ys

    return flat, [wrap(leaves[i]._value) for i in at], [f"argument {paths[i]}" for i in at]


def _require_float64(x: Tensor, what: str) -> None:
    if x.dtype is not float64:
        raise DTypeError(
            f"check_grads: {what} is {x.dtype.name}; differences need float64: make it with "
            "at.tensor(..., dtype=at.float64) or convert it with x.astype(at.float64)"
        )


def differences(f: Flat, xs: list[Tensor], ts: list[list[float]], eps: float) -> list[list[float]]:
    """Return (f(x + eps·t) - f(x - eps·t)) / 2 eps for each result, as flat lists."""
    ends = []
    for step in (eps, -eps):
        moved = [
            like(x, [a + step * b for a, b in zip(elements(x), t, strict=True)]) if any(t) else x
            for x, t in zip(xs, ts, strict=True)
        ]
        ends.append([elements(y) for y in f(moved)])
    return [
        [(a - b) / (2 * eps) for a, b in zip(*pair, strict=True)]
        for pair in zip(*ends, strict=True)
    ]


def like(x: Tensor, values: list[float]) -> Tensor:
    """Return a constant Tensor of the shape, dtype and place of x with the given elements."""
    backend = x.backend
    flat = backend.asarray(values, dtype=x.dtype, device=x.device)
    return wrap(backend.reshape(flat, shape=x.shape))
