"""`apply`: the one door through which every operation passes.

It picks the namespace from the operands' types, brings their dtypes together, runs the forward
and, where a gradient is wanted, appends a node. Its cost per call is what `bench/eager.py`
tracks: a line here that is spelled out for speed says what it saves, and `apply` is one long
function because each call split off it would cost every operation 60 ns.
"""

from typing import Any

from atled.backends.protocol import (
    NAMESPACES,
    Backend,
    current,
    default_dtype,
    namespace_of,
)
from atled.config import modes
from atled.core.op import REGISTRY, SCALARS, Absent, Op, Spec
from atled.core.tape import Leaf, Node
from atled.core.tensor import Stop, Tensor, plain, raw, wrap
from atled.dtypes import as_dtype, bool_, int64, promote
from atled.errors import (
    LEAKED,
    BackendError,
    DTypeError,
    IndexingError,
    ShapeError,
    TraceError,
    calling_instruction,
    located,
)

__all__ = ["apply", "as_tensor", "port_of", "replace", "spec_of"]

_new = object.__new__


def apply(op: Op, *operands: Any, **static: Any) -> Any:
    """Run an operation on Tensors and record it where a gradient is wanted.

    Args:
        op: its record.
        operands: Tensors, Python scalars, or arrays of a backend.
        static: its static parameters, hashable.

    Returns:
        A Tensor, or a tuple of them for an operation with several results.

    Raises:
        ShapeError: shapes do not fit; both are named, with the user's line.
        BackendError: operands of two backends met.
    """
    if modes.tracing is not None:
        operands = modes.tracing.entered(operands)
    values: list[Any] = []
    nodes: list[Node] = []
    xp: Any = None
    stop = None
    needs, bit, scalars = 0, 1, False
    for x in operands:
        if isinstance(x, Tensor):
            value = x._value
            values.append(value)
            node = x._node
            if node is not None:
                needs |= bit
                nodes.append(node)
            elif x._stop is not None:
                stop = x._stop if stop is None else stop.joined(x._stop)
            space = NAMESPACES[type(value)]
            if space is not xp:
                xp = space if xp is None else _higher(op, xp, space)
        elif type(x) in SCALARS:
            values.append(x)
            scalars = True
        else:
            return apply(op, *_as_operands(operands), **static)
        bit += bit
    if xp is None:
        return apply(op, *[as_tensor(x) for x in operands], **static)
    if scalars and not op.weak:
        return apply(op, *_without_scalars(operands), **static)
    # A Tensor that requires a gradient is floating: alone, or beside a scalar, it fits (200 ns).
    alone = needs and len(values) == (2 if scalars else 1)
    if needs and not alone and xp.level > 1 and (inside := xp.spread(operands)) is not None:
        return apply(op, *inside, **static)
    if not alone and op.operands != "any" and not _dtypes_fit(op.operands, values, scalars, xp):
        return apply(op, *_cast(op, operands, xp), **static)
    try:
        y = getattr(xp, op.name)(*values, **static)
    except Exception as error:
        raise _explain(op, values, static, xp, error) from error
    derivative = op.derivative_for(needs) if needs and modes.enabled else None
    if op.outputs > 1:
        return _several(op, derivative, operands, values, static, xp, y, stop)
    t = _new(Tensor)
    t._value = y
    if derivative is None:
        t._node = None
        if stop is not None or needs:
            t._stop = _stop(op, nodes, stop) if needs else stop
        return t
    if len(nodes) > len(derivative.positions):  # the operation is constant in some of them
        nodes = [operands[i]._node for i in derivative.positions]
    for node in nodes:
        if node.saved is not None:
            break
    else:  # all freed: so is what is computed from them, and it holds nothing
        t._node = Node(derivative, (), None, static, xp, y.shape, y.dtype, None)
        return t
    shape = y.shape
    shapes = None  # needed where operands broadcast; a Python scalar beside an array does not
    if op.broadcasts and not (scalars and len(values) == 2):
        shapes = _shapes(values, shape)
    values.append(y)
    saved = derivative.capture(xp, values)
    t._node = node = Node(derivative, tuple(nodes), saved, static, xp, shape, y.dtype, shapes)
    if op.keeps_line:
        node.line = calling_instruction()
    if stop is not None:
        node.stop = stop
    return t


def _shapes(values: list[Any], shape: Any) -> list[tuple[int, ...]] | None:
    """Return the operands' shapes if any of them is not the result's."""
    for value in values:
        if type(value) not in SCALARS and value.shape != shape:
            return [() if type(v) in SCALARS else tuple(v.shape) for v in values]
    return None


def _several(
    op: Op,
    derivative: Any,
    operands: Any,
    values: list[Any],
    static: Any,
    xp: Any,
    ys: Any,
    stop: Any,
) -> tuple[Tensor, ...]:
    """Return several results as Tensors, each with a port of one node if it is recorded."""
    if derivative is None:
        nodes = [x._node for x in operands if isinstance(x, Tensor) and x._node is not None]
        stop = _stop(op, nodes, stop) if nodes else stop
        return tuple([_constant(y, stop) for y in ys])
    parents = tuple([operands[i]._node for i in derivative.positions])
    saved = derivative.capture(xp, [*values, ys])
    hub = Node(derivative, parents, saved, static, xp, None, None, None)
    hub.stop = stop
    if op.keeps_line:
        hub.line = calling_instruction()
    return tuple([wrap(y, port_of(hub, i, y, xp)) for i, y in enumerate(ys)])


def port_of(hub: Node, position: int, y: Any, xp: Any) -> Node | None:
    """Return the node of one result of a node with several; None if it carries no gradient."""
    if not xp.dtype_of(y).is_floating_point:
        return None
    port = Node(hub.derivative, (hub,), (), {}, xp, y.shape, y.dtype, None)
    port.port, port.marked = position, True
    return port


def _constant(value: Any, stop: Any) -> Tensor:
    t = wrap(value)
    if stop is not None:
        t._stop = stop
    return t


def _stop(op: Op, nodes: list[Node], behind: Stop | None) -> Stop:
    """Return the mark of an operation that no gradient passes."""
    return Stop(_reason(op), nodes, behind)


def _reason(op: Op) -> str:
    if not modes.enabled:
        return f"{op.name} ran under no_grad"
    if isinstance(op.derivative, Absent):
        return f"{op.name} has no derivative: {op.derivative.reason}"
    return f"{op.name} is constant in the operand that requires a gradient"


def _higher(op: Op, a: Backend, b: Backend) -> Backend:
    """Return the namespace of the higher stand-in, or refuse to mix two libraries."""
    if a.level != b.level:
        high, low = (a, b) if a.level > b.level else (b, a)
        if "traced" in (a.name, b.name) and getattr(high, "base", None) is not low:
            raise TraceError(LEAKED)  # in a trace, everything has become a symbol
        return high
    raise BackendError(
        f"{op.name}: operands of two backends met, {a.name} and {b.name}; convert one with "
        f"at.asarray(x, backend={a.name!r}) or x.to({b.name!r})"
    )


def _dtypes_fit(mode: str, values: list[Any], scalars: bool, xp: Any) -> bool:
    """Say whether operands can be computed as they are (see `Op.operands`)."""
    if scalars:
        mode = "float" if float in map(type, values) else mode
        values = [v for v in values if type(v) not in SCALARS]
    first = values[0].dtype
    if mode == "float" and first not in xp.floats:
        return False
    for value in values[1:]:
        dtype = value.dtype
        if dtype is not first and dtype != first:
            return False
    return True


def _cast(op: Op, operands: Any, xp: Any) -> list[Any]:
    """Return the operands cast, and recorded as cast, to the dtype they promote to."""
    tensors = [x for x in operands if isinstance(x, Tensor)]
    dtype = promote([t.dtype for t in tensors])
    wants_float = op.operands == "float" or any(type(x) is float for x in operands)
    if wants_float and not dtype.is_floating_point:
        dtype = default_dtype(xp)
    cast = REGISTRY["astype"]
    return [
        apply(cast, x, dtype=dtype) if isinstance(x, Tensor) and x.dtype is not dtype else x
        for x in operands
    ]


def _as_operands(operands: Any) -> list[Any]:
    """Turn foreign arrays and nested lists among the operands into constant Tensors.

    A numpy.float64 is a Python float, and as weak as one. Lists take the floating dtype of the
    Tensors beside them.
    """
    known = [x for x in operands if isinstance(x, Tensor)]
    backend = known[0].backend if known else None
    dtype = promote([t.dtype for t in known]) if known else None
    dtype = dtype if dtype is not None and dtype.is_floating_point else None
    out: list[Any] = []
    for x in operands:
        if isinstance(x, Tensor) or type(x) in SCALARS:
            out.append(x)
        elif isinstance(x, float):
            out.append(float(x))
        elif (space := namespace_of(x)) is not None and (space.name != "numpy" or not known):
            out.append(wrap(space.asarray(x)))
        elif space is not None:  # NumPy's arrays are constants in the Tensors' own backend
            out.append(wrap((backend or space).asarray(x, device=known[0].device)))
        else:
            out.append(wrap((backend or current()).asarray(plain(x), dtype=dtype)))
    return out


def _without_scalars(operands: Any) -> list[Any]:
    """Make Tensors of the Python scalars among the operands, in the dtype of their neighbours."""
    tensors = [x for x in operands if isinstance(x, Tensor)]
    dtype = promote([t.dtype for t in tensors])
    first = tensors[-1]
    backend = first.backend
    if any(type(x) is float for x in operands) and not dtype.is_floating_point:
        dtype = default_dtype(backend)
    return [
        x if isinstance(x, Tensor) else wrap(backend.full((), x, dtype=dtype, device=first.device))
        for x in operands
    ]


def spec_of(value: Any, xp: Any) -> Spec:
    """Return the shape and dtype of a raw array or a Python scalar."""
    if type(value) in SCALARS:
        dtype = bool_ if type(value) is bool else int64 if type(value) is int else xp.default_float
        return Spec((), dtype)
    return Spec(tuple(value.shape), xp.dtype_of(value))


def _explain(op: Op, values: list[Any], static: Any, xp: Any, error: Exception) -> Exception:
    """Turn a library's error into one that names shapes, operation and the user's line."""
    specs = [spec_of(v, xp) for v in values]
    try:
        op.infer(*specs, **static)
    except (ShapeError, DTypeError, IndexingError) as clear:
        return type(clear)(located(str(clear)))
    described = ", ".join(f"{s.dtype.name}{list(s.shape)}" for s in specs)
    error.add_note(located(f"in atled.{op.name} of {described}"))
    return error


def as_tensor(
    data: Any, *, dtype: Any = None, device: str | None = None, copy: bool | None = None
) -> Tensor:
    """Return `data` as a Tensor: itself if it is one already and nothing else was asked for.

    Args:
        data: a Tensor, nested lists of numbers or Tensors, a number, or any library's array.
        dtype: the dtype to have; by default what `data` suggests, see `atled.tensor`.
        device: where it shall lie.
        copy: True for a new Tensor in any case.

    Raises:
        DTypeError, ShapeError, BackendError: see `atled.tensor`.
    """
    if isinstance(data, Tensor):
        wanted = None if dtype is None else as_dtype(dtype, default_dtype(data.backend))
        t = data
        if wanted is not None and wanted is not t.dtype:
            t = apply(REGISTRY["astype"], t, dtype=wanted)
        if device is not None and t.device != device:
            t = apply(REGISTRY["to_device"], t, device=device)
        return t.detach() if copy else t
    return wrap(raw(data, dtype, device))


def replace(x: Tensor, new: Tensor) -> Tensor:
    """Give this name a new value, unrecorded if it is a leaf that requires a gradient.

    Raises:
        ShapeError, DTypeError: the new value does not fit.
        GradError: this is such a leaf and the new value's gradient would be lost.
    """
    if modes.tracing is not None:
        modes.tracing.entered((x, new))
    if tuple(new.shape) != x.shape:
        raise ShapeError(
            f"in-place update: the Tensor has shape {x.shape}, the new value {new.shape}"
        )
    if new.dtype is not x.dtype:
        if new.dtype.is_floating_point and x.dtype.is_floating_point:
            return replace(x, apply(REGISTRY["astype"], new, dtype=x.dtype))
        raise DTypeError(
            f"in-place update: the Tensor is {x.dtype.name}, the new value "
            f"{new.dtype.name}; convert it with .astype(...)"
        )
    xp = new.backend
    if xp.level > 1:
        xp.replaces(x, new._value)
    x._value = new._value
    if x._owner is not None:  # x is what `.data` returned
        x._owner._value = new._value
    elif not isinstance(x._node, Leaf):
        x._node = new._node if modes.enabled else None
    return x
