"""The derivatives of a compiled function: programs of their own, and their derivatives in turn.

The trace's own tape is walked back on symbolic cotangents. What the walk reads of the forward
graph is split off: *residuals*, which the forward program returns beside its results and the
node of the tape keeps. A reshape or a comparison is done again rather than kept.

Forward mode pushes symbolic tangents along the same tape. Its program begins at the residuals and
at the inputs of the forward program, and computes again what lies between.

For `create_graph`, a walk is written as a function of the program's inputs and of the cotangents
(or tangents), and that function is compiled like any other, with its own derivative. So it is for
batched ones, as a function of what the walk's program reads: inside a `vmap` a compiled function is
one for all examples (`batched.py`).
"""

from collections.abc import Callable, Sequence
from typing import Any

from atled.compile.interpret import evaluate
from atled.config import modes
from atled.core.apply import port_of
from atled.core.autograd import TENSORS
from atled.core.batch import Batched
from atled.core.graph import COMPARISONS, Graph, Value, ordered
from atled.core.record import Record
from atled.core.symbol import TRACED, Symbol
from atled.core.tape import Node, push_tangents, walk_back
from atled.core.tensor import Tensor, lift, wrap

__all__ = ["Pullback"]

# What is cheaper to do again than to keep.
_CHEAP = COMPARISONS | set("reshape permute_dims broadcast_to slice astype logical_not".split())
_LEAVES = ("constant", "iota")

Mask = tuple[bool, ...]  # which of the results (leaves) a cotangent (tangent) came for
# A walk on symbols: whether it goes forward, and its mask.
Walk = tuple[bool, Mask]
Sources = tuple[list[int], list[Value]]  # numbers of residuals, and inputs of the forward program


class Pullback:
    """The derivative of one prepared function, in both modes.

    Args:
        record: what tracing found; some of its fresh Tensors can be differentiated.
        name: of the function.
        executor: what runs a graph.
        compiled: makes a compiled function of a Python one, for derivatives of the derivative.

    Attributes:
        residuals: values that the forward program returns for it.
        inputs: those of the program that the derivatives may depend on.
    """

    def __init__(
        self, record: Record, name: str, executor: Any, compiled: Callable[[Any], Any]
    ) -> None:
        self.record, self._executor, self._compiled = record, executor, compiled
        self.results = [i for i, f in enumerate(record.fresh) if f.node is not None]
        self.nodes: list[Any] = [record.fresh[i].node for i in self.results]
        made = [record.fresh[i].value for i in self.results]
        self.shapes = [(v.shape, v.dtype) for v in made]
        self._graphs: dict[Walk, tuple[list[Value], list[Value | None]]] = {}
        self._places: dict[Walk, list[int | None]] = {}  # of a walk's outputs, among what is found
        self._programs: dict[Walk, Any] = {}
        self._batched: dict[Walk, Any] = {}
        self._higher: dict[Walk, Any] = {}
        inputs = [v for v, _ in record.inputs]
        outputs = [f.value for f in record.fresh]
        outputs += [c.what for c in record.changes if isinstance(c.what, Value)]
        self._forward = set(ordered(inputs, outputs))
        _, gradients = self._walk((False, (True,) * len(self.results)))
        given = [g for g in gradients if g is not None]
        self.residuals, below = self._frontier(given), set(ordered([], [*given, *made]))
        self.inputs = [v for v in inputs if v in below]
        # For the tape: the derivative of all leaves, in their order.
        self.op: Any = type("Compiled", (), {"name": name, "aliases": ()})
        self.names = ()
        self.positions = tuple(range(len(record.leaves)))

    # -- graphs

    def _walk(self, walk: Walk) -> tuple[list[Value], list[Value | None]]:
        """Return a walk's inputs and its outputs (None: nothing arrives).

        Backward these are cotangents of the results, and gradients of the leaves; forward,
        tangents of the leaves, and of the results.
        """
        known = self._graphs.get(walk)
        if known is not None:
            return known
        before, modes.tracing = modes.tracing, self.record.trace
        try:
            known = self._graphs[walk] = (self._ahead if walk[0] else self._back)(walk[1])
            at = {v: i for i, v in enumerate(_some(known[1]))}
            self._places[walk] = [None if v is None else at[v] for v in known[1]]
        finally:
            modes.tracing = before
        return known

    def _back(self, mask: Mask) -> tuple[list[Value], list[Value | None]]:
        cotangents = [_input(*kind) for kind, on in zip(self.shapes, mask, strict=True) if on]
        nodes = [n for n, on in zip(self.nodes, mask, strict=True) if on]
        arrived: dict[Node, Value] = {}
        hooks = [(leaf, leaf.hooks) for _, leaf in self.record.leaves]
        try:
            for leaf, _ in hooks:
                leaf.hooks = None  # they run when the walk outside reaches the real leaf
            seeds = list(zip(nodes, map(Symbol, cotangents), strict=True))
            walk_back(seeds, lambda node, g: arrived.__setitem__(node, g.value))
        finally:
            for leaf, functions in hooks:
                leaf.hooks = functions
        return cotangents, [arrived.get(leaf) for _, leaf in self.record.leaves]

    def _ahead(self, mask: Mask) -> tuple[list[Value], list[Value | None]]:
        leaves = [leaf for (_, leaf), on in zip(self.record.leaves, mask, strict=True) if on]
        tangents = [_input(leaf.shape, leaf.dtype) for leaf in leaves]
        seeds: dict[Node, Any] = dict(zip(leaves, map(Symbol, tangents), strict=True))
        found = push_tangents(seeds, self.nodes)
        return tangents, [None if t is None else t.value for t in found]

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
        mask = tuple([i in given for i in range(len(self.results))])
        return self._run((False, mask), node, xp, saved, [given[i] for i in sorted(given)])

    def push(self, node: Node, xp: Any, saved: "Residuals", tangents: list[Any]) -> Any:
        """Map tangents of the leaves (None: zero) to those of the results."""
        mask = tuple([t is not None for t in tangents])
        given = [t for t in tangents if t is not None]
        found = self._run((True, mask), node, xp, saved, given)
        return found if len(self.results) > 1 else found[0]

    def _run(
        self, walk: Walk, node: Node, xp: Any, saved: "Residuals", given: list[Any]
    ) -> list[Any]:
        """Return what a walk's outputs are for its inputs; None where nothing arrives."""
        if xp is TENSORS:
            found = self._run_tensors(walk, node, saved, given)
        elif any(isinstance(g, Batched) for g in given):
            found = self._run_batched(walk, saved, given)
        else:
            if walk not in self._programs:
                graph, sources = self._graph(walk)
                self._programs[walk] = self._executor(graph, {}), sources
            program, sources = self._programs[walk]
            found = program.run([*saved.read(sources), *map(_array, given)])
        return [None if i is None else found[i] for i in self._places[walk]]

    def _graph(self, walk: Walk) -> tuple[Graph, Sources]:
        """Return a walk's graph, and which values of a call it reads before what is given."""
        given, outputs = self._walk(walk)
        cut = _cut(_some(outputs), self.residuals)
        kept = [v for v in self.residuals if v in cut.used]
        again = [v for v in self.inputs if v in cut.of and v not in kept]
        inputs = [*[cut.of[v] for v in (*kept, *again)], *given]
        graph = Graph(inputs, [cut.of[v] for v in _some(outputs)])
        return graph, ([self.residuals.index(v) for v in kept], again)

    def _run_batched(self, walk: Walk, saved: "Residuals", given: list[Any]) -> list[Any]:
        """Run a walk on batched arrays: inside of their batches, as a compiled function does."""
        if walk not in self._batched:
            graph, sources = self._graph(walk)
            self._batched[walk] = self._compiled(self._as_function(walk[0], graph)), sources
        function, sources = self._batched[walk]
        found = function(*map(wrap, (*saved.read(sources), *given)))
        return [t._value for t in found]

    # -- derivatives of the derivative

    def _run_tensors(
        self, walk: Walk, node: Node, saved: "Residuals", given: list[Any]
    ) -> list[Any]:
        """Run a walk on Tensors; what is found depends on the leaves and on what was given."""
        if walk not in self._higher:
            inputs, outputs = self._walk(walk)
            graph = Graph(saved.graph.inputs + inputs, _some(outputs))
            self._higher[walk] = self._compiled(self._as_function(walk[0], graph))
        parents = dict(zip([leaf for _, leaf in self.record.leaves], node.parents, strict=True))
        by_value = {leaf_value(self.record, ref): parents[leaf] for ref, leaf in self.record.leaves}
        read = [
            lift(array, by_value.get(v))
            for v, array in zip(saved.graph.inputs, saved.inputs, strict=True)
        ]
        found: list[Any] = self._higher[walk](*read, *given)
        return found

    def _as_function(self, ahead: bool, graph: Graph) -> Callable[..., Any]:
        """Return a walk's graph as a function of Tensors."""

        def derivative(*tensors: Tensor) -> list[Tensor]:
            return evaluate(graph, RECORDING, tensors)

        name = f"the {'forward mode' if ahead else 'gradient'} of {self.op.name}"
        derivative.__name__ = derivative.__qualname__ = name
        return derivative


def _some(values: list[Value | None]) -> list[Value]:
    """Return values that are there, each once."""
    return list(dict.fromkeys([v for v in values if v is not None]))


def _input(shape: tuple[int, ...], dtype: Any) -> Value:
    return Value("input", (), {}, shape, dtype)


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

    def read(self, sources: Sources) -> list[Any]:
        """Return some of the residuals, by number, and some of the inputs, by value."""
        places, values = sources
        known = dict(zip(self.graph.inputs, self.inputs, strict=True)) if values else {}
        return [*[self.arrays[i] for i in places], *[known[v] for v in values]]


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
