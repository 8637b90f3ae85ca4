"""What tracing finds: the inputs of a program, what it makes, changes and relies on."""

from collections.abc import Callable
from typing import Any, NamedTuple

from atled.core.graph import Graph, Value
from atled.core.tape import Leaf, Node
from atled.dtypes import DType
from atled.tree import Structure

__all__ = ["Change", "Fresh", "Record", "Ref", "Source", "graph_of"]

Ref = Any  # an argument's number, a captured Tensor itself, or `Held`, where one lies


class Source(NamedTuple):
    """Where an input of the program is read from.

    Attributes:
        kind: "value" or "grad" of a Tensor `of`; "item" `key` of the mapping `of`; "number",
            the same, as `part(number)`; "array": the array `of` itself.
    """

    kind: str
    of: Any
    key: Any = None
    part: Callable[[Any], Any] | None = None


class Fresh(NamedTuple):
    """A Tensor that every call makes anew: its place in the graph; whether it has a gradient."""

    value: Value
    node: Node | None


class Change(NamedTuple):
    """What a call leaves somewhere.

    Attributes:
        kind: "value" or "grad" of a Tensor `of`; "item" or "number" `key` of the mapping `of`,
            or "rebind", where another Tensor comes to lie.
        what: a Value; for "rebind" a reference to a Tensor as in `Record.results`; for "grad"
            that, or None.
    """

    kind: str
    of: Any
    key: Any
    what: Any


class Record(NamedTuple):
    """What tracing found.

    Attributes:
        inputs: each input of the graph, and where it is read.
        fresh: the Tensors that a call makes.
        results: the structure of the result, and its leaves: ("fresh", number), ("tensor", of),
            ("grad", of) or ("static", object).
        changes: what a call changes.
        checks: values that must be true, and the error otherwise.
        guards: answers relied on, in the order in which they were given.
        leaves: the Tensors that the fresh ones' gradients go to, and their places in the trace.
        captured: (Tensor, value's shape, dtype, whether it requires a gradient; whether its
            `.grad` is there: None if nobody looked).
        prepare: to be called before the inputs are read.
        fixed: (mapping, key, value) that must be there still.
        equal: (key, mappings) in which the numbers must be equal to one another.
    """

    inputs: list[tuple[Value, Source]]
    fresh: list[Fresh]
    structure: Structure
    results: list[Any]
    changes: list[Change]
    checks: list[tuple[Value, Callable[[], Exception]]]
    guards: list[Callable[[], bool]]
    leaves: list[tuple[Ref, Leaf]]
    captured: list[tuple[Ref, tuple[int, ...], DType, bool, bool | None]]
    prepare: list[Callable[[], Any]]
    fixed: list[tuple[Any, Any, Any]]
    equal: list[tuple[Any, list[Any]]]
    trace: Any


def graph_of(record: Record, more: list[Value]) -> Graph:
    """Return the graph of a record's changes and fresh Tensors, and of `more` values."""
    outputs = [c.what for c in record.changes if isinstance(c.what, Value)]
    outputs += [f.value for f in record.fresh] + [v for v, _ in record.checks] + more
    return Graph([v for v, _ in record.inputs], list(dict.fromkeys(outputs)))
