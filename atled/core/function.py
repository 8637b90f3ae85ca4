"""Operations of the user's own: `Function`, with a forward and a backward by PyTorch's protocol."""

from typing import Any
from weakref import ref

from atled.config import modes
from atled.core.apply import as_tensor, port_of
from atled.core.autograd import TENSORS
from atled.core.mode import enable_grad, no_grad
from atled.core.tape import Node
from atled.core.tensor import Tensor, wrap
from atled.errors import GradError

__all__ = ["Context", "Function"]


class Context:
    """What a custom `Function` keeps between its forward and its backward.

    Any attribute may be set on it; Tensors go through `save_for_backward`.
    """

    def __init__(self) -> None:
        self._saved: list[tuple[Any, Any, int | None]] = []  # (value, node, result's position)
        self._tensors: tuple[Any, ...] = ()
        self._nodes: list[Any] = []
        self.needs_input_grad: tuple[bool, ...] = ()

    def save_for_backward(self, *tensors: Any) -> None:
        """Keep Tensors (inputs or results) for the backward rule, as they are now."""
        self._tensors = tensors

    def _close(self, results: tuple[Any, ...]) -> None:
        """Take values and nodes out of the saved Tensors; results keep their position only."""
        places = {id(r): i for i, r in enumerate(results)}
        for t in self._tensors:
            is_tensor = isinstance(t, Tensor)
            self._saved.append(
                (t._value, t._node, places.get(id(t))) if is_tensor else (t, None, None)
            )
        self._tensors = ()

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """The Tensors kept, connected to the graph so that the rule can be differentiated."""
        out = []
        for value, node, position in self._saved:
            if position is not None:
                node = self._nodes[position]()
            out.append(value if value is None or not hasattr(value, "shape") else wrap(value, node))
        return tuple(out)


class _FunctionDerivative:
    """The derivative of one call of a `Function`: it calls the user's `backward`."""

    names = ()

    def __init__(
        self,
        function: "type[Function]",
        positions: list[int],
        inputs: list[Tensor],
        results: list[Tensor],
    ) -> None:
        self.op, self.positions = function, tuple(positions)
        self.inputs = [(x.shape, x.dtype) for x in inputs]
        self.results = [(r.shape, r.dtype, r.device) for r in results]

    def lifted(self, node: Node, lift: Any) -> Context:
        """Return the context: its Tensors are connected to the graph already."""
        return node.saved

    def pull(self, node: Node, xp: Any, saved: Context, g: Any) -> list[Any]:
        raw = xp is not TENSORS
        given = g if isinstance(g, dict) else {0: g}
        gs = [self._cotangent(i, given.get(i), node) for i in range(len(self.results))]
        with no_grad() if raw else enable_grad():
            parts = self.op.backward(saved, *gs)
        parts = parts if isinstance(parts, tuple) else (parts,)
        name, count = self.op.__name__, len(saved.needs_input_grad)
        if len(parts) != count:
            raise GradError(
                f"{name}.backward returned {len(parts)} gradient(s) for {count} input(s); "
                "return one for each, None for those that need none"
            )
        out = []
        for i, (shape, dtype) in zip(self.positions, self.inputs, strict=True):
            part = parts[i]
            if part is not None and tuple(part.shape) != shape:
                raise GradError(
                    f"{name}.backward returned a gradient of shape {tuple(part.shape)} for "
                    f"input {i} of shape {shape}"
                )
            if isinstance(part, Tensor):
                part = as_tensor(part, dtype=dtype)
                part = part._value if raw else part
            out.append(part)
        return out

    def _cotangent(self, i: int, g: Any, node: Node) -> Tensor:
        if g is None:
            shape, dtype, device = self.results[i]
            return wrap(node.xp.zeros(shape, dtype=dtype, device=device))
        return g if isinstance(g, Tensor) else wrap(g)

    def push(self, node: Node, xp: Any, saved: Any, tangents: list[Any]) -> Any:
        raise GradError(
            f"{self.op.__name__} has no forward-mode rule: only its backward is defined"
        )


class Function:
    """An operation with a derivative of the user's own, by PyTorch's protocol.

    Subclass it with static methods ``forward(ctx, *args)`` and ``backward(ctx, *cotangents)``,
    which returns one cotangent for each argument of forward (None for those without), and call
    ``MyFunction.apply(*args)``.

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

    name = "Function"
    aliases = ()

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

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Run `forward` and record the call with `backward` as its derivative."""
        ctx = Context()
        tracked = [i for i, x in enumerate(args) if isinstance(x, Tensor) and x._node is not None]
        recording = modes.enabled and bool(tracked)
        ctx.needs_input_grad = tuple(recording and i in tracked for i in range(len(args)))
        with no_grad():
            result = cls.forward(ctx, *args)
        if not recording:
            return result
        results = result if isinstance(result, tuple) else (result,)
        ctx._close(results)
        derivative = _FunctionDerivative(cls, tracked, [args[i] for i in tracked], list(results))
        parents = tuple([args[i]._node for i in tracked])
        xp = results[0].backend
        if len(results) == 1:
            y = results[0]._value
            if not xp.dtype_of(y).is_floating_point:
                return result
            nodes: list[Node | None] = [
                Node(derivative, parents, ctx, {}, xp, y.shape, y.dtype, None)
            ]
        else:
            hub = Node(derivative, parents, ctx, {}, xp, None, None, None)
            nodes = [port_of(hub, i, r._value, xp) for i, r in enumerate(results)]
        ctx._nodes = [ref(node) if node is not None else lambda: None for node in nodes]
        out = tuple(wrap(r._value, n) for r, n in zip(results, nodes, strict=True))
        return out if isinstance(result, tuple) else out[0]
