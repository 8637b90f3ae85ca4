"""A graph, evaluated operation by operation: what every compiled program must agree with.

`evaluate` runs a graph on arrays of any namespace: on NumPy's it is the reference that the tests
compare with, on Tensors it can be differentiated, on symbols it writes the graph into another.
"""

from collections.abc import Sequence
from typing import Any

from atled.backends.protocol import load
from atled.core.graph import Graph, Value

__all__ = ["Interpreted", "evaluate"]

_REDUCTIONS = frozenset("sum prod max min all any".split())
_INDEXED = frozenset("gather_nd scatter_nd_add scatter_nd_set".split())
_DROP = frozenset(("argmax", "argmin"))


class Interpreted:
    """A graph as a program without a compiler.

    Args:
        graph: what to compute.
        aliases: which output is written over which input, which it then is.
        tests: outputs that must be true; nothing is written over an input otherwise.
    """

    def __init__(self, graph: Graph, aliases: dict[int, int], tests: Sequence[int] = ()) -> None:
        self.graph, self._aliases, self._tests = graph, aliases, tests
        self._xp = load("numpy")

    def bind(self, k: int, array: Any) -> None:
        """Take note of another array for input k: not needed here."""

    def run(self, inputs: list[Any]) -> list[Any]:
        """Return the outputs for these inputs, numpy.ndarrays all of them."""
        with self._xp.quiet():
            found = [self._xp.to_numpy(y) for y in evaluate(self.graph, self._xp, inputs)]
        if not all(found[k] for k in self._tests):
            return found
        if self._aliases:  # an output may be an input, or a view of one
            found = [y.copy() for y in found]
        for out, k in self._aliases.items():
            inputs[k][...] = found[out]
            found[out] = inputs[k]
        return found

    run_bound = run


def evaluate(graph: Graph, xp: Any, inputs: Sequence[Any]) -> list[Any]:
    """Return a graph's outputs.

    Args:
        graph: what to compute.
        xp: the namespace to compute in.
        inputs: an array of it for each input of the graph.
    """
    known: dict[Value, Any] = dict(zip(graph.inputs, inputs, strict=True))
    for v in graph.values:
        if v not in known:
            known[v] = perform(v, xp, [known[x] for x in v.inputs])
    return [known[v] for v in graph.outputs]


def perform(v: Value, xp: Any, operands: list[Any]) -> Any:
    """Return one value of a graph from its operands."""
    op, static = v.op, v.static
    if op == "constant":
        return xp.full((), static["value"], dtype=static["dtype"])
    if op == "iota":
        return xp.arange(0, static["size"])
    if op == "threefry":
        return _random(v, xp, operands)
    if op == "pool_places":
        places = xp.pool_index(*operands, **static)
        return places if xp.level else xp.astype(places, dtype=v.dtype)
    if op == "call":
        y = getattr(xp, static["name"])(*operands, **dict(static["given"]))
        return y[static["result"]] if "result" in static else y
    if op in _REDUCTIONS:
        return getattr(xp, op)(*operands, axis=static["axis"], keepdims=False)
    if op in _DROP:
        return getattr(xp, op)(*operands, axis=static["axis"][0], keepdims=False)
    if op in _INDEXED and xp.level == 0:  # out of range is for the program's checks to say
        first = 1 if op == "gather_nd" else 2
        operands = [*operands[:first], *_clipped(xp, operands[0], operands[first:])]
    return getattr(xp, op)(*operands, **static)


def _clipped(xp: Any, x: Any, indices: list[Any]) -> list[Any]:
    sizes = zip(indices, x.shape, strict=False)
    return [xp.minimum(xp.maximum(i, 0), max(n - 1, 0)) for i, n in sizes]


def _random(v: Value, xp: Any, operands: list[Any]) -> Any:
    if not hasattr(xp, "random_bits") or xp.name == "traced":
        return xp.threefry(*operands, word=v.static["word"])
    x0, x1, *key = operands
    words = [int(k.reshape(-1)[0]) if k.size else 0 for k in key]
    return xp.random_bits(x0, x1, key=tuple(words))[v.static["word"]]
