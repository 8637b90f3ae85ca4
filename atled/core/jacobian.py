"""Jacobians and Hessians: a walk of the tape for each row or column, many at once through a batch.

`jacrev` pulls the rows of an identity matrix back, one for each element of the result; `jacfwd`
pushes its columns forward, one for each element of the argument. The rows are the examples of a
`Batch`, so a walk does them together; how many, is for the memory to say.
"""

import math
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from atled.backends.protocol import Backend
from atled.config import modes
from atled.core.apply import apply
from atled.core.autograd import TENSORS
from atled.core.batch import Batch, batched, leave, present
from atled.core.op import REGISTRY
from atled.core.run import Argnums, Run
from atled.core.tape import Node, ancestors
from atled.core.tensor import Tensor, wrap
from atled.core.vmap import called
from atled.dtypes import int64
from atled.errors import DTypeError, MemoryLimitError
from atled.tree import unflatten

__all__ = ["hessian", "jacfwd", "jacobian", "jacrev"]

SHARE = 4  # of the free memory, what a Jacobian may use by default: one part in so many
UNKNOWN = 2**30  # bytes taken as free where the system does not tell


def jacobian(
    function: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    *,
    mode: str = "auto",
    chunk_size: int | None = None,
    max_bytes: int | None = None,
) -> Callable[..., Any]:
    """Return the Jacobian of a function, as a function: J[i, j] = ∂yᵢ/∂xⱼ.

    Args:
        function: from Tensors to Tensors, nested as in `grad`.
        argnums: the positional argument, or a tuple of them, to differentiate with respect to.
        has_aux: whether the function returns (result, anything else).
        mode: "reverse" walks back once for each element of the result, "forward" forward once for
            each element of the argument; "auto" takes the one with fewer walks.
        chunk_size: how many of these walks to do at once; by default as many as the memory allows.
        max_bytes: how much memory the walks and the Jacobian may need beside the tape, estimated
            from the sizes of the recorded operations; by default a quarter of what is free.

    Returns:
        A function that returns, for a result of shape (m…) and an argument of shape (n…), a Tensor
        of shape (m…, n…): for each result, nested as the results, one for each Tensor of the
        argument, nested as it is (a tuple of these for several arguments). With aux, a pair.

    Raises:
        MemoryLimitError: the Jacobian alone is larger than `max_bytes`.

    Example:
        >>> import atled as at
        >>> at.jacobian(lambda x: x**2)(at.tensor([1.0, 2.0]))
        tensor([[2., 0.],
                [0., 4.]])
    """
    if mode not in ("auto", "forward", "reverse"):
        raise ValueError(f'jacobian: mode is "auto", "forward" or "reverse"; found {mode!r}')
    if chunk_size is not None and chunk_size < 1:
        raise ValueError(f"jacobian: chunk_size is at least 1; found {chunk_size}")
    name = f"jacobian({called(function)})"

    @wraps(function, assigned=("__name__", "__qualname__", "__doc__", "__module__"))
    def differentiated(*args: Any, **kwargs: Any) -> Any:
        run = Run(name, function, args, argnums, has_aux, kwargs)
        wrong = [y.dtype.name for y in run.outputs if not y.dtype.is_floating_point]
        if wrong:
            raise DTypeError(f"{name}: a result is {wrong[0]}, which has no derivative")
        forward = mode == "forward" or (mode == "auto" and _size(run.inputs) < _size(run.outputs))
        blocks = (_Forward if forward else _Reverse)(run, chunk_size, max_bytes).blocks()
        nest = unflatten(run.structure, [run.like_inputs(row) for row in blocks])
        return (nest, run.returned(run.aux)) if has_aux else nest

    return differentiated


def jacrev(
    function: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    *,
    chunk_size: int | None = None,
    max_bytes: int | None = None,
) -> Callable[..., Any]:
    """Return the Jacobian by reverse mode: `jacobian` with mode="reverse"."""
    return jacobian(
        function, argnums, has_aux, mode="reverse", chunk_size=chunk_size, max_bytes=max_bytes
    )


def jacfwd(
    function: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    *,
    chunk_size: int | None = None,
    max_bytes: int | None = None,
) -> Callable[..., Any]:
    """Return the Jacobian by forward mode: `jacobian` with mode="forward"."""
    return jacobian(
        function, argnums, has_aux, mode="forward", chunk_size=chunk_size, max_bytes=max_bytes
    )


def hessian(
    function: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    *,
    chunk_size: int | None = None,
    max_bytes: int | None = None,
) -> Callable[..., Any]:
    """Return the Hessian of a function, as a function: forward over reverse.

    Args:
        function, argnums, has_aux, chunk_size, max_bytes: as in `jacobian`.

    Returns:
        A function that returns, for a scalar result and an argument of shape (n…), a Tensor of
        shape (n…, n…), nested as the argument and, within that, as the argument again.

    Example:
        >>> import atled as at
        >>> at.hessian(lambda x: x[0] ** 2 * x[1])(at.tensor([3.0, 2.0]))
        tensor([[4., 6.],
                [6., 0.]])
    """
    inner = jacrev(function, argnums, has_aux, max_bytes=max_bytes)
    return jacfwd(inner, argnums, has_aux, chunk_size=chunk_size, max_bytes=max_bytes)


def _size(tensors: Sequence[Tensor]) -> int:
    return sum(t.size for t in tensors)


class _Blocks:
    """The Jacobian of one run, a block for each pair of a result and a variable."""

    def __init__(self, run: Run, chunk_size: int | None, max_bytes: int | None) -> None:
        self.run, self.chunk_size = run, chunk_size
        first = run.inputs[0]
        self.max_bytes = (
            (first.backend.free_memory(first.device) or UNKNOWN) // SHARE
            if max_bytes is None
            else max_bytes
        )
        self._refuse_too_large(given=max_bytes is not None)

    def _refuse_too_large(self, given: bool) -> None:
        run = self.run
        needed = sum(y.size * x.size * max(y.dtype.itemsize, x.dtype.itemsize)
                     for y in run.outputs for x in run.inputs)  # fmt: skip
        needed *= math.prod([batch.size for batch in modes.batches])
        self.needed = needed
        if needed > self.max_bytes:
            limit = "max_bytes" if given else f"one {SHARE}th of the free memory"
            raise MemoryLimitError(
                f"{run.name}: {_size(run.outputs)} results by {_size(run.inputs)} variables make "
                f"{needed:,} bytes, more than the {self.max_bytes:,} of {limit}. Use products with "
                "the Jacobian instead (at.vjp, at.jvp, at.hvp), which never build it, or pass a "
                "larger max_bytes"
            )

    def chunks(self, count: int, of: Tensor, forward: bool) -> Any:
        """Yield (start, stop) of the walks to do at once, so that they fit the memory."""
        size = self.chunk_size
        if size is None:
            nodes = [y._node for y in self.run.outputs if y._node is not None]
            live = live_bytes(ancestors(nodes, self.run.since), forward)
            each = 2 * max(live, 1)  # a rule needs as much again
            room = self.max_bytes - 2 * self.needed  # the parts, and all of them joined
            if count * each > self.max_bytes - self.needed:
                size = max(1, max(room, self.max_bytes // 16) // each)
            else:
                size = max(1, count)
        return [(start, min(start + size, count)) for start in range(0, count, size)]

    @staticmethod
    def basis(like: Tensor, start: int, stop: int, batch: Batch) -> Tensor:
        """Return rows of the identity matrix, each in the shape of a Tensor, as a batch."""
        xp = _base(like.backend)
        device = None if xp.level else like.device
        rows = xp.reshape(xp.arange(start, stop, dtype=int64, device=device),
                          shape=(stop - start, 1))  # fmt: skip
        columns = xp.reshape(xp.arange(0, like.size, dtype=int64, device=device),
                             shape=(1, like.size))  # fmt: skip
        eye = xp.astype(rows == columns, dtype=like.dtype)
        shaped = xp.reshape(eye, shape=(stop - start, *like.shape))
        return wrap(batched(xp).kind(shaped, batch, True))


def _base(xp: Backend) -> Backend:
    return getattr(xp, "base", xp)


class _Reverse(_Blocks):
    def blocks(self) -> list[list[Tensor]]:
        """Return for each result the blocks of all variables."""
        return [self._rows(k, y) for k, y in enumerate(self.run.outputs)]

    def _rows(self, k: int, y: Tensor) -> list[Tensor]:
        run = self.run
        if y.size == 0:
            return [_empty(y, x) for x in run.inputs]
        if y.size == 1:
            found = run.pull([TENSORS.ones_like(y) if i == k else None
                              for i in range(len(run.outputs))], given=False)  # fmt: skip
            return [
                _shaped(g, (*y.shape, *x.shape)) for g, x in zip(found, run.inputs, strict=True)
            ]
        parts: list[list[Tensor]] = []
        for start, stop in self.chunks(y.size, y, forward=False):
            with Batch(stop - start, run.name) as batch:
                basis = self.basis(y, start, stop, batch)
                pulled = run.pull([basis if i == k else None for i in range(len(run.outputs))])
                parts.append([apply(leave, g, batch=batch, axis=0) for g in pulled])
        return [
            _shaped(_concat(blocks, 0), (*y.shape, *x.shape))
            for x, *blocks in zip(run.inputs, *parts, strict=True)
        ]


class _Forward(_Blocks):
    def blocks(self) -> list[list[Tensor]]:
        """Return for each result the blocks of all variables."""
        columns = [self._columns(k, x) for k, x in enumerate(self.run.inputs)]
        return [list(row) for row in zip(*columns, strict=True)]

    def _columns(self, k: int, x: Tensor) -> list[Tensor]:
        run = self.run
        if x.size == 0:
            return [_empty(y, x) for y in run.outputs]
        if x.size == 1:
            found = run.push([TENSORS.ones_like(x) if i == k else None
                              for i in range(len(run.inputs))], given=False)  # fmt: skip
            return [
                _shaped(t, (*y.shape, *x.shape)) for t, y in zip(found, run.outputs, strict=True)
            ]
        parts: list[list[Tensor]] = []
        for start, stop in self.chunks(x.size, x, forward=True):
            with Batch(stop - start, run.name) as batch:
                basis = self.basis(x, start, stop, batch)
                pushed = run.push([basis if i == k else None for i in range(len(run.inputs))])
                parts.append([apply(leave, t, batch=batch, axis=t.ndim) for t in pushed])
        return [
            _shaped(_concat(blocks, y.ndim), (*y.shape, *x.shape))
            for y, *blocks in zip(run.outputs, *parts, strict=True)
        ]


def _empty(y: Tensor, x: Tensor) -> Tensor:
    """Return the Jacobian of or by a Tensor without elements."""
    device = None if x.backend.level else x.device
    return wrap(x.backend.zeros((*y.shape, *x.shape), dtype=y.dtype, device=device))


def _concat(parts: Sequence[Tensor], axis: int) -> Tensor:
    return parts[0] if len(parts) == 1 else apply(REGISTRY["concat"], *parts, axis=axis)


def _shaped(t: Tensor, shape: tuple[int, ...]) -> Tensor:
    return t if t.shape == shape else apply(REGISTRY["reshape"], t, shape=shape)


def live_bytes(nodes: Sequence[Node], forward: bool) -> int:
    """Return the most bytes that the cotangents (or tangents) of one walk need at once.

    Args:
        nodes: of the tape, oldest first.
        forward: whether the walk goes from the oldest to the newest.
    """
    live = most = 0
    if forward:
        last = {parent: node for node in nodes for parent in node.parents}
        for node in nodes:
            live += _bytes(node)
            most = max(most, live)
            live -= sum(_bytes(p) for p in set(node.parents) if last[p] is node)
        return most
    waiting: set[Node] = set()
    for node in reversed(nodes):
        if node not in waiting:
            live += _bytes(node)
        for parent in node.parents:
            if parent not in waiting:
                waiting.add(parent)
                live += _bytes(parent)
        most = max(most, live)
        live -= _bytes(node)
    return most


def _bytes(node: Node) -> int:
    if node.shape is None:
        return 0
    size = 1
    for n in node.shape:
        size *= n
    batches = set(modes.batches)
    for value in node.saved if type(node.saved) is tuple else ():
        batches |= present(value)
    return size * math.prod([b.size for b in batches]) * int(getattr(node.dtype, "itemsize", 8))
