"""Batching rules: how an operation on one example becomes one operation on a whole batch.

A rule is called as ``rule(xp, n, mapped, *operands, **static)``: `n` is the number of examples,
`mapped` says of each operand whether it has the batch's axis, always in front, or is the same for
all examples; at least one has it. The rule returns the result, or a tuple, with the axis in front.

A record names one of the rules of `RULES`, which follow from its kind, or brings its own.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

from atled.core.op import SCALARS

__all__ = ["RULES", "BatchingRule", "fronted", "rest"]

BatchingRule = Callable[..., Any]


def rest(x: Any) -> tuple[int, ...]:
    """Return the shape of one example of a mapped array."""
    return tuple(x.shape[1:])


def fronted(xp: Any, n: int, mapped: Sequence[bool], operands: Sequence[Any]) -> list[Any]:
    """Return the operands, each with the batch's axis: repeated where it is not mapped."""
    return [
        x if m or type(x) in SCALARS else xp.broadcast_to(x, shape=(n, *x.shape))
        for x, m in zip(operands, mapped, strict=True)
    ]


def _widened(xp: Any, x: Any, lead: int) -> Any:
    """Return a mapped array with `lead` axes of length one behind the batch's."""
    return xp.reshape(x, shape=(x.shape[0], *[1] * lead, *x.shape[1:])) if lead > 0 else x


def ranks(name: str) -> BatchingRule:
    """Return the rule of an operation on broadcast elements: the axis stays in front of all."""

    def rule(xp: Any, n: int, mapped: Sequence[bool], /, *operands: Any, **static: Any) -> Any:
        if len(operands) > 1:
            rank = max(
                [len(x.shape) - m for x, m in zip(operands, mapped, strict=True)
                 if type(x) not in SCALARS]
            )  # fmt: skip
            operands = tuple(
                [_widened(xp, x, rank + 1 - len(x.shape)) if m else x
                 for x, m in zip(operands, mapped, strict=True)]
            )  # fmt: skip
        return getattr(xp, name)(*operands, **static)

    return rule


def axis(name: str) -> BatchingRule:
    """Return the rule of an operation along one, some or (None) all axes of its operand."""

    def rule(
        xp: Any, n: int, mapped: Sequence[bool], /, x: Any, *, axis: Any = None, **static: Any
    ) -> Any:
        if len(x.shape) == 1:  # of a 0-d example: an axis of one element
            x, axis = xp.reshape(x, shape=(n, 1)), (0,)
            static = static | {"keepdims": False}
        if axis is None:
            axis = tuple(range(len(x.shape) - 1))
        moved = axis + 1 if isinstance(axis, int) else tuple([a + 1 for a in axis])
        return getattr(xp, name)(x, axis=moved, **static)

    return rule


def chosen(name: str) -> BatchingRule:
    """Return the rule of `argmax` and `argmin`: over all axes, an example is one row."""

    def rule(
        xp: Any,
        n: int,
        mapped: Sequence[bool],
        /,
        x: Any,
        *,
        axis: Any = None,
        keepdims: bool = False,
    ) -> Any:
        if axis is not None:
            axis = axis if isinstance(axis, int) else axis[0]
            return getattr(xp, name)(x, axis=axis + 1, keepdims=keepdims)
        rows = xp.reshape(x, shape=(n, math.prod(rest(x))))
        found = getattr(xp, name)(rows, axis=1, keepdims=False)
        return xp.reshape(found, shape=(n, *[1] * len(rest(x)))) if keepdims else found

    return rule


def stacks(name: str) -> BatchingRule:
    """Return the rule of an operation on matrices: the axis joins the stacks in front of them."""

    def rule(xp: Any, n: int, mapped: Sequence[bool], /, *operands: Any, **static: Any) -> Any:
        rank = max([len(x.shape) - m for x, m in zip(operands, mapped, strict=True)])
        wide = [
            _widened(xp, x, rank + 1 - len(x.shape)) if m else x
            for x, m in zip(operands, mapped, strict=True)
        ]
        return getattr(xp, name)(*wide, **static)

    return rule


def merged(name: str) -> BatchingRule:
    """Return the rule of an operation that treats the first axis of all operands as a batch."""

    def rule(xp: Any, n: int, mapped: Sequence[bool], /, *operands: Any, **static: Any) -> Any:
        rows = [
            xp.reshape(x, shape=(n * x.shape[1], *x.shape[2:]))
            for x in fronted(xp, n, mapped, operands)
        ]
        y = getattr(xp, name)(*rows, **static)
        return xp.reshape(y, shape=(n, y.shape[0] // n if n else 0, *y.shape[1:]))

    return rule


def same(name: str) -> BatchingRule:
    """Return the rule of an operation on one operand that no axis matters to."""

    def rule(xp: Any, n: int, mapped: Sequence[bool], /, x: Any, **static: Any) -> Any:
        return getattr(xp, name)(x, **static)

    return rule


RULES: dict[str, Callable[[str], BatchingRule]] = {
    "axis": axis,
    "chosen": chosen,
    "merged": merged,
    "ranks": ranks,
    "same": same,
    "stacks": stacks,
}
