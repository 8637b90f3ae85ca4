"""The tape as text: one line for each recorded operation, oldest first."""

import gc
import sys
from collections.abc import Iterator
from typing import IO, Any

from atled.core.op import Derivative
from atled.core.tape import Leaf, Node, ancestors
from atled.core.tensor import Tensor
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
from atled.inspect.rules import rule_texts

__all__ = ["print_tape"]

HEADER = ("", "operation", "operands → result", "dtype", "saved", "rule")


def print_tape(*outputs: Tensor, file: IO[str] | None = None) -> None:
    """Print the tape behind the outputs, one line for each operation, oldest first.

    A line shows the operation's number, name and static parameters, its operands (``%3`` is
    the result of line 3, ``·`` a constant) with their shapes, the result's shape and dtype,
    what it saved for the backward pass and its derivative rule as written in its record.

    Args:
        outputs: results; without any, the newest result that is alive.
        file: where to print to; by default, where `print` does.

    Example:
        >>> import atled as at
        >>> x = at.tensor([1.0, 2.0], requires_grad=True)
        >>> y = (x.sin() * x).sum()
        >>> print_tape(y)
            operation  operands → result    dtype    saved     rule
        %0  leaf       (2,)                 float32            no grad
        %1  sin        %0 (2,) → (2,)       float32  x: (2,) ...
    """
    file = sys.stdout if file is None else file
    roots = [t._node for t in outputs if t._node is not None] if outputs else _newest()
    nodes = ancestors(roots)
    if not nodes:
        why = "the outputs do not require gradients" if outputs else "nothing is recorded"
        print(f"the tape is empty: {why}", file=file)
        return
    numbers = {node: i for i, node in enumerate(nodes)}
    rows = [HEADER, *(_row(node, numbers) for node in nodes)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADER) - 1)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        print("  ".join([cells[0].strip().rjust(widths[0]), *cells[1:], row[-1]]).rstrip(),
              file=file)  # fmt: skip
    freed = sum(map(is_freed, nodes))
    end = f", {freed} of them freed" if freed else ""
    total = size_text(saved_bytes(nodes))
    print(f"{len(nodes)} node{'s' * (len(nodes) != 1)}{end}; {total} saved", file=file)


def _newest() -> list[Node]:
    """Return the live result with the greatest number, as a list; the garbage collector
    knows all of them, so that nothing has to be kept while computing."""
    # By exact type: isinstance asks foreign objects for their __class__, and some of them warn.
    alive = [x for x in gc.get_objects() if type(x) is Node]
    return [max(alive, key=lambda node: node.number)] if alive else []


def _row(node: Node, numbers: dict[Node, int]) -> tuple[str, ...]:
    number, dtype = f"%{numbers[node]}", dtype_name(node)
    if node.derivative is None:
        return number, "leaf", _shape(node), dtype, "", _grad_text(node)
    name = " ".join(filter(None, [operation(node), static_text(node)]))
    operands = "(freed)" if is_freed(node) else ", ".join(_operands(node, numbers))
    shapes = f"{short(operands, 60)} → {_shape(node)}"
    if node.port is not None:
        return number, name, shapes, dtype, "", ""
    saved = "(freed)" if is_freed(node) else "; ".join(s.text for s in saved_of(node))
    rule = ";  ".join(dict.fromkeys(rule_texts(node.derivative)))
    return number, name, shapes, dtype, short(saved, 72), short(rule, 200)


def _shape(node: Node) -> str:
    return "several" if node.shape is None else str(tuple(node.shape))


def _grad_text(node: Node) -> str:
    tensor = node.variable if isinstance(node, Leaf) else None
    if tensor is None:
        return "its Tensor is gone"
    return "no grad" if tensor.grad is None else f"grad {tensor.grad.shape}"


def _operands(node: Node, numbers: dict[Node, int]) -> Iterator[str]:
    """Describe each operand: a line's result with its shape, or what is known of a constant."""
    derivative = node.derivative
    if node.port is not None:
        yield f"%{numbers[node.parents[0]]}"
        return
    parents = dict(zip(derivative.positions, node.parents, strict=True))
    count = max(parents, default=-1) + 1
    inputs: tuple[str, ...] = ()
    if isinstance(derivative, Derivative):
        inputs = derivative.op.inputs
        count = max(count, len(inputs))
    for i in range(count):
        if i in parents:
            yield f"%{numbers[parents[i]]} {_shape(parents[i])}"
        else:
            yield _constant(node, i, inputs[i] if i < len(inputs) else "")


def _constant(node: Node, position: int, name: str) -> str:
    """Describe an operand that needs no gradient by what the node happens to keep of it."""
    kept: dict[str, Any] = {}
    if isinstance(node.derivative, Derivative):
        kept = dict(zip(node.derivative.names, node.saved or (), strict=False))
    value = kept.get(name)
    if isinstance(value, (bool, int, float)):
        return f"{value:.6g}"
    if node.shapes is not None and position < len(node.shapes):
        return f"· {node.shapes[position]}"
    shape = getattr(value, "shape", kept.get(f"{name}_shape"))
    return "·" if shape is None else f"· {tuple(shape)}"
