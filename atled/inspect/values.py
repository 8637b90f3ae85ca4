"""The values on a tape: what nodes happen to keep of them, and what can be computed anew."""

import math
from typing import Any

from atled.backends.protocol import namespace_of
from atled.core.op import SCALARS, SUFFIXES, Derivative
from atled.core.surface import FUNCTIONS
from atled.core.tape import Leaf, Node
from atled.core.tensor import wrap

__all__ = ["Values", "finite", "summary"]


class Values:
    """The values of some nodes, oldest first.

    Attributes:
        known: the raw value of each node that can be told; a tuple for several results.
    """

    def __init__(self, nodes: list[Node]) -> None:
        self.known: dict[Node, Any] = {}
        self._finite: dict[Node, bool] = {}
        for node in nodes:
            self._read(node)
        for node in nodes:
            if node not in self.known:
                value = self._again(node)
                if value is not None:
                    self.known[node] = value

    def finite(self, node: Node) -> bool | None:
        """Say whether a node's value is finite; None where it is not known."""
        if node not in self._finite:
            value = self.known.get(node)
            if value is None or isinstance(value, tuple):
                return None
            self._finite[node] = finite(value)
        return self._finite[node]

    def operands(self, node: Node) -> dict[str, Any]:
        """Return what is known of the operands of a node, by name."""
        derivative = node.derivative
        out: dict[str, Any] = {}
        if not isinstance(derivative, Derivative):
            return {
                f"operand {i}": self.known[p]
                for i, p in zip(derivative.positions, node.parents, strict=True)
                if p in self.known and not isinstance(self.known[p], tuple)
            }
        op = derivative.op
        for name, value in zip(derivative.names, node.saved, strict=True):
            if name == "y" or name.endswith(SUFFIXES):
                continue
            if op.is_rest(name):
                out |= {f"{name}[{i}]": v for i, v in enumerate(value)}
            elif hasattr(value, "shape") or type(value) in SCALARS:
                out[name] = value
        for position, parent in zip(derivative.positions, node.parents, strict=True):
            value = self.known.get(parent)
            if value is not None and not isinstance(value, tuple):
                out.setdefault(_name(op, position), value)
        return dict(sorted(out.items()))

    def sees_all(self, node: Node) -> bool:
        """Say whether the values of all operands of a node are known."""
        derivative = node.derivative
        if not isinstance(derivative, Derivative):
            return False
        inputs, known = derivative.op.inputs, self.operands(node)
        return not inputs[-1].startswith("*") and all(name in known for name in inputs)

    def _read(self, node: Node) -> None:
        """Take in what a node keeps: of its own result, and of the results before it."""
        if isinstance(node, Leaf):
            tensor = node.variable
            if tensor is not None:
                self.known[node] = tensor._value
        derivative = node.derivative
        if not isinstance(derivative, Derivative) or node.port is not None:
            return
        parents = dict(zip(derivative.positions, node.parents, strict=True))
        for name, value in zip(derivative.names, node.saved, strict=True):
            if name == "y":
                self.known[node] = value
            elif not name.endswith(SUFFIXES):
                at = derivative.op.position(name)
                several = value if derivative.op.is_rest(name) else (value,)
                for i, v in enumerate(several):
                    if at + i in parents:
                        self.known.setdefault(parents[at + i], v)

    def _again(self, node: Node) -> Any:
        """Compute a result anew where all operands are known; None otherwise."""
        if node.port is not None:
            several = self.known.get(node.parents[0])
            return several[node.port] if isinstance(several, tuple) else None
        if not isinstance(node.derivative, Derivative):
            return None
        op, operands = node.derivative.op, self.operands(node)
        names = list(op.inputs)
        if names[-1].startswith("*"):
            last = len(names) - 1
            many = [_name(op, last + i) for i in range(len(operands))]
            names[-1:] = [name for name in many if name in operands] or ["not kept"]
        if any(name not in operands for name in names):
            return None
        y = getattr(node.xp, op.name)(*[operands[name] for name in names], **node.static)
        same = node.shape is None or tuple(y.shape) == tuple(node.shape)
        return y if same else None  # of several operands, constants may be missing


def _name(op: Any, position: int) -> str:
    """Return the name of the operand at a position, as ``arrays[1]`` where there are many."""
    last = len(op.inputs) - 1
    if position >= last and op.inputs[-1].startswith("*"):
        return f"{op.inputs[-1][1:]}[{position - last}]"
    return str(op.inputs[position])


def _whole(value: Any) -> Any:
    """Return a value of all examples, where a `vmap` kept it."""
    space = namespace_of(value)
    return value if space is None else space.whole(value)


def finite(value: Any) -> bool:
    """Say whether all elements of a raw array, or a number, are finite."""
    if type(value) in SCALARS:
        return math.isfinite(value)
    t = wrap(_whole(value))
    return not t.dtype.is_floating_point or bool(FUNCTIONS["isfinite"](t).all())


def summary(value: Any, index: tuple[int, ...] | None = None) -> tuple[str, Any]:
    """Describe a raw value in a line, and return the index of its first infinity or NaN.

    Args:
        index: where to show an element of a finite value (or of one broadcast to that index).
    """
    if type(value) in SCALARS:
        return f"the number {value:.6g}", None
    t = wrap(_whole(value)).detach()
    shape, dtype = tuple(t.shape), t.dtype
    text = f"{shape} {dtype.name}"
    if not dtype.is_floating_point or t.size == 0:
        return text, None
    good = FUNCTIONS["isfinite"](t)
    counts = {
        "nan": FUNCTIONS["isnan"](t), "inf": t == math.inf, "-inf": t == -math.inf,
    }  # fmt: skip
    found = {name: int(mask.sum()) for name, mask in counts.items()}
    parts = [f"{n} {name}" for name, n in found.items() if n]
    first = None
    if parts:
        flat = FUNCTIONS["astype"](FUNCTIONS["logical_not"](good), "int64").reshape(-1)
        first = _unravelled(int(flat.argmax()), shape)
    if sum(found.values()) < t.size:
        where = FUNCTIONS["where"]
        low, high = where(good, t, math.inf).min(), where(good, t, -math.inf).max()
        parts.append(f"finite in [{float(low):.6g}, {float(high):.6g}]")
    text = ", ".join([text, *parts])
    at = first if index is None else _broadcast(index, shape)
    if at is not None:
        word = "first at" if index is None else "at"
        text += f"; {word} {at}: {float(t[at]):.6g}"
    return text, first


def _unravelled(place: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    index = []
    for n in reversed(shape):
        place, i = divmod(place, n)
        index.append(i)
    return tuple(reversed(index))


def _broadcast(index: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return the place in an operand of `shape` that met a result's place; None if not told."""
    if len(index) < len(shape):
        return None
    index = index[len(index) - len(shape) :]
    at = tuple([0 if n == 1 else i for i, n in zip(index, shape, strict=True)])
    return at if all(i < n for i, n in zip(at, shape, strict=True)) else None
