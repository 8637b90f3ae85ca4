"""The Tensor, and `apply`: the one door through which every operation passes.

A Tensor is a value: an array of some backend that nobody writes into, and the tape node that
made it. `x += y`, `x[i] = v` and `x.zero_()` give the *name* a new value and a new node; what
the tape saved of the old one is never touched.

The methods and operators that compute are put on the class by `core/surface.py`, from the
registry of records.
"""

from typing import Any
from weakref import ref

from atled.backends.protocol import (
    NAMESPACES,
    Backend,
    current,
    default_dtype,
    load,
    namespace_of,
)
from atled.config import grad_mode, settings
from atled.core.display import render
from atled.core.op import REGISTRY, Absent, Op, Spec
from atled.core.tape import Leaf, Node
from atled.dtypes import DType, as_dtype, bool_, int64, promote
from atled.errors import (
    BackendError,
    DTypeError,
    GradError,
    IndexingError,
    ShapeError,
    located,
    user_location,
)

__all__ = ["Stop", "Tensor", "apply", "as_tensor", "lift", "port_of", "spec_of", "wrap"]

SCALARS = (float, int, bool)


class Tensor:
    """An n-dimensional array that remembers how it was computed.

    Make one with `atled.tensor`, `zeros`, `rand`…; see there for dtypes and devices.

    Attributes:
        array: the backend's own array (a numpy.ndarray, a torch.Tensor…). Do not write into it.
        grad: the gradient that `backward()` collected, a Tensor of the same shape, or None.
        requires_grad: whether operations on it are recorded.
        grad_fn: the tape node that made it; None for a Tensor made by the user (a *leaf*).
    """

    # Two slots and the class's defaults: making one takes two assignments (120 ns).
    __slots__ = ("__dict__", "__weakref__", "_node", "_value")
    __array_priority__ = 1000  # NumPy's operators step back

    _value: Any
    _node: Node | None
    _stop: "Stop | None" = None  # where a gradient's path to this constant ended
    grad: "Tensor | None" = None

    def __init__(self, data: Any, *, dtype: Any = None, device: str | None = None,
                 requires_grad: bool = False) -> None:  # fmt: skip
        made = as_tensor(data, copy=True, dtype=dtype, device=device)
        self._value, self._node = made._value, None
        if requires_grad:
            self.requires_grad_()

    # -- what it is ------------------------------------------------------------------------

    @property
    def array(self) -> Any:
        """The backend's own array. It may be shared: do not write into it."""
        return self.backend.present(self._value)

    @property
    def backend(self) -> Backend:
        """The namespace that this Tensor's array belongs to."""
        return NAMESPACES[type(self._value)]

    @property
    def shape(self) -> tuple[int, ...]:
        """The size along each axis."""
        return tuple(self._value.shape)

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self._value.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        n = 1
        for length in self._value.shape:
            n *= length
        return n

    @property
    def dtype(self) -> DType:
        """The dtype, by atled's name."""
        return self.backend.dtype_of(self._value)

    @property
    def device(self) -> str:
        """Where the array lies: "cpu", "cuda:0", "mps:0"."""
        return self.backend.device_of(self._value)

    @property
    def data(self) -> "Tensor":
        """The same value, detached. Assigning to it replaces the value, unrecorded."""
        return wrap(self._value)

    @data.setter
    def data(self, new: Any) -> None:
        self.replace(as_tensor(new))

    # -- gradients -------------------------------------------------------------------------

    @property
    def requires_grad(self) -> bool:
        """Whether operations on this Tensor are recorded for a derivative."""
        return self._node is not None

    @requires_grad.setter
    def requires_grad(self, on: bool) -> None:
        self.requires_grad_(on)

    def requires_grad_(self, on: bool = True) -> "Tensor":
        """Ask for a gradient with respect to this Tensor (or, with False, stop asking).

        Raises:
            GradError: its dtype is not a floating one, or it is a result, not a leaf.
        """
        if not on:
            if not self.is_leaf:
                raise GradError("requires_grad cannot be cleared on a result; use .detach()")
            self._node = None
        elif self._node is None:
            if not self.dtype.is_floating_point:
                raise GradError(
                    f"only floating Tensors can require a gradient; this one is {self.dtype.name}: "
                    "make it with dtype=float32 or use .astype(float32)"
                )
            self._node = Leaf(self, self._value.shape, self._value.dtype)
        return self

    @property
    def grad_fn(self) -> Node | None:
        """The node that made this Tensor; None for a leaf."""
        node = self._node
        return None if node is None or node.derivative is None else node

    @property
    def is_leaf(self) -> bool:
        """True unless the Tensor was computed from one that requires a gradient."""
        return self._node is None or self._node.derivative is None

    def detach(self) -> "Tensor":
        """Return the same value as a constant: no gradient flows through it."""
        constant = wrap(self._value)
        stop = self._stop if self._node is None else Stop("detach()", [self._node])
        if stop is not None:
            constant._stop = stop
        return constant

    def replace(self, new: "Tensor") -> "Tensor":
        """Give this name a new value, unrecorded if it is a leaf that requires a gradient.

        Raises:
            ShapeError, DTypeError: the new value does not fit.
            GradError: this is such a leaf and the new value's gradient would be lost.
        """
        if tuple(new.shape) != self.shape:
            raise ShapeError(located(
                f"in-place update: the Tensor has shape {self.shape}, the new value {new.shape}"
            ))  # fmt: skip
        if new.dtype is not self.dtype:
            if new.dtype.is_floating_point and self.dtype.is_floating_point:
                return self.replace(apply(REGISTRY["astype"], new, dtype=self.dtype))
            raise DTypeError(located(
                f"in-place update: the Tensor is {self.dtype.name}, the new value "
                f"{new.dtype.name}; convert it with .astype(...)"
            ))  # fmt: skip
        self._value = new._value
        if not isinstance(self._node, Leaf):
            self._node = new._node
        return self

    # -- Python's protocols ------------------------------------------------------------------

    def item(self) -> Any:
        """Return the only element as a Python number.

        Raises:
            ShapeError: there is not exactly one element.
        """
        if self.size != 1:
            raise ShapeError(f"item() needs exactly one element; the shape is {self.shape}")
        value = self.backend.tolist(self._value)
        while isinstance(value, list):
            value = value[0]
        return value

    def tolist(self) -> Any:
        """Return nested lists of Python numbers (a number for a 0-d Tensor)."""
        return self.backend.tolist(self._value)

    def numpy(self) -> Any:
        """Return a numpy.ndarray with the values, as a copy that may be written into."""
        return self.backend.to_numpy(self._value).copy()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        """Return the values to NumPy: read-only without a copy, or a copy if asked for."""
        array = self.backend.to_numpy(self._value)
        if copy or (dtype is not None and array.dtype != dtype):
            return array.astype(dtype or array.dtype)
        view = array.view()
        view.flags.writeable = False
        return view

    def __dlpack__(self, **options: Any) -> Any:
        """Hand the array to another library (see DLPack)."""
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __complex__(self) -> complex:
        return complex(self.item())

    def __index__(self) -> int:
        if self.dtype.kind not in ("int", "uint"):
            raise TypeError(f"only an integer Tensor can be an index; found {self.dtype.name}")
        return int(self.item())

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ShapeError(
                f"the truth of a Tensor of shape {self.shape} is ambiguous; use .any() or .all()"
            )
        return bool(self.item())

    def __len__(self) -> int:
        if not self._value.shape:
            raise TypeError("len() of a 0-d Tensor")
        return int(self._value.shape[0])

    __hash__ = object.__hash__

    def __copy__(self) -> "Tensor":
        return self._duplicate(self._value)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Tensor":
        if not self.is_leaf:
            raise GradError("only leaves can be deep-copied; use .detach() or .clone()")
        twin = self._duplicate(self._value)
        if self.grad is not None:
            twin.grad = wrap(self.grad._value)
        return twin

    def _duplicate(self, value: Any) -> "Tensor":
        twin = object.__new__(type(self))
        twin._value, twin._node = value, None
        return twin.requires_grad_() if self.requires_grad else twin

    def __reduce__(self) -> tuple[Any, ...]:
        if not self.is_leaf:
            raise GradError("only leaves can be pickled; use .detach()")
        state = (self.backend.name, self.dtype, self.shape, self.backend.tolist(self._value))
        return _rebuild, (type(self), self.requires_grad, *state)

    def __repr__(self) -> str:
        return render(self.backend.tolist, self._value, self._suffix())

    def _suffix(self) -> list[str]:
        parts = []
        if self.dtype not in (default_dtype(self.backend), int64, bool_):
            parts.append(f"dtype={self.dtype.name}")
        if self.device != "cpu":
            parts.append(f"device={self.device!r}")
        if self.grad_fn is not None:
            parts.append(f"grad_fn=<{self.grad_fn.name}>")
        elif self.requires_grad:
            parts.append("requires_grad=True")
        return parts


class Stop:
    """Where a path of gradients ended: why, where in the user's code, and at which nodes.

    It keeps no graph alive: the nodes are weak references.
    """

    __slots__ = ("nodes", "place", "reason")

    def __init__(self, reason: str, nodes: list[Node]) -> None:
        self.reason, self.place = reason, user_location()
        self.nodes = [ref(node) for node in nodes]


_new = object.__new__


def wrap(value: Any, node: Node | None = None) -> Tensor:
    """Return a Tensor around a raw array that nobody will write into."""
    t = _new(Tensor)
    t._value, t._node = value, node
    return t


def lift(value: Any, node: Node | None) -> Any:
    """Return a saved value as a Tensor; Python scalars stay what they are."""
    return value if type(value) in SCALARS else wrap(value, node)


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
    values: list[Any] = []
    xp: Any = None
    stop = None
    needs, bit, scalars = 0, 1, False
    for x in operands:
        if isinstance(x, Tensor):
            value = x._value
            values.append(value)
            if x._node is not None:
                needs |= bit
            elif x._stop is not None:
                stop = x._stop
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
    if op.operands != "any" and not _dtypes_fit(op.operands, values, scalars, xp):
        return apply(op, *_cast(op, operands, xp), **static)
    try:
        y = getattr(xp, op.name)(*values, **static)
    except Exception as error:
        raise _explain(op, values, static, xp, error) from error
    derivative = op.derivative_for(needs) if needs and grad_mode.enabled else None
    if op.outputs > 1:
        return _several(op, derivative, operands, values, static, xp, y, stop)
    t = _new(Tensor)
    t._value = y
    if derivative is None:
        t._node = None
        if stop is not None or needs:
            t._stop = _stop(op, operands) if needs else stop
        return t
    shapes = _shapes(values, y.shape) if op.broadcasts else None
    values.append(y)
    t._node = node = Node(
        derivative,
        tuple([operands[i]._node for i in derivative.positions]),
        derivative.capture(xp, values),
        static, xp, y.shape, y.dtype, shapes,
    )  # fmt: skip
    if stop is not None:
        node.stop = stop
    return t


def _shapes(values: list[Any], shape: Any) -> list[tuple[int, ...]] | None:
    """Return the operands' shapes if any of them is not the result's."""
    for value in values:
        if type(value) not in SCALARS and value.shape != shape:
            return [() if type(v) in SCALARS else tuple(v.shape) for v in values]
    return None


def _several(op: Op, derivative: Any, operands: Any, values: list[Any], static: Any, xp: Any,
             ys: Any, stop: Any) -> tuple[Tensor, ...]:  # fmt: skip
    """Return several results as Tensors, each with a port of one node if it is recorded."""
    if derivative is None:
        needs = any(isinstance(x, Tensor) and x._node is not None for x in operands)
        stop = _stop(op, operands) if needs else stop
        return tuple([_constant(y, stop) for y in ys])
    parents = tuple([operands[i]._node for i in derivative.positions])
    saved = derivative.capture(xp, [*values, ys])
    hub = Node(derivative, parents, saved, static, xp, None, None, None)
    hub.stop = stop
    return tuple([wrap(y, port_of(hub, i, y, xp)) for i, y in enumerate(ys)])


def port_of(hub: Node, position: int, y: Any, xp: Any) -> Node | None:
    """Return the node of one result of a node with several; None if it carries no gradient."""
    if not xp.dtype_of(y).is_floating_point:
        return None
    port = Node(hub.derivative, (hub,), (), {}, xp, y.shape, y.dtype, None)
    port.port = position
    return port


def _constant(value: Any, stop: Any) -> Tensor:
    t = wrap(value)
    if stop is not None:
        t._stop = stop
    return t


def _stop(op: Op, operands: Any) -> Stop:
    """Return the mark of an operation that no gradient passes."""
    nodes = [x._node for x in operands if isinstance(x, Tensor) and x._node is not None]
    return Stop(_reason(op), nodes)


def _reason(op: Op) -> str:
    if not grad_mode.enabled:
        return f"{op.name} ran under no_grad"
    if isinstance(op.derivative, Absent):
        return f"{op.name} has no derivative: {op.derivative.reason}"
    return f"{op.name} is constant in the operand that requires a gradient"


def _higher(op: Op, a: Backend, b: Backend) -> Backend:
    """Return the namespace of the higher stand-in, or refuse to mix two libraries."""
    if a.level != b.level:
        return a if a.level > b.level else b
    raise BackendError(located(
        f"{op.name}: operands of two backends met, {a.name} and {b.name}; convert one with "
        f"at.asarray(x, backend={a.name!r}) or x.to({b.name!r})"
    ))  # fmt: skip


def _dtypes_fit(mode: str, values: list[Any], scalars: bool, xp: Any) -> bool:
    """Say whether operands can be computed as they are (see `Op.operands`).

    One and two operands are spelled out: 150 ns where the general loop takes 580.
    """
    count = len(values)
    if count == 1:
        return mode == "same" or values[0].dtype in xp.floats
    floating = mode == "float"
    if scalars:
        floating = floating or float in map(type, values)
        if count == 2:
            array = values[1] if type(values[0]) in SCALARS else values[0]
            return not floating or array.dtype in xp.floats
        values = [v for v in values if type(v) not in SCALARS]
    first = values[0].dtype
    if count == 2 and values[1].dtype is first:
        return not floating or first in xp.floats
    return all(v.dtype == first for v in values) and (not floating or first in xp.floats)


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
    """Turn foreign arrays and nested lists among the operands into constant Tensors."""
    known = [x for x in operands if isinstance(x, Tensor)]
    name = known[0].backend.name if known else None
    return [x if isinstance(x, Tensor) or type(x) in SCALARS else _foreign(x, name)
            for x in operands]  # fmt: skip


def _foreign(x: Any, name: str | None) -> Tensor:
    space = namespace_of(x)
    backend = space if space is not None else (load(name) if name else current())
    return wrap(backend.asarray(x))


def _without_scalars(operands: Any) -> list[Any]:
    """Make Tensors of the Python scalars among the operands, in the dtype of their neighbours."""
    tensors = [x for x in operands if isinstance(x, Tensor)]
    dtype = promote([t.dtype for t in tensors])
    first = tensors[-1]
    backend = first.backend
    if any(type(x) is float for x in operands) and not dtype.is_floating_point:
        dtype = default_dtype(backend)
    return [
        x if isinstance(x, Tensor)
        else wrap(backend.full((), x, dtype=dtype, device=first.device))
        for x in operands
    ]  # fmt: skip


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


def as_tensor(data: Any, *, dtype: Any = None, device: str | None = None,
              copy: bool | None = None) -> Tensor:  # fmt: skip
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
    backend = current()
    if dtype is not None:
        dtype = as_dtype(dtype, default_dtype(backend))
        backend.native(dtype)
    device = backend.check_device(device) if device is not None else settings.device
    return wrap(backend.asarray(plain(data), dtype=dtype, device=device))


def plain(data: Any) -> Any:
    """Replace Tensors inside nested lists by nested lists of their values."""
    if isinstance(data, Tensor):
        return data.tolist()
    if isinstance(data, (list, tuple)) and any(
        isinstance(x, (Tensor, list, tuple)) for x in data
    ):
        return [plain(x) for x in data]
    return data


def _rebuild(kind: Any, requires_grad: bool, name: str, dtype: DType, shape: Any,
             data: Any) -> Tensor:  # fmt: skip
    backend = load(name)
    twin = wrap(backend.reshape(backend.asarray(data, dtype=dtype), shape=tuple(shape)))
    twin = twin if kind is Tensor else kind(twin)
    return twin.requires_grad_() if requires_grad else twin
