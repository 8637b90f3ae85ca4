"""A compiled function inside a `vmap`: compiled for all examples together.

The outermost batch is taken off the arguments; what is left is a call of another function, which
enters a batch of its own, runs the Python function on its examples and leaves it again. That one
is compiled, once for each choice of mapped arguments. The operations that cross the border are on
the tape outside, so derivatives pass; and if arguments are batched still, by a `vmap` further out,
the call that is left is such a call again.
"""

from collections.abc import Callable, Sequence
from typing import Any

from atled.config import modes
from atled.core.apply import apply
from atled.core.batch import Batch, Batched, enter, leaked, leave, spread
from atled.core.tensor import Tensor, wrap
from atled.tree import Structure, flatten, unflatten

__all__ = ["Inlined", "Lifted", "outermost", "within"]

KEPT = 32  # choices of mapped arguments, and of those that are no Tensors


class Inlined(Exception):
    """A function for all examples cannot be compiled: its own is to run inside the batch."""


class within:
    """For a time, be inside of batches with smaller numbers only: all, or none."""

    def __init__(self, below: int = 0) -> None:
        self.below = below

    def __enter__(self) -> None:
        self.before = modes.batches
        modes.batches = tuple([b for b in self.before if b.number < self.below])

    def __exit__(self, *exc: object) -> None:
        modes.batches = self.before


def outermost(tensors: Sequence[Tensor]) -> Batch | None:
    """Return the batch with the largest number that Tensors live in; None if in none."""
    found: Batch | None = None
    for t in tensors:
        value = t._value
        if isinstance(value, Batched) and (found is None or value.batch.number > found.number):
            found = value.batch
    return found


class Lifted:
    """The functions for all examples that were made of one compiled function.

    Args:
        function: of one example.
        compiled: makes a compiled function of a Python one, given what it reads besides.

    Attributes:
        made: the compiled functions, the one used last at the end.
    """

    def __init__(self, function: Callable[..., Any], compiled: Callable[..., Any]) -> None:
        self._function, self._compiled = function, compiled
        self.made: dict[Any, Any] = {}

    def call(self, args: Any, kwargs: Any, key: Any, batch: Batch) -> Any:
        """Return what the function gives for each example of a batch.

        Args:
            args, kwargs: of the call; some hold arrays batched by `batch`.
            key: of the arguments' structure and of those that are no Tensors.

        Raises:
            Inlined: the function is to run on the batched arguments themselves.
            TransformError: the batch is over; its Tensors have leaked.
        """
        if batch.ended and not modes.walking:
            given = [x._value for x in flatten((args, kwargs))[0] if isinstance(x, Tensor)]
            raise leaked(batch, given)
        leaves, structure = flatten((args, kwargs))
        pairs = [_taken_off(x, batch) for x in leaves]
        mapped = tuple([axis for _, axis in pairs])
        known = key, mapped, batch.size, batch.name, batch.randomness
        found = self.made.pop(known, None)
        if found is None:
            statics = [x for x in leaves if not isinstance(x, Tensor)]
            whole = self._over(batch, leaves, structure, mapped)
            found = self._compiled(whole, statics)
            if len(self.made) >= KEPT:
                del self.made[next(iter(self.made))]
        self.made[known] = found
        with within(batch.number):
            result = found(*[x for x, _ in pairs if isinstance(x, Tensor)])
        ys, nest = flatten(result)
        return unflatten(nest, [_put_on(y, batch, any(mapped)) for y in ys])

    def _over(
        self, batch: Batch, leaves: Sequence[Any], structure: Structure, mapped: Sequence[bool]
    ) -> Callable[..., Any]:
        """Return the function over all examples: from the whole Tensors to whole results."""
        function, size, name = self._function, batch.size, batch.name
        randomness, some = batch.randomness, any(mapped)
        statics = [None if isinstance(x, Tensor) else x for x in leaves]
        places = [i for i, x in enumerate(leaves) if isinstance(x, Tensor)]

        def whole(*tensors: Tensor) -> Any:
            given = list(statics)
            for i, t in zip(places, tensors, strict=True):
                given[i] = t
            if not some:
                args, kwargs = unflatten(structure, given)
                return function(*args, **kwargs)
            with Batch(size, name, randomness) as inner:
                entered = [apply(enter, x, batch=inner, axis=0) if axis else x
                           for x, axis in zip(given, mapped, strict=True)]  # fmt: skip
                args, kwargs = unflatten(structure, entered)
                ys, nest = flatten(function(*args, **kwargs))
                return unflatten(nest, [_left(y, inner) for y in ys])

        whole.__name__ = whole.__qualname__ = getattr(function, "__name__", type(function).__name__)
        return whole


def _taken_off(x: Any, batch: Batch) -> tuple[Any, bool]:
    """Return an argument outside of a batch, and whether it has the batch's axis, in front.

    What is the same for all examples gets the axis too if it needs a gradient: inside of the
    batch there is one for each example.
    """
    if not isinstance(x, Tensor) or not isinstance(x._value, Batched):
        return x, False
    if x._value.batch is not batch:
        return x, False
    if x._value.mapped or x._node is not None:
        return apply(leave, x, batch=batch, axis=0), True
    return wrap(x._value.value), False


def _left(y: Any, batch: Batch) -> Any:
    return apply(leave, y, batch=batch, axis=0) if isinstance(y, Tensor) else y


def _put_on(y: Any, batch: Batch, mapped: bool) -> Any:
    if not isinstance(y, Tensor):
        return y
    if mapped:
        return apply(enter, y, batch=batch, axis=0)
    return apply(spread, y, batch=batch)
