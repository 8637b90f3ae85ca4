"""What can be read off a node of the tape: dtype, static parameters, saved values, bytes."""

from typing import Any, NamedTuple

from atled.backends.protocol import namespace_of
from atled.core.op import SUFFIXES, Derivative
from atled.core.tape import Node
from atled.dtypes import as_dtype, float32
from atled.errors import AtledError

__all__ = [
    "Saved", "dtype_name", "is_freed", "operation", "saved_bytes", "saved_of", "short",
    "size_text", "static_text",
]  # fmt: skip


class Saved(NamedTuple):
    """One thing that a node keeps for its derivative; a plain value has no array."""

    name: str
    text: str
    array: Any
    bytes: int


def short(text: str, limit: int = 48) -> str:
    """Return `text`, with its end replaced by … if it is longer than `limit`."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def is_freed(node: Node) -> bool:
    """Say whether a backward pass has freed what the node kept."""
    return node.saved is None


def operation(node: Node) -> str:
    """Return the name of a node's operation, as in its record; "leaf" for a leaf."""
    if node.derivative is None:
        return "leaf"
    if node.port is not None:
        return f"output {node.port}"
    op = node.derivative.op
    return op.name if isinstance(node.derivative, Derivative) else op.__name__


def dtype_name(node: Node) -> str:
    """Return atled's name for the dtype of a node's result; empty for several results."""
    if node.dtype is None:
        return ""
    try:
        return as_dtype(node.dtype, float32).name
    except AtledError:
        return str(node.dtype)


def static_text(node: Node) -> str:
    """Return the static parameters of a call that say something: ``axis=0``."""
    known = {k: v for k, v in node.static.items() if v is not None and v is not False}
    return short(", ".join(f"{k}={getattr(v, 'name', v)}" for k, v in known.items()), 40)


def size_text(count: int) -> str:
    """Return a number of bytes as people read it: ``24 B``, ``1.5 kB``."""
    size, units = float(count), ["kB", "MB", "GB", "TB"]
    if size < 1000:
        return f"{count} B"
    while size >= 999.5 and units:
        size /= 1000
        unit = units.pop(0)
    return f"{size:.3g} {unit}"


def saved_of(node: Node) -> list[Saved]:
    """Return what a node keeps for its derivative, under the names that its rules read."""
    if node.saved is None or node.derivative is None:
        return []
    if isinstance(node.derivative, Derivative):
        pairs = list(zip(node.derivative.names, node.saved, strict=False))
    else:  # a custom Function keeps Tensors in its context
        kept = getattr(node.saved, "saved_tensors", ())
        pairs = [(f"saved[{i}]", getattr(t, "array", t)) for i, t in enumerate(kept)]
    out = []
    for name, value in pairs:
        many = isinstance(value, tuple) and not name.endswith(SUFFIXES)
        if many and all(hasattr(v, "shape") for v in value):
            out += [_saved(f"{name}[{i}]", v) for i, v in enumerate(value)]
        else:
            out.append(_saved(name, value))
    return out


def _saved(name: str, value: Any) -> Saved:
    if not hasattr(value, "shape"):
        text = str(getattr(value, "name", _plain(value)))
        return Saved(name, f"{name} = {short(text, 24)}", None, 0)
    space = namespace_of(value)
    shape = tuple(value.shape)
    if space is None:
        return Saved(name, f"{name} {shape}", value, 0)
    dtype = space.dtype_of(value)
    count = dtype.itemsize
    for n in shape:
        count *= n
    return Saved(name, f"{name}: {shape} {dtype.name}, {size_text(count)}", value, count)


def _plain(value: Any) -> Any:
    """Return a library's own kind of tuple (torch.Size) as Python's, also inside tuples."""
    return tuple(map(_plain, value)) if isinstance(value, tuple) else value


def saved_bytes(nodes: list[Node]) -> int:
    """Return how many bytes of arrays the nodes keep; an array kept twice counts once."""
    arrays = {id(s.array): s.bytes for node in nodes for s in saved_of(node)
              if s.array is not None}  # fmt: skip
    return sum(arrays.values())
