"""The derivative of a compiled function: a program of its own, and its derivatives in turn.

The trace's own tape is walked back on symbolic cotangents. What the walk reads of the forward
graph is split off: *residuals*, which the forward program returns beside its results and the
node of the tape keeps. A reshape or a comparison is done again rather than kept.

For `create_graph`, the gradient is written as a function of the program's inputs and of the
cotangents, and that function is compiled like any other, with its own derivative.
"""

from collections.abc import Callable, Sequence
from typing import Any

from atled.compile.interpret import evaluate
from atled.config import modes
from atled.core.apply import port_of
from atled.core.autograd import TENSORS
from atled.core.graph import COMPARISONS, Graph, Value, ordered
from atled.core.record import Record
from atled.core.symbol import TRACED, Symbol
from atled.core.tape import Node, walk_back
from atled.core.tensor import Tensor, lift, wrap
from atled.errors import GradError

__all__ = ["Pullback"]

# What is cheaper to do again than to keep.
_CHEAP = COMPARISONS | set("reshape permute_dims broadcast_to slice astype logical_not".split())
_LEAVES = ("constant", "iota")

Mask = tuple[bool, ...]  # which of the results a cotangent came for


class Pullback:
    """The derivative of one prepared function.

    Args:
        record: what tracing found; some of its fresh Tensors can be differentiated.
        name: of the function.
        executor: what runs a graph.
        compiled: makes a compiled function of a Python one, for derivatives of the derivative.

    Attributes:
        residuals: values that the forward program returns for it.
        inputs: those of the program that the gradients depend on.
    """

    def __init__(
        self, record: Record, name: str, executor: Any, compiled: Callable[[Any], Any]
    ) -> None:
        self.record, self._executor, self._compiled = record, executor, compiled
        self.results = [i for i, f in enumerate(record.fresh) if f.node is not None]
        self.nodes: list[Any] = [record.fresh[i].node for i in self.results]
        self.shapes = [(record.fresh[i].value.shape, record.fresh[i].value.dtype)
                       for i in self.results]  # fmt: skip
        self._graphs: dict[Mask, tuple[list[Value], list[Value | None]]] = {}
        self._programs: dict[Mask, Any] = {}
        self._higher: dict[Mask, Any] = {}
        inputs = [v for v, _ in record.inputs]
        outputs = [f.value for f in record.fresh]
        outputs += [c.what for c in record.changes if isinstance(c.what, Value)]
        self._forward = set(ordered(inputs, outputs))
        _, gradients = self._walk((True,) * len(self.results))
        given = [g for g in gradients if g is not None]
        self.residuals, below = self._frontier(given), set(ordered([], given))
        self.inputs = [v for v in inputs if v in below]
        # For the tape: the derivative of all leaves, in their order.
        self.op: Any = type("Compiled", (), {"name": name, "aliases": ()})
        self.names = ()
        self.positions = tuple(range(len(record.leaves)))

    # -- graphs

    def _walk(self, mask: Mask) -> tuple[list[Value], list[Value | None]]:
        """Return the cotangents' inputs, and the gradient of each leaf (None: nothing arrives)."""
        known = self._graphs.get(mask)
        if known is not None:
            return known
        cotangents = [Value("input", (), {}, shape, dtype) for shape, dtype in self.shapes]
        seeds = [
            (n, Symbol(c)) for n, c, on in zip(self.nodes, cotangents, mask, strict=True) if on
        ]
        arrived: dict[Node, Value] = {}
        hooks = [(leaf, leaf.hooks) for _, leaf in self.record.leaves]
        before, modes.tracing = modes.tracing, self.record.trace
        try:
            for leaf, _ in hooks:
                leaf.hooks = None  # they run when the walk outside reaches the real leaf
            walk_back(seeds, lambda node, g: arrived.__setitem__(node, g.value))
        finally:
            modes.tracing = before
            for leaf, functions in hooks:
                leaf.hooks = functions
        given = [c for c, on in zip(cotangents, mask, strict=True) if on]
        gradients = [arrived.get(leaf) for _, leaf in self.record.leaves]
        self._graphs[mask] = given, gradients
        return given, gradients

    def _frontier(self, gradients: list[Value]) -> list[Value]:
        """Return the values of the forward graph that the gradients are computed from."""
        found: dict[Value, None] = {}
        seen: set[Value] = set()
        stack = list(gradients)
        while stack:
            v = stack.pop()
            if v in seen:
                continue
            seen.add(v)
            if v not in self._forward or v.op in _LEAVES or (v.op in _CHEAP and v.inputs):
                stack += v.inputs
            else:
                found[v] = None
        return list(found)

    # -- at a call

    def connect(
        self,
        fresh: list[Tensor],
        leaves: Any,
        saved: list[Any],
        arrays: Sequence[Any],
        graph: Graph,
    ) -> None:
        """Give the fresh Tensors a node of the tape."""
        parents = tuple(
            [(leaves[ref] if type(ref) is int else ref)._node for ref, _ in self.record.leaves]
        )
        kept = Residuals(saved, [a.copy() if not a.shape else a for a in arrays], graph)
        ys = [fresh[i] for i in self.results]
        xp = ys[0].backend
        if len(ys) == 1:
            y = ys[0]._value
            ys[0]._node = Node(self, parents, kept, {}, xp, y.shape, y.dtype, None)
            return
        hub = Node(self, parents, kept, {}, xp, None, None, None)
        for i, t in enumerate(ys):
            t._node = port_of(hub, i, t._value, xp)

    # -- what the tape calls

    def lifted(self, node: Node, lift: Any) -> "Residuals":
        """Return what the node keeps: `pull` connects it to the graph itself."""
        return node.saved

    def pull(self, node: Node, xp: Any, saved: "Residuals", g: Any) -> list[Any]:
        """Map the cotangents of the results to those of the leaves."""
        given = g if isinstance(g, dict) else {0: g}
        mask = tuple(i in given for i in range(len(self.results)))
        cotangents = [given[i] for i, on in enumerate(mask) if on]
        if xp is TENSORS:
            return self._pull_tensors(node, saved, mask, cotangents)
        program, where = self._program(mask)
        found = program.run([*[saved.arrays[i] for i in program.kept], *map(_array, cotangents)])
        return [None if i is None else found[i] for i in where]

    def push(self, node: Node, xp: Any, saved: Any, tangents: list[Any]) -> Any:
        raise GradError(
            f"{self.op.name} is compiled, and a compiled function has no forward mode: "
            "differentiate the function itself, its attribute __wrapped__"
        )

    def _program(self, mask: Mask) -> Any:
        """Return the program for a choice of cotangents, and where it leaves each gradient."""
        known = self._programs.get(mask)
        if known is None:
            cotangents, gradients = self._walk(mask)
            outputs = list(dict.fromkeys(g for g in gradients if g is not None))
            cut = _cut(outputs, self.residuals)
            inputs = [v for v in self.residuals if v in cut.used]
            graph = Graph([cut.of[v] for v in inputs] + cotangents, [cut.of[v] for v in outputs])
            program = self._executor(graph, {})
            program.kept = [self.residuals.index(v) for v in inputs]
            where = [None if g is None else outputs.index(g) for g in gradients]
            known = self._programs[mask] = program, where
        return known

    # -- derivatives of the derivative

    def _pull_tensors(
        self, node: Node, saved: "Residuals", mask: Mask, cotangents: list[Any]
    ) -> list[Any]:
        """Compute the gradients as Tensors that depend on the leaves and the cotangents."""
        _, gradients = self._walk(mask)
        if mask not in self._higher:
            self._higher[mask] = self._compiled(self._as_function(mask, saved.graph))
        parents = dict(zip([leaf for _, leaf in self.record.leaves], node.parents, strict=True))
        by_value = {leaf_value(self.record, ref): parents[leaf] for ref, leaf in self.record.leaves}
        inputs = [
            lift(array, by_value.get(v))
            for v, array in zip(saved.graph.inputs, saved.inputs, strict=True)
        ]
        found = iter(self._higher[mask](*inputs, *cotangents))
        return [None if g is None else next(found) for g in gradients]

    def _as_function(self, mask: Mask, forward: Graph) -> Callable[..., Any]:
        """Return the gradients as a function of the program's inputs and the cotangents."""
        cotangents, gradients = self._walk(mask)
        graph = Graph(forward.inputs + cotangents, [g for g in gradients if g is not None])

        def gradient(*tensors: Tensor) -> list[Tensor]:
            return evaluate(graph, RECORDING, tensors)

        gradient.__name__ = gradient.__qualname__ = f"the gradient of {self.op.name}"
        return gradient


def leaf_value(record: Record, ref: Any) -> Value | None:
    """Return the input of the graph that a leaf is read from."""
    for v, (kind, of, _, _) in record.inputs:
        if kind == "value" and of is ref:
            return v
    return None


class Residuals:
    """What a node of the tape keeps of one call.

    Attributes:
        arrays: the residuals; `inputs`: what the forward program, of `graph`, was run on.
    """

    __slots__ = ("arrays", "graph", "inputs")

    def __init__(self, arrays: list[Any], inputs: list[Any], graph: Graph) -> None:
        self.arrays, self.inputs, self.graph = arrays, inputs, graph

    @property
    def saved_tensors(self) -> list[Any]:
        return self.arrays


class _Cut:
    """A copy of a graph in which some values have become inputs."""

    def __init__(self) -> None:
        self.of: dict[Value, Value] = {}
        self.used: set[Value] = set()


def _cut(outputs: list[Value], at: list[Value]) -> _Cut:
    cut, ends = _Cut(), set(at)
    todo = list(outputs)
    while todo:
        v = todo[-1]
        if v in cut.of:
            todo.pop()
        elif v in ends:
            cut.of[v] = v if v.op == "input" else Value("input", (), {}, v.shape, v.dtype)
            cut.used.add(v)
        else:
            missing = [x for x in v.inputs if x not in cut.of]
            todo += missing
            if not missing:
                parts = tuple([cut.of[x] for x in v.inputs])
                same = all(a is b for a, b in zip(parts, v.inputs, strict=True))
                cut.of[v] = v if same else Value(v.op, parts, v.static, v.shape, v.dtype)
    return cut


def _array(x: Any) -> Any:
    import numpy as np

    return np.asarray(x, order="C")


class _Recording:
    """The namespace over Tensors for `evaluate`: its leaves are constants, its bits are drawn."""

    level = 1

    def __getattr__(self, name: str) -> Any:
        return getattr(TENSORS, name)

    def full(self, shape: Any, fill: Any, *, dtype: Any) -> Tensor:
        return wrap(TRACED.full(shape, fill, dtype=dtype))

    def arange(self, start: int, stop: int) -> Tensor:
        return wrap(TRACED.arange(start, stop))

    def threefry(self, *operands: Tensor, word: int) -> Tensor:
        return wrap(Symbol(Value.of("threefry", *[t._value.value for t in operands], word=word)))


RECORDING = _Recording()
