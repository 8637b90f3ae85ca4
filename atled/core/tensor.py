"""The Tensor: a value, and the tape node that made it.

A Tensor is a value: an array of some backend that nobody writes into, and the tape node that
made it. `x += y`, `x[i] = v` and `x.zero_()` give the *name* a new value and a new node; what
the tape saved of the old one is never touched.

The methods and operators that compute are put on the class by `core/surface.py`, from the
registry of records.
"""

import sys
from opcode import opmap
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
from atled.config import changes, modes, settings
from atled.core.display import render
from atled.core.methods import TensorMethods
from atled.core.op import SCALARS
from atled.core.tape import Leaf, Node
from atled.dtypes import DType, as_dtype, bool_, int64
from atled.errors import (
    DTypeError,
    GradError,
    ShapeError,
    described,
    user_line,
)

__all__ = ["Stop", "Tensor", "lift", "raw", "wrap"]


class Tensor(TensorMethods):
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
    _grad: "Tensor | None" = None
    _part: str | None = None  # what it was read from another Tensor as, see `surface.refuse_part`
    _owner: "Tensor | None" = None  # of the Tensor that `.data` returns: what it writes through to

    def __init__(
        self,
        data: Any,
        *,
        dtype: Any = None,
        device: str | None = None,
        requires_grad: bool = False,
    ) -> None:
        self._value, self._node = raw(data, dtype, device), None
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
        """The same value, detached. Assigning to it, or changing it in place, replaces the value.

        ``p.data = q``, ``p.data -= g`` and ``p.data.fill_(0)`` are not recorded.
        """
        value = wrap(self._value)
        value._owner = self
        return value

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
            changes.tracked += 1
        elif self._node is None:
            if not self.dtype.is_floating_point:
                raise GradError(
                    f"only floating Tensors can require a gradient; this one is {self.dtype.name}: "
                    "make it with dtype=float32 or use .astype(float32)"
                )
            self._node = Leaf(self, self._value.shape, self._value.dtype)
            changes.tracked += 1
        return self

    @property
    def grad(self) -> "Tensor | None":
        """The gradient that `backward()` collected, of the same shape and dtype, or None."""
        if modes.tracing is not None:
            return modes.tracing.grad_of(self)
        return self._grad

    @grad.setter
    def grad(self, given: "Tensor | None") -> None:
        if modes.tracing is not None:
            modes.tracing.entered((self, given))
        if given is not None:
            if not isinstance(given, Tensor):
                raise TypeError(f".grad must be a Tensor or None; found {type(given).__name__}")
            if given.shape != self.shape:
                raise ShapeError(f".grad of shape {given.shape} for a Tensor of shape {self.shape}")
            if given.dtype is not self.dtype or given.backend is not self.backend:
                raise DTypeError(
                    f".grad is {given.dtype.name} ({given.backend.name}), its Tensor "
                    f"{self.dtype.name} ({self.backend.name})"
                )
        self._grad = given

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
        constant._part = "a result of detach()"
        return constant

    # -- Python's protocols ------------------------------------------------------------------

    def item(self) -> Any:
        """Return the only element as a Python number.

        Raises:
            ShapeError: there is not exactly one element.
        """
        if self.size != 1:
            raise ShapeError(f"item() needs exactly one element; the shape is {self.shape}")
        value = self.tolist()
        while isinstance(value, list):
            value = value[0]
        return value

    def tolist(self) -> Any:
        """Return nested lists of Python numbers (a number for a 0-d Tensor)."""
        if modes.tracing is not None:
            modes.tracing.entered((self,))
        return self.backend.tolist(self._value)

    def numpy(self) -> Any:
        """Return a numpy.ndarray with the values, as a copy that may be written into.

        Raises:
            GradError: the Tensor requires a gradient, which would be lost.
        """
        if self._node is not None:
            raise GradError(
                "numpy() of a Tensor that requires a gradient would lose it: "
                "call .detach() first, t.detach().numpy()"
            )
        if modes.tracing is not None:
            modes.tracing.entered((self,))
        return self.backend.to_numpy(self._value).copy()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        """Return the values to NumPy: read-only without a copy, or a copy if asked for.

        Raises:
            GradError: the Tensor requires a gradient, which would be lost.
        """
        if self._node is not None:
            raise GradError(
                "a Tensor that requires a gradient cannot become a NumPy array: the gradient "
                "would be lost. For the values only: np.asarray(t.detach()). To join Tensors: "
                "at.stack([...]). To write one into an array: make that a Tensor first, "
                "c = at.asarray(c); c[i] = t"
            )
        if modes.tracing is not None:
            modes.tracing.entered((self,))
        array = self.backend.to_numpy(self._value)
        if copy or (dtype is not None and array.dtype != dtype):
            return array.astype(dtype or array.dtype)
        view = array.view()
        view.flags.writeable = False
        return view

    def __dlpack__(self, **options: Any) -> Any:
        """Hand a copy of the array to another library (see DLPack); itself for copy=False."""
        if options.pop("copy", None) is False:
            return self.array.__dlpack__(**options)
        return self.backend.present(self.backend.asarray(self._value)).__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()

    def __float__(self) -> float:
        if self._node is not None:
            _refuse_store()
        return float(self.item())

    def __int__(self) -> int:
        if self._node is not None:
            _refuse_store()
        return int(self.item())

    def __complex__(self) -> complex:
        if self._node is not None:
            _refuse_store()
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
        if not self.is_leaf:
            return wrap(self._value, self._node)
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
        if self.backend.level:  # a stand-in has no values to show
            return f"tensor({', '.join([repr(self._value), *self._suffix()])})"
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


def _refuse_store() -> None:
    """Raise if a number is asked for by `array[i] = tensor`: NumPy calls float() there.

    Nothing else tells that write, in which a gradient would be lost in silence, from an honest
    ``float(loss)``; the caller's instruction does.
    """
    frame = sys._getframe(2)
    if frame.f_lasti >= 0 and frame.f_code.co_code[frame.f_lasti] == _STORE:
        raise GradError(
            "an array cannot hold a Tensor that requires a gradient: the gradient would be "
            "lost. Make the array a Tensor first, c = at.asarray(c); c[i] = t then works. For "
            "the value only: c[i] = float(t)"
        )


_STORE = opmap["STORE_SUBSCR"]


class Stop:
    """Where a path of gradients ended: why, where in the user's code, and at which nodes.

    It keeps no graph alive: the nodes are weak references. Where several operands of one
    operation carry a mark, they form a list through `next`, of at most `LONGEST` marks.
    """

    __slots__ = ("length", "line", "next", "nodes", "reason")
    LONGEST = 8

    def __init__(self, reason: str, nodes: list[Node], next: "Stop | None" = None) -> None:
        self.reason, self.line = reason, user_line()
        self.nodes = [ref(node) for node in nodes]
        self._link(next)

    def _link(self, next: "Stop | None") -> None:
        self.next = None if next is not None and next.length >= self.LONGEST else next
        self.length: int = 1 if self.next is None else self.next.length + 1

    @property
    def place(self) -> str:
        """The user's file, line and source."""
        return described(self.line)

    def joined(self, other: "Stop") -> "Stop":
        """Return the list of both marks; this one alone where it is long enough already."""
        if self.length >= self.LONGEST or other in self.chain():
            return self
        twin = object.__new__(Stop)
        twin.reason, twin.line, twin.nodes = other.reason, other.line, other.nodes
        twin._link(self)
        return twin

    def chain(self) -> "list[Stop]":
        """Return this mark and those behind it."""
        return [self] + ([] if self.next is None else self.next.chain())


_new = object.__new__


def wrap(value: Any, node: Node | None = None) -> Tensor:
    """Return a Tensor around a raw array that nobody will write into."""
    t = _new(Tensor)
    t._value, t._node = value, node
    return t


def lift(value: Any, node: Node | None) -> Any:
    """Return a saved value as a Tensor; Python scalars stay what they are."""
    return value if type(value) in SCALARS else wrap(value, node)


def raw(data: Any, dtype: Any = None, device: str | None = None) -> Any:
    """Return the raw array that a new Tensor of `data` holds (see `atled.tensor`).

    Lists, numbers and NumPy arrays go to the current backend; a Tensor, or another library's
    array, stays with its own and on its device.

    Raises:
        DTypeError, ShapeError, BackendError: see `atled.tensor`.
    """
    if isinstance(data, Tensor):
        backend, value = data.backend, data._value
        if dtype is not None:
            wanted = as_dtype(dtype, default_dtype(backend))
            backend.native(wanted)
            value = backend.astype(value, dtype=wanted)
        return value if device is None else backend.to_device(value, device)
    own = namespace_of(data)
    backend = current() if own is None or own.name == "numpy" else own
    if dtype is not None:
        dtype = as_dtype(dtype, default_dtype(backend))
        backend.native(dtype)
    device = backend.check_device(device or (settings.device if own is None else None))
    return backend.asarray(plain(data), dtype=dtype, device=device)


def plain(data: Any) -> Any:
    """Replace Tensors inside nested lists by nested lists of their values."""
    if isinstance(data, Tensor):
        return data.tolist()
    if isinstance(data, (list, tuple)) and any(isinstance(x, (Tensor, list, tuple)) for x in data):
        return [plain(x) for x in data]
    return data


def _rebuild(
    kind: Any, requires_grad: bool, name: str, dtype: DType, shape: Any, data: Any
) -> Tensor:
    backend = load(name)
    twin = wrap(backend.reshape(backend.asarray(data, dtype=dtype), shape=tuple(shape)))
    twin = twin if kind is Tensor else kind(twin)
    return twin.requires_grad_() if requires_grad else twin
