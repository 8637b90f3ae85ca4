"""The kinds of operation, and what follows from each.

============  =============================================  ==============================
kind          what a record states                           what follows
============  =============================================  ==============================
elementwise   one partial derivative an operand              both modes, shape, dtype
reduction     a transpose (linear), or a rule each way       axes, shape, dtype
movement      a transpose                                    forward mode, dtype
linear        a transpose                                    forward mode
bilinear      a transpose an operand                         forward mode
opaque        a rule each way an operand                     nothing
constant      why it has no derivative                       the error that says so
============  =============================================  ==============================
"""

from collections.abc import Callable, Sequence
from operator import index
from typing import Any

from atled.config import settings
from atled.core.op import Absent, Op, Pair, Rule, Spec, register
from atled.dtypes import DType, bool_, float32, int64, promote
from atled.errors import DTypeError, ShapeError

__all__ = [
    "bilinear",
    "broadcast_shapes",
    "constant",
    "elementwise",
    "linear",
    "movement",
    "normalize_axes",
    "opaque",
    "reduced_shape",
    "reduction",
]

STEP = Absent("its result does not change, or jumps, when its operands change a little")


def broadcast_shapes(*shapes: tuple[int, ...], name: str = "broadcast") -> tuple[int, ...]:
    """Return the shape that arrays of the given shapes broadcast to (Array API, NumPy rules).

    Raises:
        ShapeError: they do not; both shapes and the axis are named.
    """
    result = shapes[0]
    for shape in shapes[1:]:
        long, short = (result, shape) if len(result) >= len(shape) else (shape, result)
        pairs = zip(long, (1,) * (len(long) - len(short)) + tuple(short), strict=True)
        out = []
        for axis, (m, n) in enumerate(pairs):
            if m != n and m != 1 and n != 1:
                raise ShapeError(
                    f"{name}: shapes {tuple(result)} and {tuple(shape)} do not broadcast: "
                    f"{m} meets {n} on axis {axis - len(long)}"
                )
            out.append(n if m == 1 else m)
        result = tuple(out)
    return tuple(result)


def normalize_axes(axis: Any, ndim: int, name: str) -> tuple[int, ...]:
    """Return axes as a sorted-out tuple of non-negative ints; None stands for all of them.

    Raises:
        ShapeError: an axis is out of range or given twice.
        DTypeError: it is not an integer.
    """
    if axis is None:
        return tuple(range(ndim))
    axes = (axis,) if not isinstance(axis, (tuple, list)) else tuple(axis)
    out = []
    for asked in axes:
        try:
            a = index(asked)
        except TypeError:
            raise DTypeError(
                f"{name}: an axis is an integer; found {type(asked).__name__}"
                + (
                    "; for two Tensors there are maximum and minimum"
                    if hasattr(asked, "shape")
                    else ""
                )
            ) from None
        if not -ndim <= a < ndim:
            raise ShapeError(f"{name}: axis {asked} is out of range for {ndim} dimension(s)")
        out.append(a % ndim)
    if len(set(out)) != len(out):
        raise ShapeError(f"{name}: an axis is given twice in {axes}")
    return tuple(out)


def reduced_shape(shape: tuple[int, ...], axis: Any, keepdims: bool) -> tuple[int, ...]:
    """Return the shape of a reduction of `shape` over normalised axes."""
    axes = range(len(shape)) if axis is None else (axis,) if isinstance(axis, int) else axis
    if keepdims:
        return tuple([1 if i in axes else n for i, n in enumerate(shape)])
    return tuple([n for i, n in enumerate(shape) if i not in axes])


def _float(dtype: DType) -> DType:
    return dtype if dtype.is_floating_point else settings.default_dtype or float32


_RESULTS: dict[str, Callable[[DType], DType]] = {
    "same": lambda d: d,
    "float": _float,
    "bool": lambda d: bool_,
    "int64": lambda d: int64,
    "sum": lambda d: d if d.is_floating_point else int64,
}


def elementwise(
    name: str,
    partials: Sequence[Callable[..., Any] | int | None] | Absent,
    *,
    operands: str = "float",
    result: str = "same",
    inputs: tuple[str, ...] = (),
    weak: bool = False,
    **facets: Any,
) -> Op:
    """Register an operation that works on each element by itself.

    Args:
        partials: ∂y/∂operand for each, as a rule without `g`; 1 and -1 may stand for
            themselves; None where the derivative is zero; `Absent` where there is none.
        operands: "float" or "same", see `Op`.
        result: the result's dtype: "same", "bool", "float" or "int64".
        inputs: operand names; by default ``x``, or ``a`` and ``b``.
    """
    count = len(partials) if not isinstance(partials, Absent) else len(inputs) or 1
    inputs = inputs or (("x",) if count == 1 else ("a", "b"))
    derivative: Any = partials
    if not isinstance(partials, Absent):
        derivative = [_from_partial(p, inputs) for p in partials]

    def infer(*specs: Spec, **static: Any) -> Spec:
        shape = broadcast_shapes(*[s.shape for s in specs], name=name)
        dtype = promote([s.dtype for s in specs])
        return Spec(shape, _RESULTS[result](_float(dtype) if operands == "float" else dtype))

    return register(
        Op(
            name,
            "elementwise",
            inputs,
            infer=infer,
            derivative=derivative,
            operands=operands,
            weak=weak,
            passes=facets.pop("passes", "each"),
            batch="ranks",
            broadcasts=len(inputs) > 1,
            forward=facets.pop("forward", None),
            door=facets.pop("door", True),
            **facets,
        )
    )


def _from_partial(partial: Any, inputs: tuple[str, ...]) -> Pair | None:
    if partial is None:
        return None
    if partial == 1:
        return None, None
    rule = Rule(_negate, (), ()) if partial == -1 else Rule.read(partial, inputs, True)
    return rule, rule


def _negate(xp: Any, g: Any) -> Any:
    return -g


def reduction(
    name: str,
    *,
    vjp: Callable[..., Any] | Absent,
    jvp: Callable[..., Any] | None = None,
    result: str = "same",
    **facets: Any,
) -> Op:
    """Register a reduction of ``x`` over `axis`, with `keepdims`.

    Args:
        vjp: its transpose if it is linear, or else its rule from ``g``.
        jvp: its rule from ``t``; by default, for a linear one, the operation itself.
    """

    def infer(x: Spec, *, axis: Any = None, keepdims: bool = False) -> Spec:
        return Spec(reduced_shape(x.shape, axis, keepdims), _RESULTS[result](x.dtype))

    derivative = (
        vjp if isinstance(vjp, Absent) else [_pair(vjp, jvp or Rule.itself(name, ("x",)), ("x",))]
    )
    facets = {
        "operands": "same", "infer": infer, "forward": None, "door": True, "batch": "axis"
    } | facets  # fmt: skip
    return register(Op(name, "reduction", ("x",), derivative=derivative, **facets))


def movement(
    name: str,
    *,
    transpose: Callable[..., Any],
    shape: Callable[..., tuple[int, ...]],
    **facets: Any,
) -> Op:
    """Register an operation that only moves the elements of ``x``; `shape` infers its result's."""

    def infer(x: Spec, **static: Any) -> Spec:
        return Spec(shape(x.shape, **static), x.dtype)

    facets = {"forward": None, "passes": "moves"} | facets
    derivative = [_pair(transpose, Rule.itself(name, ("x",)), ("x",))]
    return register(Op(name, "movement", ("x",), infer=infer, derivative=derivative, **facets))


def linear(
    name: str, *, transpose: Callable[..., Any], inputs: tuple[str, ...] = ("x",), **facets: Any
) -> Op:
    """Register an operation that is linear in its first operand; others are constants to it."""
    pair = _pair(transpose, Rule.itself(name, inputs), inputs)
    derivative = [pair] + [None] * (len(inputs) - 1)
    facets = {"forward": None} | facets
    return register(Op(name, "linear", inputs, derivative=derivative, **facets))


def bilinear(
    name: str,
    *,
    transposes: Sequence[Callable[..., Any]],
    inputs: tuple[str, str] = ("a", "b"),
    **facets: Any,
) -> Op:
    """Register an operation that is linear in each of two operands.

    Args:
        transposes: for each operand the rule from ``g`` (and the other operand).
    """
    derivative = [
        _pair(transpose, Rule.itself(name, inputs, i), inputs)
        for i, transpose in enumerate(transposes)
    ]
    facets = {"forward": None, "operands": "same"} | facets
    return register(Op(name, "bilinear", inputs, derivative=derivative, **facets))


def opaque(
    name: str,
    *,
    vjps: Sequence[Callable[..., Any] | None],
    jvps: Sequence[Callable[..., Any] | None],
    inputs: tuple[str, ...] = ("x",),
    **facets: Any,
) -> Op:
    """Register an operation with a rule of its own each way for each operand."""
    derivative = [
        None if vjp is None or jvp is None else _pair(vjp, jvp, inputs)
        for vjp, jvp in zip(vjps, jvps, strict=True)
    ]
    facets = {"forward": None, "operands": "float"} | facets
    return register(Op(name, "opaque", inputs, derivative=derivative, **facets))


def constant(
    name: str,
    reason: str | Absent = STEP,
    *,
    infer: Callable[..., Any],
    inputs: tuple[str, ...] = ("x",),
    **facets: Any,
) -> Op:
    """Register an operation whose result does not depend smoothly on its operands."""
    absent = reason if isinstance(reason, Absent) else Absent(reason)
    facets = {"forward": None} | facets
    return register(Op(name, "constant", inputs, infer=infer, derivative=absent, **facets))


def _pair(vjp: Callable[..., Any], jvp: Callable[..., Any] | Rule, inputs: tuple[str, ...]) -> Pair:
    return (_as_rule(vjp, inputs), _as_rule(jvp, inputs))


def _as_rule(function: Any, inputs: tuple[str, ...]) -> Rule:
    return function if isinstance(function, Rule) else Rule.read(function, inputs, False)
