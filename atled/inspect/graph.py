"""Draw the graph behind a loss as SVG, to look at in a notebook or a browser."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atled.core.op import Derivative
from atled.core.tape import Leaf, Node, ancestors
from atled.core.tensor import Tensor
from atled.errors import GradError
from atled.inspect.facts import (
    dtype_name,
    is_freed,
    operation,
    saved_bytes,
    saved_of,
    short,
    size_text,
    static_text,
)
from atled.inspect.layout import arrange, layers_of
from atled.inspect.rules import rule_texts
from atled.inspect.svg import Box, draw, measure

__all__ = ["Graph", "graph"]

FAR = 12  # layers; an edge that spans more is drawn as a reference to its source
NEAR = 3  # layers; a leaf is drawn again for uses further apart than this


@dataclass(frozen=True, repr=False)
class Graph:
    """A drawn graph: shown by a notebook, or saved to a file.

    Attributes:
        svg: the drawing, an SVG document.
        nodes: how many nodes of the tape it shows.
    """

    svg: str
    nodes: int

    def _repr_svg_(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        return f"<graph of {self.nodes} nodes; .save('graph.svg') writes it to a file>"

    def save(self, path: str | Path) -> None:
        """Write the drawing to a file, by custom called ``*.svg``."""
        Path(path).write_text(self.svg, encoding="utf-8")


def graph(loss: Tensor, *, max_nodes: int = 5000, fold: bool = True, names: Any = None) -> Graph:
    """Draw how a loss was computed from the leaves that require gradients.

    Constants are not shown. A box tells the operation, the shape and dtype of its result; its
    tooltip the derivative rules and what was saved. Leaves are green; one that is used far
    apart is drawn at each place, and a result used far below is referred to by its number.

    Args:
        loss: a result; any shape.
        max_nodes: refuse to draw more nodes of the tape than this.
        fold: draw several results of one operation, and runs of operations that only move or
            convert elements (reshape, permute_dims, astype), as one box.
        names: names of Tensors to show, ``{"w": w}``, or a module with `named_parameters()`.

    Returns:
        The drawing.

    Raises:
        GradError: the loss has no graph.
        ValueError: the graph has more than `max_nodes` nodes.

    Example:
        >>> import atled as at
        >>> w = at.tensor([1.0, 2.0], requires_grad=True)
        >>> graph((w * w).sum(), names={"w": w})
        <graph of 3 nodes; .save('graph.svg') writes it to a file>
    """
    if loss._node is None:
        raise GradError(
            "graph: this Tensor does not depend on anything that requires a gradient; "
            "atled.inspect.why_no_grad(loss, w) shows where the path ends"
        )  # fmt: skip
    nodes = ancestors([loss._node])
    if len(nodes) > max_nodes:
        raise ValueError(
            f"graph: there are {len(nodes)} nodes behind this Tensor, more than "
            f"max_nodes={max_nodes}; draw a smaller part, such as one layer or one time step, "
            "or pass a larger max_nodes. atled.inspect.print_tape lists a tape of any length"
        )
    boxes = _boxes(nodes, _names(names), fold)
    boxes, layer = _shortened(boxes)
    sizes = [measure(box) for box in boxes]
    placed = arrange([w for w, _ in sizes], [h for _, h in sizes], layer,
                     [box.parents for box in boxes])  # fmt: skip
    return Graph(draw(boxes, placed), len(nodes))


def _names(given: Any) -> dict[Node, str]:
    """Return the names to show, by node."""
    if given is None:
        return {}
    found: Iterable[tuple[Any, Any]]
    if hasattr(given, "named_parameters"):
        found = given.named_parameters()
    elif isinstance(given, Mapping):
        found = given.items()
    else:
        raise TypeError(
            "graph: names must be a dict from name to Tensor, or a module with "
            f"named_parameters(); found {type(given).__name__}"
        )
    return {t._node: str(name) for name, t in found if isinstance(t, Tensor) and t._node}


# -- from nodes to boxes ----------------------------------------------------------------------


def _boxes(nodes: list[Node], names: dict[Node, str], fold: bool) -> list[Box]:
    """Return a box for each node, or for each run that folds, in the order of the tape."""
    runs = _runs(nodes, names, fold)
    number = {node: i for i, run in enumerate(runs) for node in run}
    boxes = []
    for i, run in enumerate(runs):
        box = _leaf(run[0], names) if run[0].derivative is None else _step(run, names)
        above = [number[p] for node in run for p in node.parents]
        box.parents = list(dict.fromkeys(p for p in above if p != i))
        boxes.append(box)
    boxes[-1].kind = boxes[-1].kind if boxes[-1].kind == "leaf" else "output"
    return boxes


def _runs(nodes: list[Node], names: dict[Node, str], fold: bool) -> list[list[Node]]:
    """Group the nodes: each run becomes one box, and stands where its last node stood."""
    if not fold:
        return [[node] for node in nodes]
    users: dict[Node, int] = {}
    for node in nodes:
        for parent in node.parents:
            users[parent] = users.get(parent, 0) + 1
    run_of: dict[Node, list[Node]] = {}
    for node in nodes:
        source = node.parents[0] if len(node.parents) == 1 else None
        joins = source is not None and source in run_of and (
            node.port is not None
            or (_moves(node) and _moves(source) and users[source] == 1 and source not in names)
        )  # fmt: skip
        run = run_of[source] if joins and source is not None else []
        run.append(node)
        run_of[node] = run
    first_ports = {id(run): run for run in run_of.values()}
    return sorted(first_ports.values(), key=lambda run: (run[0] if run[-1].port is not None
                                                         else run[-1]).number)  # fmt: skip


def _moves(node: Node) -> bool:
    """Say whether a node only moves or converts the elements of one operand."""
    op = node.derivative.op if isinstance(node.derivative, Derivative) else None
    return op is not None and op.kind in ("movement", "linear") and len(op.inputs) == 1


def _leaf(node: Node, names: dict[Node, str]) -> Box:
    tensor = node.variable if isinstance(node, Leaf) else None
    grad = "no .grad yet" if tensor is None or tensor.grad is None else ".grad is there"
    name = names.get(node, "")
    shape = _shape(node)
    tip = f"leaf {name}: {shape} {dtype_name(node)}; {grad}"
    return Box(short(name, 40) or shape, [f"{shape} {dtype_name(node)}" if name
                                          else dtype_name(node)], "leaf", tip)  # fmt: skip


def _step(run: list[Node], names: dict[Node, str]) -> Box:
    inner = [node for node in run if node.port is None]
    last = run[-1]
    words = [operation(node) for node in inner]
    if len(words) > 3:
        words = [words[0], f"({len(words) - 2} more)", words[-1]]
    details = [f"{_shape(last)} {dtype_name(last)}"]
    if last.port is not None:
        details = [short(", ".join(_shape(node) for node in run if node.port is not None), 40)]
    known = [names[node] for node in run if node in names]
    details += [short(f"= {name}", 40) for name in known]
    derivative = inner[0].derivative if inner else None
    kind = derivative.op.kind if isinstance(derivative, Derivative) else "custom"
    return Box(" · ".join(words) or operation(last), details, kind, _tooltip(inner or run))


def _tooltip(nodes: list[Node]) -> str:
    lines = []
    for node in nodes:
        static = static_text(node)
        lines.append(f"{operation(node)}{f' {static}' if static else ''}")
        if node.port is None:
            lines += [f"  {text}" for text in dict.fromkeys(rule_texts(node.derivative))]
        lines += [f"  saved {kept.text}" for kept in saved_of(node)]
    freed = all(map(is_freed, nodes))
    lines.append("(freed)" if freed else f"{size_text(saved_bytes(nodes))} saved")
    return "\n".join(lines)


def _shape(node: Node) -> str:
    return "several" if node.shape is None else str(tuple(node.shape))


# -- edges that would run too far -------------------------------------------------------------


def _shortened(boxes: list[Box]) -> tuple[list[Box], list[int]]:
    """Return the boxes with copies of far leaves and references to far results, and layers."""
    layer = layers_of([box.parents for box in boxes])
    out = [*boxes]
    copies: dict[tuple[int, int], int] = {}  # (source, layer) -> the box that stands for it
    for i, box in enumerate(boxes):
        for at, parent in enumerate(box.parents):
            reach = NEAR if boxes[parent].kind == "leaf" else FAR
            if layer[i] - layer[parent] <= reach:
                continue
            near = range(layer[i] - 1, layer[i] - 1 - reach, -1)
            copy = next((copies[parent, n] for n in near if (parent, n) in copies), len(out))
            if copy == len(out):
                copies[parent, layer[i] - 1] = copy
                layer.append(layer[i] - 1)
                out.append(_copy(boxes[parent], parent))
            box.parents[at] = copy
    return out, layer


def _copy(source: Box, number: int) -> Box:
    if source.kind == "leaf":
        tip = f"{source.tooltip}\n(the same leaf as further up)"
        return Box(source.title, source.details, "leaf", tip)
    source.tag = f"%{number}"
    tip = f"the result of %{number}, further up:\n{source.tooltip}"
    return Box(f"%{number} {source.title}", [], "reference", tip)
