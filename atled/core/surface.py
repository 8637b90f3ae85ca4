"""The public face of the records: functions, the Tensor's methods, operators and aliases.

`FUNCTIONS` holds every public function by name and by alias. A record with `door` gets its
function from its kind; a composite, or a record whose arguments need a door of their own, is a
Python function under `@public`.
"""

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, TypeVar

from atled.config import changes, modes
from atled.core.apply import apply, as_tensor, replace
from atled.core.autograd import backward, gradients, register_hook, retain_grad
from atled.core.kinds import normalize_axes
from atled.core.op import REGISTRY, Op, Sample
from atled.core.tensor import Tensor, wrap
from atled.errors import DTypeError, GradError

__all__ = ["COMPOSITES", "FUNCTIONS", "in_place", "install", "public", "update"]

FUNCTIONS: dict[str, Callable[..., Any]] = {}
ALIASES: dict[str, str] = {}  # alias -> the name it stands for
COMPOSITES: dict[str, "Composite"] = {}

# PyTorch's names of arguments that the Array API calls otherwise.
SPELLINGS = {
    "dim": "axis",
    "keepdim": "keepdims",
    "dims": "axes",
    "steps": "num",
    "p": "ord",
    "input": "x",
    "other": "b",
}

F = TypeVar("F", bound=Callable[..., Any])


class Composite:
    """A public function written with others: what the tests and the table need of it."""

    def __init__(
        self,
        function: Callable[..., Any],
        samples: tuple[Sample, ...],
        domain: tuple[float, float],
        reference: str | None,
    ) -> None:
        self.name, self.function = function.__name__, function
        self.samples, self.domain, self.reference = samples, domain, reference


def public(
    *aliases: str,
    method: bool = True,
    function: bool = True,
    name: str | None = None,
    samples: tuple[Sample, ...] = (),
    domain: tuple[float, float] = (-2.0, 2.0),
    reference: str | None = None,
) -> Callable[[F], F]:
    """Make a function public under its name and aliases, and a method unless told otherwise.

    Args:
        aliases: PyTorch's or NumPy's names for it.
        method: whether a Tensor has it as a method, with itself as the first argument.
        function: whether it is a function of the package too.
        name: its public name, where Python's own keeps it from being the function's.
        samples, domain, reference: what the generated tests run it on; see `Op`.
    """

    def enter(made: F) -> F:
        known = name or made.__name__
        made.__name__ = made.__qualname__ = known
        if function:
            _enter(known, made, aliases, method)
        else:
            setattr(Tensor, known, made)
        if samples:
            COMPOSITES[known] = Composite(made, samples, domain, reference)
        return made

    return enter


def expose_records() -> None:
    """Make the public functions of all records that need no door of their own."""
    for op in REGISTRY.values():
        if op.door and op.name not in FUNCTIONS:
            make = _reducer if op.kind == "reduction" else _MAKERS[len(op.inputs)]
            function: Callable[..., Any] = make(op)
            function.__name__ = function.__qualname__ = op.name
            function.__doc__ = op.doc
            _enter(op.name, function, op.aliases, True)


def _enter(name: str, function: Callable[..., Any], aliases: tuple[str, ...], method: bool) -> None:
    for known in (name, *aliases):
        if known in FUNCTIONS:
            raise ValueError(f"a public function called {known!r} is there already")
        FUNCTIONS[known] = function
        if known != name:
            ALIASES[known] = name
        if method and not known.startswith("_"):
            setattr(Tensor, known, function)


def _unary(op: Op) -> Callable[..., Any]:
    def function(x: Any, /) -> Any:
        return apply(op, x)

    return function


def _binary(op: Op) -> Callable[..., Any]:
    def function(a: Any, b: Any, /) -> Any:
        return apply(op, a, b)

    return function


def _ternary(op: Op) -> Callable[..., Any]:
    def function(a: Any, b: Any, c: Any, /) -> Any:
        return apply(op, a, b, c)

    return function


_MAKERS = {1: _unary, 2: _binary, 3: _ternary}


def _reducer(op: Op) -> Callable[..., Any]:
    def function(x: Any, axis: Any = None, keepdims: bool = False, *, dtype: Any = None) -> Any:
        x = as_tensor(x, dtype=dtype)
        if axis is not None:
            axis = normalize_axes(axis, x.ndim, op.name)
        return apply(op, x, axis=axis, keepdims=keepdims)

    function.__name__ = function.__qualname__ = op.name
    return values_only(function) if op.name in ("max", "min") else spelled(function)


def spelled(function: F) -> F:
    """Let a function take PyTorch's names of arguments (`dim`, `keepdim`) for its own."""
    code = function.__code__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]

    @wraps(function)
    def inside(*args: Any, **kwargs: Any) -> Any:
        if kwargs and any(key not in names for key in kwargs):
            given: dict[str, Any] = {}
            for key, value in kwargs.items():
                known = key if key in names else SPELLINGS.get(key, key)
                if known in given or known in names[: len(args)]:
                    raise TypeError(f"{function.__name__}() got {known!r} twice ({key!r} is it)")
                given[known] = value
            kwargs = given
        return function(*args, **kwargs)

    return inside  # type: ignore[return-value]


def values_only(function: F) -> F:
    """Refuse PyTorch's `dim=` where PyTorch would return (values, indices).

    The Array API's function returns the values alone: code that unpacks two would go wrong in
    silence. Other spellings are taken, as by `spelled`.
    """
    inner, name = spelled(function), function.__name__

    @wraps(inner)
    def inside(*args: Any, **kwargs: Any) -> Any:
        if "dim" in kwargs:
            raise TypeError(
                f"{name}(dim=) returns values and indices in PyTorch; here {name}(axis=) returns "
                "the values alone; for the indices there are argmax, argmin, argsort and topk"
            )
        return inner(*args, **kwargs)

    return inside  # type: ignore[return-value]


# -- operators

_OPERATORS = {
    "add": "add",
    "sub": "subtract",
    "mul": "multiply",
    "truediv": "divide",
    "floordiv": "floor_divide",
    "mod": "remainder",
    "pow": "pow",
    "matmul": "matmul",
    "and": "bitwise_and",
    "or": "bitwise_or",
    "xor": "bitwise_xor",
    "lshift": "bitwise_left_shift",
    "rshift": "bitwise_right_shift",
}
_COMPARISONS = {
    "eq": "equal",
    "ne": "not_equal",
    "lt": "less",
    "le": "less_equal",
    "gt": "greater",
    "ge": "greater_equal",
}
_UNARY = {"neg": "negative", "pos": "positive", "abs": "abs", "invert": "bitwise_invert"}
_IN_PLACE_METHODS = {
    "add_": "add",
    "sub_": "subtract",
    "mul_": "multiply",
    "div_": "divide",
    "pow_": "pow",
    "neg_": "negative",
    "abs_": "abs",
    "exp_": "exp",
    "log_": "log",
    "sqrt_": "sqrt",
    "clamp_": "clip",
    "clip_": "clip",
    "sigmoid_": "sigmoid",
    "tanh_": "tanh",
    "relu_": "relu",
    "masked_fill_": "masked_fill",
    "index_add_": "index_add",
}


def install() -> None:
    """Make what follows from the records, once all are in: functions, operators, methods."""
    expose_records()
    for word, name in (_OPERATORS | _COMPARISONS).items():
        function = FUNCTIONS[name]
        setattr(Tensor, f"__{word}__", _operator(function, REGISTRY.get(name)))
        if word in _OPERATORS:
            setattr(Tensor, f"__r{word}__", _reflected(function))
            setattr(Tensor, f"__i{word}__", in_place(function, operator=True))
    setattr(Tensor, "__hash__", object.__hash__)  # noqa: B010 - a new __eq__ keeps it
    for word, name in _UNARY.items():
        setattr(Tensor, f"__{word}__", FUNCTIONS[name])
    for word, name in _IN_PLACE_METHODS.items():
        setattr(Tensor, word, in_place(FUNCTIONS[name]))
    install_methods()


def _is_operand(x: Any) -> bool:
    return isinstance(x, (Tensor, float, int)) or hasattr(x, "__array__") or hasattr(x, "dtype")


def _operator(function: Callable[..., Any], op: Op | None) -> Callable[..., Any]:
    def method(self: Tensor, other: Any) -> Any:
        if isinstance(other, (Tensor, float, int)) or _is_operand(other):
            return function(self, other)
        return NotImplemented

    def direct(self: Tensor, other: Any) -> Any:  # one call less: 60 ns of 1.5 µs
        if isinstance(other, (Tensor, float, int)) or _is_operand(other):
            return apply(op, self, other)  # type: ignore[arg-type]
        return NotImplemented

    return direct if op is not None and op.door else method


def _reflected(function: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Tensor, other: Any) -> Any:
        return function(other, self) if _is_operand(other) else NotImplemented

    return method


def in_place(function: Callable[..., Any], operator: bool = False) -> Callable[..., Any]:
    """Return the method that gives a Tensor's name the value of `function(tensor, ...)`.

    An augmented assignment (`operator`) may be half of ``x[0] += 1``, and is let through.
    """

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if not operator:
            refuse_part(self)
        return update(self, lambda: function(self, *args, **kwargs), args)

    method.__name__ = function.__name__ + "_"
    method.__doc__ = f"Give this Tensor the value of `{function.__name__}` of it; see there."
    return method


def refuse_part(x: Tensor) -> None:
    """Refuse to write into what was read from another Tensor: that would not change it.

    Raises:
        GradError: x is x[...], x.T, a row of an iteration, or x.detach().
    """
    if x._part:
        raise GradError(
            f"this Tensor is {x._part}, a value of its own: writing into it would not change the "
            "Tensor that it was read from. Write x[...] = v there, or take a copy: .clone()"
        )


def update(x: Tensor, compute: Callable[[], Tensor], operands: Any = ()) -> Tensor:
    """Give x the value that `compute` returns; on a leaf that requires a gradient, unrecorded.

    Raises:
        GradError: x is such a leaf and an operand's gradient would be lost.
        ShapeError, DTypeError: the new value does not fit x.
    """
    if not (x.requires_grad and x.is_leaf):
        return replace(x, compute())
    if modes.enabled and any(
        isinstance(o, Tensor) and o.requires_grad and o is not x for o in operands
    ):
        raise GradError(
            "an in-place update of a leaf is not recorded, and the gradient of its operand "
            "would be lost; write x = x + y, or put it under no_grad, or detach the operand"
        )
    before, modes.enabled = modes.enabled, False
    try:
        return replace(x, compute())
    finally:
        modes.enabled = before


# -- methods that are not functions


def _backward(
    self: Tensor,
    gradient: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Any = None,
) -> None:
    """Add the gradients of this Tensor to `.grad` of the leaves; see `autograd.backward`."""
    backward(self, gradient, retain_graph=retain_graph, create_graph=create_graph, inputs=inputs)


def _zero(self: Tensor) -> Tensor:
    """Give this Tensor the value 0 everywhere."""
    refuse_part(self)
    return update(self, lambda: wrap(self.backend.zeros_like(self._value)))


def _fill(self: Tensor, value: Any) -> Tensor:
    """Give this Tensor one value everywhere."""
    refuse_part(self)
    number = value.item() if isinstance(value, Tensor) else value
    made = self.backend.full(self.shape, number, dtype=self.dtype, device=self.device)
    return update(self, lambda: wrap(made))


def _copy(self: Tensor, source: Any) -> Tensor:
    """Give this Tensor the value of another, broadcast and cast to its own shape and dtype."""
    refuse_part(self)

    def compute() -> Tensor:
        new = source if isinstance(source, Tensor) else wrap(self.backend.asarray(source))
        new = FUNCTIONS["astype"](new, self.dtype)
        return new if new.shape == self.shape else FUNCTIONS["broadcast_to"](new, self.shape)

    return update(self, compute, (source,))


def _detach_in_place(self: Tensor) -> Tensor:
    """Forget how this Tensor was computed."""
    self._node = None
    changes.tracked += 1
    return self


def _iterate(self: Tensor) -> Iterator[Tensor]:
    if self.ndim == 0:
        raise TypeError("a 0-d Tensor cannot be iterated over")
    return iter([as_part(row, "a row of an iteration") for row in FUNCTIONS["unstack"](self)])


def as_part(x: Tensor, what: str) -> Tensor:
    """Mark what was read from another Tensor, where NumPy and PyTorch would share memory."""
    x._part = what
    return x


def _format(self: Tensor, spec: str) -> str:
    """Format the only element as a number: f"{loss:.4f}"; without a spec, as `repr`."""
    return format(self.item(), spec) if spec else repr(self)


def _round(self: Tensor, digits: int | None = None) -> Any:
    return FUNCTIONS["round"](self, digits or 0)


def _contains(self: Tensor, value: Any) -> bool:
    return bool(FUNCTIONS["any"](FUNCTIONS["equal"](self, value)))


def _set_data(self: Tensor, new: Any) -> None:
    value = as_tensor(new)
    if value.dtype is not self.dtype:
        raise DTypeError(f".data of a {self.dtype.name} Tensor was set to {value.dtype.name}")
    replace(self.data, value.detach())


_METHODS: dict[str, Callable[..., Any]] = {
    "backward": _backward,
    "gradients": gradients,
    "register_hook": register_hook,
    "retain_grad": retain_grad,
    "zero_": _zero,
    "fill_": _fill,
    "copy_": _copy,
    "detach_": _detach_in_place,
    "__iter__": _iterate,
    "__contains__": _contains,
    "__format__": _format,
    "__round__": _round,
    "dim": lambda self: self.ndim,
    "numel": lambda self: self.size,
    "nelement": lambda self: self.size,
    "is_floating_point": lambda self: self.dtype.is_floating_point,
    "float": lambda self: FUNCTIONS["astype"](self, "float32"),
    "double": lambda self: FUNCTIONS["astype"](self, "float64"),
    "half": lambda self: FUNCTIONS["astype"](self, "float16"),
    "long": lambda self: FUNCTIONS["astype"](self, "int64"),
    "int": lambda self: FUNCTIONS["astype"](self, "int32"),
    "bool": lambda self: FUNCTIONS["astype"](self, "bool"),
    "type_as": lambda self, other: FUNCTIONS["astype"](self, other.dtype),
    "cpu": lambda self: self.to("cpu"),
    "cuda": lambda self: self.to("cuda"),
    "element_size": lambda self: self.dtype.itemsize,
    "contiguous": lambda self: self,
    "expand_as": lambda self, other: FUNCTIONS["broadcast_to"](self, other.shape),
    "view_as": lambda self, other: FUNCTIONS["reshape"](self, other.shape),
    "new_zeros": lambda self, *shape: _new_full(self, shape, 0),
    "new_ones": lambda self, *shape: _new_full(self, shape, 1),
    "new_full": lambda self, shape, value: _new_full(self, (shape,), value),
    "new_tensor": lambda self, data: wrap(self.backend.asarray(data, dtype=self.dtype)),
}


def _new_full(x: Tensor, shape: Any, value: Any) -> Tensor:
    sizes = shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape
    return wrap(x.backend.full(tuple(sizes), value, dtype=x.dtype, device=x.device))


def _transposed(self: Tensor) -> Tensor:
    """The Tensor with all axes in reverse order."""
    return as_part(FUNCTIONS["transpose"](self), "a transpose")


def _matrix_transposed(self: Tensor) -> Tensor:
    """The Tensor with its last two axes exchanged."""
    return as_part(FUNCTIONS["matrix_transpose"](self), "a transpose")


def install_methods() -> None:
    """Put on the Tensor the methods that are no public functions."""
    for name, function in _METHODS.items():
        setattr(Tensor, name, function)
    setattr(Tensor, "data", Tensor.__dict__["data"].setter(_set_data))  # noqa: B010
    setattr(Tensor, "T", property(_transposed))  # noqa: B010
    setattr(Tensor, "mT", property(_matrix_transposed))  # noqa: B010
