"""Operations of the user's own: `Function`, with a forward and a backward by PyTorch's protocol."""

from collections.abc import Callable
from typing import Any, NamedTuple
from weakref import ref

from atled.config import modes
from atled.core.apply import apply
from atled.core.batch import Batch, enter, leave, present
from atled.core.call import Given, record, result_node
from atled.core.mode import no_grad
from atled.core.tape import Node
from atled.core.tensor import Tensor, wrap
from atled.errors import GradError, ShapeError, TransformError

__all__ = ["Context", "Function", "VmapInfo"]


def _gone() -> None:
    """Stand for the reference to a node where there is none."""


class VmapInfo(NamedTuple):
    """What `Function.vmap` is told of the `vmap` that it is in."""

    batch_size: int
    randomness: str


class Context:
    """What a custom `Function` keeps between its forward and its backward.

    Any attribute may be set on it; Tensors go through `save_for_backward`.
    """

    def __init__(self) -> None:
        # Of what is saved for backward, and for forward mode: (value, node, result's position).
        self._saved: dict[str, list[tuple[Any, Any, int | None]]] = {}
        self._tensors: dict[str, tuple[Any, ...]] = {}
        self._results = 0
        self._positions: list[int] = []
        self._mode = "backward"
        self._node: Callable[[], Node | None] = _gone
        self.needs_input_grad: tuple[bool, ...] = ()

    def save_for_backward(self, *tensors: Any) -> None:
        """Keep Tensors (inputs or results) for the backward rule, as they are now."""
        self._tensors["backward"] = tensors

    def save_for_forward(self, *tensors: Any) -> None:
        """Keep Tensors for `jvp`; without it, `jvp` reads what is saved for backward."""
        self._tensors["forward"] = tensors

    def _close(self, results: tuple[Any, ...]) -> None:
        """Take values and nodes out of the saved Tensors; results keep their position only."""
        places = {id(r): i for i, r in enumerate(results)}
        for mode, tensors in self._tensors.items():
            self._saved[mode] = [
                (t._value, t._node, places.get(id(t))) if isinstance(t, Tensor) else (t, None, None)
                for t in tensors
            ]
        self._tensors = {}

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """The Tensors kept, connected to the graph so that the rule can be differentiated."""
        out = []
        for value, node, position in self._saved.get(self._mode, self._saved.get("backward", ())):
            if position is not None:
                own = self._node()
                node = None if own is None else result_node(own, position, value)
            out.append(value if value is None or not hasattr(value, "shape") else wrap(value, node))
        return tuple(out)

    def bound(self, node: Node | None) -> "Context":
        """Return itself: its Tensors are connected to the graph already."""
        return self


class _Rules:
    """The two rules of a `Function`, as an owner of calls has them (`core/call.py`)."""

    pulls = True

    def __init__(self, function: "type[Function]") -> None:
        self.function = function
        self.name, self.aliases = function.name, function.aliases
        self.__name__, self.backward = function.__name__, function.backward  # for `inspect`
        # Without a rule of its own, forward mode is the transpose of backward.
        self.pushes = function.jvp is not Function.jvp

    def pull(self, ctx: Context, cotangents: list[Tensor]) -> list[Any]:
        """Call backward, and take the cotangents of the tracked arguments."""
        parts = self.function.backward(ctx, *cotangents)
        parts = parts if isinstance(parts, tuple) else (parts,)
        count = len(ctx.needs_input_grad)
        if len(parts) != count:
            raise GradError(
                f"{self.name}.backward returned {len(parts)} gradient(s) for {count} input(s); "
                "return one for each, None for those that need none"
            )
        return [parts[i] for i in ctx._positions]

    def push(self, ctx: Context, tangents: list[Any]) -> list[Any]:
        """Call jvp with a tangent for each Tensor."""
        given: list[Any] = [None] * len(ctx.needs_input_grad)
        for i, t in zip(ctx._positions, tangents, strict=True):
            given[i] = t
        ctx._mode = "forward"
        try:
            found = self.function.jvp(ctx, *given)
        finally:
            ctx._mode = "backward"
        found = found if isinstance(found, tuple) else (found,)
        if len(found) != ctx._results:
            raise GradError(
                f"{self.name}.jvp returned {len(found)} tangent(s) for {ctx._results} result(s)"
            )
        return list(found)


class Function:
    """An operation with a derivative of the user's own, by PyTorch's protocol.

    Subclass it with static methods ``forward(ctx, *args)`` and ``backward(ctx, *cotangents)``,
    which returns one cotangent for each argument of forward (None for those without), and call
    ``MyFunction.apply(*args)``. If need be, there are also:

    * ``setup_context(ctx, inputs, output)``: forward is then called without ctx;
    * ``jvp(ctx, *tangents)``, with a tangent for each argument (None for those without), for
      forward mode. Without it, forward mode is the transpose of backward;
    * ``vmap(info, in_dims, *args)`` → (output, out_dims), for a forward that cannot run on the
      batched Tensors of `atled.vmap`, because it reads their values: the examples lie along the
      axes in_dims of the arguments (None: the same for all). `info` has batch_size, randomness.

    Source: names and meaning as in `torch.autograd.Function`.

    Example:
        >>> import atled as at
        >>> class Cube(at.autograd.Function):
        ...     @staticmethod
        ...     def forward(ctx, x):
        ...         ctx.save_for_backward(x)
        ...         return x * x * x
        ...     @staticmethod
        ...     def backward(ctx, g):
        ...         (x,) = ctx.saved_tensors
        ...         return 3 * x * x * g
        >>> x = at.tensor(2.0, requires_grad=True)
        >>> Cube.apply(x).backward()
        >>> x.grad
        tensor(12.)
    """

    name: str = "Function"
    aliases: tuple[str, ...] = ()

    def __init_subclass__(cls) -> None:
        cls.name = cls.__name__

    @staticmethod
    def forward(ctx: Context, *args: Any) -> Any:
        """Compute the result; called without recording."""
        raise NotImplementedError("a Function needs a static method forward(ctx, *args)")

    @staticmethod
    def backward(ctx: Context, *cotangents: Any) -> Any:
        """Map the results' cotangents to the arguments'."""
        raise NotImplementedError("a Function needs a static method backward(ctx, *cotangents)")

    @staticmethod
    def setup_context(ctx: Context, inputs: tuple[Any, ...], output: Any) -> Any:
        """Keep what the rules need; forward is then called without ctx."""
        raise NotImplementedError

    @staticmethod
    def jvp(ctx: Context, *tangents: Any) -> Any:
        """Map the arguments' tangents to the results'."""
        raise NotImplementedError

    @staticmethod
    def vmap(info: VmapInfo, in_dims: tuple[int | None, ...], *args: Any) -> Any:
        """Compute the results of all examples."""
        raise NotImplementedError

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Run `forward` and record the call with `backward` as its derivative."""
        batch = _outermost(args)
        if batch is not None and cls.vmap is not Function.vmap:
            return _mapped(cls, batch, args)
        given = Given(args, nested=False)
        # What is recorded is inside of the same batches as the rest, see `core/call.py`.
        inside = list(args)
        for i, t in zip(given.tracked, given.tensors, strict=True):
            inside[i] = t
        ctx = Context()
        ctx.needs_input_grad = tuple([i in given.tracked for i in range(len(args))])
        result = _forward(cls, ctx, inside, batch)
        if not given.tracked:
            return result
        results = result if isinstance(result, tuple) else (result,)
        ctx._close(results)
        ctx._positions, ctx._results = given.tracked, len(results)
        out = record(_Rules(cls), given, results, ctx)
        recorded = [t._node for t in out if t._node is not None]
        if recorded:
            node = recorded[0]
            ctx._node = ref(node if node.port is None else node.parents[0])
        return tuple(out) if isinstance(result, tuple) else out[0]


def _forward(cls: type[Function], ctx: Context, args: Any, batch: Batch | None) -> Any:
    try:
        with no_grad():
            if cls.setup_context is Function.setup_context:
                return cls.forward(ctx, *args)
            result = cls.forward(*args)
            cls.setup_context(ctx, tuple(args), result)
            return result
    except TransformError as error:
        if batch is None or batch.ended:
            raise
        raise TransformError(
            f"{cls.name}.forward cannot run on the batched Tensors of {batch.name}: "
            f"{error.message}. Or give {cls.name} a static method vmap(info, in_dims, *args), "
            "which computes all examples and returns (output, out_dims)"
        ) from error


def _outermost(args: Any) -> Batch | None:
    """Return the innermost `vmap`'s batch that an argument lives in; it is opened first."""
    found = [b for x in args if isinstance(x, Tensor) for b in present(x._value)]
    return max(found, key=lambda batch: batch.number, default=None)


def _mapped(cls: type[Function], batch: Batch, args: Any) -> Any:
    """Call the class's `vmap` outside of a batch, and take the results into it."""
    mapped = [isinstance(x, Tensor) and batch in present(x._value) for x in args]
    whole = [
        apply(leave, x, batch=batch, axis=0) if m else x for x, m in zip(args, mapped, strict=True)
    ]
    in_dims = tuple([0 if m else None for m in mapped])
    before = modes.batches
    modes.batches = tuple([b for b in before if b is not batch])
    try:
        pair = cls.vmap(VmapInfo(batch.size, batch.randomness), in_dims, *whole)
    finally:
        modes.batches = before
    if not isinstance(pair, tuple) or len(pair) != 2:
        raise TypeError(
            f"{cls.name}.vmap returns a pair (output, out_dims); found {type(pair).__name__}"
        )
    output, out_dims = pair
    results = output if isinstance(output, tuple) else (output,)
    dims = out_dims if isinstance(out_dims, tuple) else (out_dims,) * len(results)
    if len(dims) != len(results):
        raise ShapeError(f"{cls.name}.vmap: {len(results)} output(s), {len(dims)} out_dims")
    out = [
        y if d is None else _entered(cls, y, d, batch) for y, d in zip(results, dims, strict=True)
    ]
    return tuple(out) if isinstance(output, tuple) else out[0]


def _entered(cls: type[Function], y: Tensor, axis: int, batch: Batch) -> Tensor:
    if not -y.ndim <= axis < y.ndim or y.shape[axis] != batch.size:
        raise ShapeError(
            f"{cls.name}.vmap: an output of shape {y.shape} has no {batch.size} examples along "
            f"its axis {axis}"
        )
    return apply(enter, y, batch=batch, axis=axis % y.ndim)
