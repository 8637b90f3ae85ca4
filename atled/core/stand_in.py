"""What stands in for arrays and numbers in a function that is being traced.

A `Symbol` stands in for an array whose values are not known yet: it has a shape and a dtype, and
points to the `Value` of a graph. Its namespace is in `symbol.py`.

A `Number` stands in for a Python number that changes from call to call (a learning rate, a
count of steps). It is as weak as a Python number; asked whether it is larger than another,
it answers for now and leaves a *guard*: the program is used as long as the answer is the same.
"""

import operator
from collections.abc import Callable
from typing import Any

from atled.config import modes, settings
from atled.core.graph import Value
from atled.core.kinds import broadcast_shapes
from atled.core.op import SCALARS
from atled.dtypes import DType, bool_, float32, float64, int64, promote
from atled.errors import LEAKED, TraceError

__all__ = [
    "Number", "Symbol", "again_of", "as_value", "cast", "constant", "default_float",
    "give_operators", "now_of", "unknown", "value_of", "values_of",
]  # fmt: skip


class Symbol:
    """An array of the program that is being traced."""

    __slots__ = ("value",)

    def __init__(self, value: Value) -> None:
        self.value = value

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    @property
    def dtype(self) -> DType:
        return self.value.dtype

    @property
    def ndim(self) -> int:
        return len(self.value.shape)

    @property
    def size(self) -> int:
        return self.value.size

    def __getitem__(self, index: Any) -> "Symbol":
        raise NotImplementedError  # `symbol.py` puts the operators here

    def __len__(self) -> int:
        return self.value.shape[0]

    def __repr__(self) -> str:
        return f"<traced {self.dtype.name}{list(self.shape)}>"

    def __bool__(self) -> bool:
        raise unknown("the truth of an array")

    def __iter__(self) -> Any:
        return (self[i] for i in range(self.value.shape[0]))

    __hash__ = object.__hash__


def unknown(what: str) -> TraceError:
    """Return the error for a value that is asked for while tracing, or after it."""
    if modes.tracing is None:
        return TraceError(LEAKED)
    return TraceError(
        f"{what} was asked for while a compiled function is traced: there are only shapes and "
        "dtypes then. Choose with at.where(condition, a, b) instead of `if`; return the Tensor "
        "and read it outside; or keep this part out of the compiled function"
    )


class Number:
    """A Python number that may differ in the next call.

    Attributes:
        value: its place in the graph, a 0-d float64 or int64.
        now: what it is while tracing.
        again: computes it anew from what it was read from; called before a program is used.
    """

    __slots__ = ("again", "now", "value")

    def __init__(self, value: Value, now: float, again: Callable[[], Any]) -> None:
        self.value, self.now, self.again = value, now, again

    def __repr__(self) -> str:
        return f"<number, now {self.now!r}>"

    def __bool__(self) -> bool:
        return self._guarded(bool, "bool")

    def __float__(self) -> float:
        raise unknown("a number that changes from call to call")

    __int__ = __index__ = __float__

    def _guarded(self, ask: Callable[[Any], bool], name: str) -> bool:
        again, answer = self.again, ask(self.now)
        modes.tracing.guard(lambda: ask(again()) == answer, (self.value, name))
        return answer

    __hash__ = object.__hash__


def _number_operator(name: str, function: Callable[..., Any], swapped: bool) -> Any:
    def run(self: Number, other: Any) -> Any:
        if isinstance(other, Symbol):
            return NotImplemented
        pair = (other, self) if swapped else (self, other)
        key = (name, *[x.value if isinstance(x, Number) else repr(x) for x in pair])
        memo = modes.tracing.memo  # each parameter's step asks for the same powers
        if key not in memo:
            memo[key] = compute(*pair)
        return memo[key]

    def compute(*pair: Any) -> Number:
        whole = all(type(now_of(x)) is int for x in pair) and name not in ("divide", "pow")
        dtype = int64 if whole else float64
        values = [as_value(_number_value(x), dtype, ()) for x in pair]
        later = [again_of(x) for x in pair]
        return Number(
            Value.of(name, *values),
            function(*[now_of(x) for x in pair]),
            lambda: function(*[a() for a in later]),
        )

    return run


def now_of(x: Any) -> Any:
    """Return what a number is while tracing."""
    return x.now if isinstance(x, Number) else x


def again_of(x: Any) -> Callable[[], Any]:
    """Return what computes a number anew."""
    return x.again if isinstance(x, Number) else lambda: x


def _number_value(x: Any) -> Value:
    if isinstance(x, Number):
        return x.value
    return constant(x, float64 if isinstance(x, float) else int64)


def _comparison(name: str) -> Any:
    function = getattr(operator, name)

    def run(self: Number, other: Any) -> Any:
        if isinstance(other, Symbol):
            return NotImplemented
        ours, theirs, answer = self.again, again_of(other), function(self.now, now_of(other))
        known = other.value if isinstance(other, Number) else other
        modes.tracing.guard(lambda: function(ours(), theirs()) == answer, (self.value, name, known))
        return answer

    return run


for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    setattr(Number, f"__{_name}__", _comparison(_name))
for _name, _op in (
    ("add", "add"), ("sub", "subtract"), ("mul", "multiply"), ("truediv", "divide"),
    ("floordiv", "floor_divide"), ("mod", "remainder"), ("pow", "pow"), ("and", "bitwise_and"),
    ("or", "bitwise_or"), ("xor", "bitwise_xor"), ("lshift", "bitwise_left_shift"),
    ("rshift", "bitwise_right_shift"),
):  # fmt: skip
    _function = getattr(operator, f"{_name}_" if _name in ("and", "or") else _name)
    setattr(Number, f"__{_name}__", _number_operator(_op, _function, False))
    setattr(Number, f"__r{_name}__", _number_operator(_op, _function, True))
setattr(Number, "__neg__", lambda self: self * -1)  # noqa: B010


# -- from operands to values


def constant(number: Any, dtype: DType) -> Value:
    """Return a 0-d constant, the number as its dtype has it."""
    number = bool(number) if dtype is bool_ else (
        float(number) if dtype.is_floating_point else int(number)
    )  # fmt: skip
    return Value("constant", (), {"value": number, "dtype": dtype}, (), dtype)


def as_value(x: Value, dtype: DType, shape: tuple[int, ...]) -> Value:
    """Return x in a dtype and broadcast to a shape."""
    if x.dtype is not dtype:
        x = cast(x, dtype)
    if x.shape != shape:
        x = Value.of("broadcast_to", x, shape=shape)
    return x


def cast(x: Value, dtype: DType) -> Value:
    """Return x in another dtype; of a constant, another constant."""
    if x.op == "constant" and (dtype.is_floating_point or x.dtype.kind != "float"):
        return constant(x.static["value"], dtype)
    return Value.of("astype", x, dtype=dtype)


def value_of(x: Any) -> Value:
    """Return the value behind a symbol, or of an array that the program reads from outside."""
    if isinstance(x, Symbol):
        return x.value
    if isinstance(x, Number):
        return x.value
    tracing = modes.tracing
    if tracing is None:
        raise TraceError(LEAKED)
    return tracing.lifted(x).value


def default_float() -> DType:
    """Return the dtype that integers get where a floating one is needed."""
    return settings.default_dtype or float32


def values_of(operands: tuple[Any, ...]) -> list[Value]:
    """Return operands as values of one shape and dtype; Python numbers and `Number`s are weak."""
    weak = [type(x) in SCALARS or isinstance(x, Number) for x in operands]
    strong = [value_of(x) for x, w in zip(operands, weak, strict=True) if not w]
    if strong:
        dtype = promote([v.dtype for v in strong])
    else:
        dtype = int64 if all(type(now_of(x)) is int for x in operands) else float64
    if not dtype.is_floating_point:
        floats = [w and isinstance(now_of(x), float) for x, w in zip(operands, weak, strict=True)]
        if any(floats):
            dtype = default_float()
        elif dtype is bool_ and any(w and type(now_of(x)) is int for x, w in zip(operands, weak)):  # noqa: B905
            dtype = int64
    shape = broadcast_shapes((), *[v.shape for v in strong])
    rest = iter(strong)
    out = []
    for x, w in zip(operands, weak, strict=True):
        value = next(rest) if not w else x.value if isinstance(x, Number) else constant(x, dtype)
        out.append(as_value(value, dtype, shape))
    return out


def give_operators(kind: type, binary: Callable[[str, bool], Any], unary: Any) -> None:
    """Give a stand-in for an array Python's operators.

    Args:
        binary: from an operation's name, and whether its operands are swapped, to a method.
        unary: from an operation's name to a method.
    """
    for name, op in (
        ("add", "add"), ("sub", "subtract"), ("mul", "multiply"), ("truediv", "divide"),
        ("floordiv", "floor_divide"), ("mod", "remainder"), ("pow", "pow"), ("matmul", "matmul"),
        ("and", "bitwise_and"), ("or", "bitwise_or"), ("xor", "bitwise_xor"),
        ("lshift", "bitwise_left_shift"), ("rshift", "bitwise_right_shift"),
    ):  # fmt: skip
        setattr(kind, f"__{name}__", binary(op, False))
        setattr(kind, f"__r{name}__", binary(op, True))
    for name, op in (
        ("lt", "less"), ("le", "less_equal"), ("gt", "greater"), ("ge", "greater_equal"),
        ("eq", "equal"), ("ne", "not_equal"),
    ):  # fmt: skip
        setattr(kind, f"__{name}__", binary(op, False))
    for name, op in (("neg", "negative"), ("abs", "abs"), ("invert", "bitwise_invert")):
        setattr(kind, f"__{name}__", unary(op))
