"""`vmap`: a function of one example, run once for a whole batch.

The arguments' Tensors come to hold batched arrays (`core/batch.py`) while the function runs;
whatever it does to them is done for all examples at once.
"""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from atled.core.apply import apply, as_tensor
from atled.core.batch import Batch, enter, leave, present, spread
from atled.core.op import REGISTRY
from atled.core.tensor import Tensor
from atled.errors import ShapeError, TransformError
from atled.tree import children, flatten, unflatten

__all__ = ["Examples", "called", "spread_axes", "vmap"]

RANDOMNESS = ("error", "different", "same")


def vmap(
    function: Callable[..., Any],
    in_axes: Any = 0,
    out_axes: Any = 0,
    *,
    chunk_size: int | None = None,
    randomness: str = "error",
) -> Callable[..., Any]:
    """Return `function` mapped over an axis of its arguments: called once for a whole batch.

    Args:
        function: of one example: Tensors (nested in lists, tuples, dicts, dataclasses) in, and out.
        in_axes: which axis of each positional argument counts the examples; None for an argument
            that is the same for all. One number for all arguments, or a tuple with one for each;
            within it, an int or None for a whole argument, or a nest like it. Arrays among the
            keyword arguments are mapped over their first axis.
        out_axes: where each result's axis of examples comes to lie; None for a result that is the
            same for all examples.
        chunk_size: run at most so many examples at once, to need less memory.
        randomness: what random numbers drawn inside are: "different" for each example, the "same"
            for all, or an "error".

    Raises:
        ShapeError: no argument is mapped; axes are out of range or differ in length.
        TransformError: the function reads a value that differs between examples, returns
            something that is no Tensor or number, or a Tensor leaks out of it.

    Source: names and meaning as in `torch.func.vmap` and `jax.vmap`.

    Example:
        >>> import atled as at
        >>> dot = lambda a, b: (a * b).sum()
        >>> at.vmap(dot, in_axes=(0, None))(at.ones((2, 3)), at.ones(3))
        tensor([3., 3.])
    """
    if randomness not in RANDOMNESS:
        raise ValueError(f"vmap: randomness is one of {RANDOMNESS}; found {randomness!r}")
    if chunk_size is not None and chunk_size < 1:
        raise ValueError(f"vmap: chunk_size is at least 1; found {chunk_size}")
    name = f"vmap({called(function)})"

    @wraps(function, assigned=("__name__", "__qualname__", "__doc__", "__module__"))
    def mapped(*args: Any, **kwargs: Any) -> Any:
        given = Examples(name, in_axes, args, kwargs)
        if chunk_size is None or chunk_size >= given.size:
            return _run(function, given, out_axes, name, randomness)
        parts = [
            _run(function, given.part(start, chunk_size), out_axes, name, randomness)
            for start in range(0, given.size, chunk_size)
        ]
        return _joined(parts, out_axes, name)

    return mapped


def called(function: Any) -> str:
    """Return what a function is called in messages."""
    return getattr(function, "__name__", type(function).__name__)


class Examples:
    """The arguments of a call, taken apart: leaves, and which axis of each is mapped."""

    def __init__(self, name: str, in_axes: Any, args: Any, kwargs: Any) -> None:
        axes = tuple(in_axes) if isinstance(in_axes, list) else in_axes
        if isinstance(axes, tuple) and len(axes) != len(args):
            raise ShapeError(
                f"{name}: in_axes has {len(axes)} entries for {len(args)} positional argument(s)"
            )
        leaves, self.structure = flatten((args, kwargs))
        axes_of_args = spread_axes(axes, args, f"{name}: in_axes")
        self.axes = axes_of_args + [
            0 if _is_array(x) else None for x in leaves[len(axes_of_args) :]
        ]
        self.leaves = [
            x if axis is None else _as_mapped(x, name)
            for x, axis in zip(leaves, self.axes, strict=True)
        ]
        self.axes = [
            None if axis is None else _axis(axis, x.ndim, name)
            for x, axis in zip(self.leaves, self.axes, strict=True)
        ]
        sizes = [x.shape[a] for x, a in zip(self.leaves, self.axes, strict=True) if a is not None]
        if not sizes:
            raise ShapeError(
                f"{name}: no argument is mapped; at least one needs an axis in in_axes"
            )
        if len(set(sizes)) > 1:
            raise ShapeError(f"{name}: mapped axes must be equally long; found lengths {sizes}")
        self.size = sizes[0]

    def part(self, start: int, count: int) -> "Examples":
        """Return the examples from `start` on, at most `count` of them."""
        some = object.__new__(Examples)
        some.structure, some.axes = self.structure, self.axes
        some.size = min(count, self.size - start)
        some.leaves = [
            x if a is None else _narrowed(x, a, start, some.size)
            for x, a in zip(self.leaves, self.axes, strict=True)
        ]
        return some

    def entered(self, batch: Batch) -> Any:
        """Return (args, kwargs) with the mapped leaves batched."""
        return unflatten(
            self.structure,
            [
                x if a is None else apply(enter, x, batch=batch, axis=a)
                for x, a in zip(self.leaves, self.axes, strict=True)
            ],
        )


def _is_array(x: Any) -> bool:
    return isinstance(x, Tensor) or hasattr(x, "__array__") or hasattr(x, "__dlpack__")


def _as_mapped(x: Any, name: str) -> Tensor:
    if _is_array(x):
        return as_tensor(x)
    raise TransformError(
        f"{name}: an argument to map over is a Tensor or an array; found {type(x).__name__}. Give "
        "None in in_axes for what is the same for all examples"
    )


def _axis(axis: Any, ndim: int, name: str) -> int:
    if not isinstance(axis, int) or isinstance(axis, bool):
        raise TypeError(f"{name}: an axis is an integer or None; found {axis!r}")
    if not -ndim <= axis < ndim:
        raise ShapeError(f"{name}: axis {axis} is out of range for {ndim} dimension(s)")
    return axis % ndim


def _narrowed(x: Tensor, axis: int, start: int, count: int) -> Tensor:
    index = tuple([(start, start + count, 1) if i == axis else (0, n, 1)
                   for i, n in enumerate(x.shape)])  # fmt: skip
    return apply(REGISTRY["slice"], x, index=index)


def spread_axes(axes: Any, nest: Any, what: str) -> list[Any]:
    """Return an axis for each leaf of a nest, of which `axes` is a prefix.

    Raises:
        ShapeError: the two do not fit.
    """
    if axes is None or isinstance(axes, int):
        return [axes] * len(flatten(nest)[0])
    parts, others = children(nest), children(axes)
    if not others and type(axes) not in (list, tuple, dict):
        raise TypeError(f"{what}: an axis is an integer or None; found {axes!r}")
    if isinstance(nest, dict) and isinstance(axes, dict) and nest.keys() == axes.keys():
        others = [axes[key] for key in nest]
    elif isinstance(nest, dict) or isinstance(axes, dict) or len(parts) != len(others):
        raise ShapeError(
            f"{what}: {axes!r} does not fit {type(nest).__name__} with {len(parts)} parts; it "
            "needs an entry for each"
        )
    return [a for axis, child in zip(others, parts, strict=True)
            for a in spread_axes(axis, child, what)]  # fmt: skip


def _run(function: Any, given: Examples, out_axes: Any, name: str, randomness: str) -> Any:
    with Batch(given.size, name, randomness) as batch:
        args, kwargs = given.entered(batch)
        result = function(*args, **kwargs)
        leaves, structure = flatten(result)
        axes = spread_axes(out_axes, result, f"{name}: out_axes")
        left = [_left(x, a, batch, name) for x, a in zip(leaves, axes, strict=True)]
        del args, kwargs, result, leaves  # what is still alive then has leaked
    return unflatten(structure, left)


def _left(x: Any, axis: int | None, batch: Batch, name: str) -> Any:
    if x is None:
        return None
    if not isinstance(x, Tensor):
        if not isinstance(x, (int, float)) and not hasattr(x, "__array__"):
            raise TransformError(
                f"{name}: the function returns Tensors and numbers (also nested); found a "
                f"{type(x).__name__}"
            )
        x = as_tensor(x)
    if batch not in present(x._value):  # of its cotangent, all examples' parts are summed
        if axis is None:
            return x
        x = apply(spread, x, batch=batch)
    if axis is None:
        return _unmapped(x, batch, name)
    return apply(leave, x, batch=batch, axis=_axis(axis, x.ndim + 1, name))


def _unmapped(x: Tensor, batch: Batch, name: str) -> Tensor:
    value = x._value
    while hasattr(value, "batch"):
        if value.batch is batch and value.mapped:
            raise TransformError(
                f"{name}: out_axes is None for a result that differs between examples"
            )
        value = value.value
    whole = apply(leave, x, batch=batch, axis=0)
    return whole[0]


def _joined(parts: Sequence[Any], out_axes: Any, name: str) -> Any:
    columns = [flatten(part)[0] for part in parts]
    structure = flatten(parts[0])[1]
    axes = spread_axes(out_axes, parts[0], f"{name}: out_axes")
    concat = REGISTRY["concat"]
    return unflatten(
        structure,
        [
            xs[0]
            if a is None or xs[0] is None
            else apply(concat, *xs, axis=_axis(a, xs[0].ndim, name))
            for a, *xs in zip(axes, *columns, strict=True)
        ],
    )
