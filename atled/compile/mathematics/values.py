"""Formulas over registers: `Value` has Python's operators, each of which writes one instruction.

A function of this room takes Values and returns one, so that it reads like the formula that it
computes. It may not branch on a value: it computes both sides and selects. All operations are
IEEE's, rounded to nearest, with `fma` only where it is written: the same bits with any number of
lanes, on any machine.
"""

import struct
from collections.abc import Callable, Sequence

from atled.compile.ir import BOOL, Type, Writer

__all__ = [
    "Number",
    "Value",
    "all_of",
    "any_lane",
    "call",
    "constant_pair",
    "fast_two_sum",
    "fma",
    "horner",
    "is_nan",
    "through_double",
    "two_product",
    "two_sum",
]


class Value:
    """A register, its type, and the writer of the body that it lies in.

    A number on the other side of an operator becomes a constant of the same type.
    """

    __slots__ = ("kind", "register", "writer")

    def __init__(self, writer: Writer, kind: Type, register: str) -> None:
        self.writer, self.kind, self.register = writer, kind, register

    def const(self, value: "float | int") -> "Value":
        """Return a constant of this value's type."""
        return Value(self.writer, self.kind, self.kind.const(value))

    def emit(self, text: str, kind: Type | None = None) -> "Value":
        """Write an instruction, with a result of this value's type unless told."""
        return Value(self.writer, kind or self.kind, self.writer.emit(text))

    def text(self, other: "Value | float | int") -> str:
        """Return an operand's text: a register, or a constant of this value's type."""
        return other.register if isinstance(other, Value) else self.kind.const(other)

    def binary(self, name: str, other: "Value | float | int") -> "Value":
        """Write ``name self, other``."""
        return self.emit(f"{name} {self.kind} {self.register}, {self.text(other)}")

    def __add__(self, other: "Value | float | int") -> "Value":
        return self.binary("fadd" if self.kind.is_float else "add", other)

    def __sub__(self, other: "Value | float | int") -> "Value":
        return self.binary("fsub" if self.kind.is_float else "sub", other)

    def __mul__(self, other: "Value | float | int") -> "Value":
        return self.binary("fmul" if self.kind.is_float else "mul", other)

    __radd__, __rmul__ = __add__, __mul__

    def __rsub__(self, other: float | int) -> "Value":
        return self.const(other) - self

    def __truediv__(self, other: "Value | float | int") -> "Value":
        return self.binary("fdiv" if self.kind.is_float else "sdiv", other)

    def __rtruediv__(self, other: float | int) -> "Value":
        return self.const(other) / self

    def __neg__(self) -> "Value":
        if self.kind.is_float:
            return self.emit(f"fneg {self.kind} {self.register}")
        return self.const(0) - self

    def __lshift__(self, count: "Value | int") -> "Value":
        return self.binary("shl", count)

    def __rshift__(self, count: "Value | int") -> "Value":
        return self.binary("ashr", count)

    def __and__(self, other: "Value | int") -> "Value":
        return self.binary("and", other)

    def __or__(self, other: "Value | int") -> "Value":
        return self.binary("or", other)

    def __xor__(self, other: "Value | int") -> "Value":
        return self.binary("xor", other)

    def __invert__(self) -> "Value":
        return self ^ (1 if self.kind.scalar == "i1" else -1)

    def compare(self, ordered: str, signed: str, other: "Value | float | int") -> "Value":
        """Write a comparison, under its name for floats or for integers."""
        name = f"fcmp {ordered}" if self.kind.is_float else f"icmp {signed}"
        right = f"{name} {self.kind} {self.register}, {self.text(other)}"
        return self.emit(right, self.kind.of("i1"))

    def __lt__(self, other: "Value | float | int") -> "Value":
        return self.compare("olt", "slt", other)

    def __le__(self, other: "Value | float | int") -> "Value":
        return self.compare("ole", "sle", other)

    def __gt__(self, other: "Value | float | int") -> "Value":
        return self.compare("ogt", "sgt", other)

    def __ge__(self, other: "Value | float | int") -> "Value":
        return self.compare("oge", "sge", other)

    def equals(self, other: "Value | float | int") -> "Value":
        """Return where the two are equal; NaN equals nothing."""
        return self.compare("oeq", "eq", other)

    def differs(self, other: "Value | float | int") -> "Value":
        """Return where the two differ; NaN differs from everything."""
        return self.compare("une", "ne", other)

    def select(self, yes: "Value | float | int", no: "Value | float | int") -> "Value":
        """Return `yes` where this truth value is true, else `no`; one of them is a Value."""
        kind = yes.kind if isinstance(yes, Value) else no.kind  # type: ignore[union-attr]
        texts = [v.register if isinstance(v, Value) else kind.const(v) for v in (yes, no)]
        truth = f"select {self.kind} {self.register}"
        return self.emit(f"{truth}, {kind} {texts[0]}, {kind} {texts[1]}", kind)

    def convert(self, name: str, scalar: str) -> "Value":
        """Write a conversion: ``bitcast``, ``sitofp``, ``fpext``…"""
        kind = self.kind.of(scalar)
        return self.emit(f"{name} {self.kind} {self.register} to {kind}", kind)

    def bits(self) -> "Value":
        """Return a float's bits as an integer of its width."""
        return self.convert("bitcast", f"i{self.kind.bits}")

    def floats(self) -> "Value":
        """Return the float that has these bits."""
        return self.convert("bitcast", "float" if self.kind.bits == 32 else "double")

    def to(self, scalar: str) -> "Value":
        """Return the number in another type: float32 ↔ float64, signed integer ↔ float."""
        target = Type(scalar)
        if target.is_float and self.kind.is_float:
            return self.convert("fpext" if target.bits > self.kind.bits else "fptrunc", scalar)
        if target.is_float:
            return self.convert("sitofp", scalar)
        if self.kind.is_float:
            return self.convert("fptosi", scalar)
        return self.convert("sext" if target.bits > self.kind.bits else "trunc", scalar)

    def __abs__(self) -> "Value":
        if self.kind.is_float:
            return call("fabs", self)
        return (self < 0).select(-self, self)


Number = Value | float | int


def call(name: str, first: Value, *others: Number) -> Value:
    """Call a generic intrinsic of LLVM on operands of one type: ``call("sqrt", x)``."""
    kind = first.kind
    operands = [(kind, first.register), *((kind, first.text(other)) for other in others)]
    register = first.writer.call(f"@llvm.{name}.{kind.suffix}", kind, *operands)
    return Value(first.writer, kind, register)


def fma(a: Value, b: Number, c: Number) -> Value:
    """Return a·b + c with one rounding."""
    return call("fma", a, b, c)


def horner(x: Value, coefficients: Sequence[float]) -> Value:
    """Return the polynomial with these coefficients, the highest power's first."""
    total: Number = coefficients[0]
    for coefficient in coefficients[1:]:
        total = fma(x, total, coefficient)
    return total if isinstance(total, Value) else x.const(total)


def two_sum(a: Value, b: Value) -> tuple[Value, Value]:
    """Return the rounded sum and exactly what it left (Knuth)."""
    total = a + b
    back = total - a
    return total, (a - (total - back)) + (b - back)


def fast_two_sum(a: Value, b: Number) -> tuple[Value, Value]:
    """Return the rounded sum and exactly what it left, where |a| >= |b| (Dekker)."""
    total = a + b
    return total, (b if isinstance(b, Value) else a.const(b)) - (total - a)


def two_product(a: Value, b: Number) -> tuple[Value, Value]:
    """Return the rounded product and exactly what it left."""
    product = a * b
    return product, fma(a, b, -product)


def constant_pair(x: Value, high: float, low: float) -> tuple[float, float]:
    """Return a constant as the sum of two numbers of x's type.

    Args:
        x: a value of the type.
        high, low: the same for float64.
    """
    if x.kind.scalar == "double":
        return high, low
    single: float = struct.unpack("f", struct.pack("f", high))[0]
    return single, high - single


def is_nan(x: Value) -> Value:
    """Return where x is NaN."""
    return x.emit(f"fcmp uno {x.kind} {x.register}, {x.kind.const(0.0)}", x.kind.of("i1"))


def any_lane(truth: Value) -> Value:
    """Return one i1: whether any lane is true."""
    if truth.kind.lanes == 1:
        return truth
    name = f"@llvm.vector.reduce.or.{truth.kind.suffix}"
    register = truth.writer.call(name, BOOL, (truth.kind, truth.register))
    return Value(truth.writer, BOOL, register)


def all_of(*truths: Value) -> Value:
    """Return where all are true."""
    total = truths[0]
    for truth in truths[1:]:
        total = total & truth
    return total


def through_double(function: Callable[..., Value]) -> Callable[..., Value]:
    """Return the function, computed in float64 and rounded where its operands are float32.

    For functions that are seldom in a kernel: it costs two to four times what float32's own
    formula would, and the result is within 0.51 ulp.
    """

    def promoted(*operands: Value) -> Value:
        if operands[0].kind.scalar == "double":
            return function(*operands)
        return function(*(x.to("double") for x in operands)).to("float")

    promoted.__name__, promoted.__doc__ = function.__name__, function.__doc__
    return promoted
