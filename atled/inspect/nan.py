"""Where the first infinity or NaN came from: in the values of a graph, or in its gradients.

The tape keeps what derivative rules read: of an operation that can make a NaN of finite operands
that is its operands or its result. `values_of` (in `values.py`) puts these together and computes
anew what can be; the rest stays unseen and the report says so. Nodes of such operations remember
the user's line, others only under `keep_lines`.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from atled.backends.protocol import NAMESPACES
from atled.config import modes
from atled.core.masks import Masks, sum_to_shape
from atled.core.op import REGISTRY, Derivative
from atled.core.tape import Leaf, Node, ancestors
from atled.core.tensor import Tensor
from atled.errors import GradError, TraceError, described, line_of
from atled.inspect.facts import is_freed, operation
from atled.inspect.values import Values, finite, summary

__all__ = ["NanReport", "keep_lines", "nan_report"]


class NanReport:
    """What `nan_report` found.

    Attributes:
        found: "nothing"; "leaf" or "constant" for data that held it from the start; "forward"
            for a result; "backward" for a cotangent.
        operation: the name of the operation; "leaf" for a leaf; None for nothing.
        place: the user's file and line, "" where it was not kept.
        values: a text for each value in the game: ``{"x": ..., "result": ...}``.
        index: the place of the first offending element, or None.
        hidden: how many operations hold infinities or NaN that do not reach the loss.
        text: all of it, to be read.
    """

    def __init__(
        self,
        found: str,
        headline: str,
        operation: str | None = None,
        place: str = "",
        values: dict[str, str] | None = None,
        index: tuple[int, ...] | None = None,
        hidden: int = 0,
        notes: tuple[str, ...] = (),
    ) -> None:
        self.found, self.operation, self.place, self.index = found, operation, place, index
        self.values, self.hidden = values or {}, hidden
        width = max(map(len, self.values), default=0)
        lines = [headline, *([f"  at {place}"] if place else [])]
        lines += [f"  {name.ljust(width)}  {text}" for name, text in self.values.items()]
        if hidden:
            some = "operations hold" if hidden > 1 else "operation holds"
            lines.append(f"  ({hidden} {some} infinities or NaN that a mask keeps from the loss)")
        self.text = "\n".join([*lines, *[f"  {note}" for note in notes]])

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        what = "" if self.operation is None else f": {self.operation}"
        where = f" at {self.place}" if self.place else ""
        return f"<NanReport {self.found}{what}{where}>"


LOST = "line not kept: compute under `with at.inspect.keep_lines():` to have it"


@contextmanager
def keep_lines() -> Iterator[None]:
    """Let every recorded operation remember the user's line, for `nan_report`.

    It makes recording up to half slower again; without it only operations that can make an
    infinity or a NaN of finite numbers do (division, log, sqrt, powers, exp and the like). The
    switch holds for the whole process while the block runs.

    Example:
        >>> import atled as at
        >>> with at.inspect.keep_lines():
        ...     x = at.tensor([2.0], requires_grad=True)
        ...     loss = (x * x).sum()
    """
    before = {op: op.keeps_line for op in REGISTRY.values()}
    try:
        for op in before:
            op.keeps_line = True
        yield
    finally:
        for op, kept in before.items():
            op.keeps_line = kept


def nan_report(loss: Tensor, *, file: IO[str] | None = None) -> NanReport:
    """Find the first infinity or NaN that reaches the loss, or else one in its gradients.

    A loss that is not finite is followed back to the oldest value that is not: data, a constant,
    or the result of an operation. Otherwise the backward pass is made, without touching any
    `.grad`, running hooks or freeing the graph, up to the first operation that turns finite
    cotangents into others. The report is printed too.

    Inside a compiled function, a `Function` or a `checkpoint` nothing can be seen: each counts as
    one operation (and hooks inside a checkpoint do run).

    Args:
        loss: what `backward()` would be called on, of any shape; a cotangent of ones is used.
        file: where to print to; by default, where `print` does.

    Returns:
        What was found; see `NanReport`.

    Raises:
        TypeError: it is not a Tensor.
        GradError: the graph was freed by `backward()`.
        TraceError: it is called inside `compile` or `vmap`, where there are no values.

    Example:
        >>> import atled as at
        >>> x = at.tensor([0.0, 4.0], requires_grad=True)
        >>> report = nan_report(at.sqrt(x).sum())
        The loss and all values before it are finite; sqrt made the first infinite or NaN ...
          at ...
          result     (2,) float32, finite in [0, 2]; at (0,): 0
          cotangent  (2,) float32, finite in [1, 1]; at (0,): 1
          gradient   (2,) float32, 1 inf, finite in [0.25, 0.25]; first at (0,): inf
        >>> report.found, report.operation, report.index
        ('backward', 'sqrt', (0,))
    """
    if not isinstance(loss, Tensor):
        raise TypeError(f"nan_report: a Tensor is needed; found {type(loss).__name__}")
    if NAMESPACES[type(loss._value)].level:
        raise TraceError(
            "nan_report reads values, and there are none inside compile or vmap: return the loss "
            "and call it outside, or call the function without them"
        )
    nodes = [] if loss._node is None else ancestors([loss._node])
    for node in nodes:
        if is_freed(node):
            raise GradError(
                "nan_report: the graph was freed by an earlier backward pass; call it before "
                "backward(), or call backward(retain_graph=True)"
            )
    before, modes.walking = modes.walking, True  # what a vmap that is over kept may be read
    try:
        with loss.backend.quiet():
            report = _report(loss, nodes)
    finally:
        modes.walking = before
    print(report.text, file=sys.stdout if file is None else file)
    return report


def _report(loss: Tensor, nodes: list[Node]) -> NanReport:
    values = Values(nodes)
    if loss._node is None:
        if finite(loss._value):
            return NanReport("nothing", "The loss is finite, and nothing is recorded before it.")
        text = {"value": summary(loss._value)[0]}
        return NanReport("constant", "The loss is not finite, and nothing is recorded before it: "
                         "it does not require a gradient.", values=text)  # fmt: skip
    values.known[loss._node] = loss._value
    bad = {node for node in nodes if values.finite(node) is False}
    if not finite(loss._value):
        return _forward(loss._node, nodes, values, bad)
    hidden = len([node for node in bad if node.port is None])
    found = _backward(loss, nodes, values, hidden)
    if found is not None:
        return found
    return NanReport("nothing", "The loss and its gradients are finite.", hidden=hidden)


def _forward(last: Node, nodes: list[Node], values: Values, bad: set[Node]) -> NanReport:
    """Report the oldest value that is not finite, of those that reach the loss unmasked."""
    reached, stack = {last}, [last]
    while stack:  # through values that are not finite, or are not known
        for parent in stack.pop().parents:
            if parent not in reached and values.finite(parent) is not True:
                reached.add(parent)
                stack.append(parent)
    first = next(node for node in nodes if node in reached and node in bad)
    text, index = summary(values.known[first])
    hidden = len([node for node in bad - reached if node.port is None])
    if isinstance(first, Leaf):
        return NanReport("leaf", f"The data were not finite from the start: a leaf of shape "
                         f"{tuple(first.shape)}.", "leaf", "", {"value": text}, index, hidden,
                         _changed(first))  # fmt: skip
    source = first.parents[0] if first.port is not None else first
    name, operands = operation(source), values.operands(source)
    texts = {n: summary(v, index)[0] for n, v in operands.items()}
    wrong = [n for n, v in operands.items() if not finite(v)]
    notes = list(_lost(source))
    if wrong:
        headline = f"The first infinity or NaN came into {name} by its operand {wrong[0]}."
    elif values.sees_all(source):
        headline = f"{name} made the first infinity or NaN, of finite operands."
    else:
        headline = f"The first infinity or NaN that can be seen is the result of {name}."
        notes.append("not all of what went into it was kept, so that it may have come in there")
    unseen = [f"{operation(n)} {_line(n)}".strip() for n in nodes
              if n in reached and n not in values.known and n.number < first.number]  # fmt: skip
    if unseen:
        notes.append(f"not kept: the results of {', '.join(unseen[:8])}")
    return NanReport("constant" if wrong else "forward", headline, name, _line(source),
                     texts | {"result": text}, index, hidden, tuple(notes))  # fmt: skip


def _changed(leaf: Leaf) -> tuple[str, ...]:
    return ("this is its value now; it may have been changed since the loss was computed",)


def _line(node: Node) -> str:
    return described(line_of(getattr(node, "line", None)))


def _lost(node: Node) -> tuple[str, ...]:
    """Say what to do for a line that was not kept, where that helps."""
    return (LOST,) if isinstance(node.derivative, Derivative) and not _line(node) else ()


def _backward(loss: Tensor, nodes: list[Node], values: Values, hidden: int) -> NanReport | None:
    """Walk back as `backward` does and report the first rule that gives what is not finite."""
    cotangents: dict[Node, Any] = {nodes[-1]: loss.backend.ones_like(loss._value)}
    masks = Masks.back(nodes, [])
    for node in reversed(nodes):
        g = cotangents.pop(node, None)
        if g is None or node.derivative is None:
            continue
        if node.port is not None:
            cotangents.setdefault(node.parents[0], {})[node.port] = g
            if masks is not None:
                masks.to_port(node)
            continue
        if node.gathers:
            zeros = {} if masks is None else masks.at.pop(node, {})
            g = g, [cotangents.pop(parent, None) for parent in node.parents], zeros
        parts = node.derivative.pull(node, node.xp, node.saved, g)
        if masks is not None:
            parts = masks.pulled(node, node.xp, node.saved, g, parts)
        for parent, c, shape in _parts(node, parts):
            if shape is not None and tuple(c.shape) != shape:
                c = sum_to_shape(node.xp, c, shape)
            if not finite(c):
                return _singular(node, values, g, c, hidden)
            total = cotangents[parent] + c if parent in cotangents else c
            if not finite(total):
                return _singular(node, values, g, total, hidden)
            cotangents[parent] = total
    return None


def _parts(node: Node, parts: list[Any]) -> Iterator[tuple[Node, Any, Any]]:
    """Yield (parent, its cotangent, the shape to sum it to, if it may have been broadcast)."""
    for parent, position, c in zip(node.parents, node.derivative.positions, parts, strict=True):
        if c is not None:
            yield parent, c, None if node.shapes is None else tuple(node.shapes[position])


def _singular(node: Node, values: Values, g: Any, c: Any, hidden: int) -> NanReport:
    text, index = summary(c)
    texts = {n: summary(v, index)[0] for n, v in values.operands(node).items()}
    if node in values.known and not isinstance(values.known[node], tuple):
        texts["result"] = summary(values.known[node], index)[0]
    if not isinstance(g, (dict, tuple)):
        texts["cotangent"] = summary(g, index)[0]
    name, line = operation(node), _line(node)
    headline = (
        f"The loss and all values before it are finite; {name} made the first infinite or NaN "
        "gradient, of a finite cotangent."
    )
    if hidden:
        headline = f"The loss is finite; {name} made the first infinite or NaN gradient."
    return NanReport("backward", headline, name, line, texts | {"gradient": text}, index, hidden,
                     _lost(node))  # fmt: skip
