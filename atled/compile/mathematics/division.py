"""remainder and floor_divide with Python's signs, of floats and of integers."""

import math

from atled.compile.ir import F64, I64, Writer
from atled.compile.mathematics.exponential import scale
from atled.compile.mathematics.rare import Scalar, pack, rarely
from atled.compile.mathematics.values import Value, call, fma

__all__ = ["floor_divide", "remainder", "unsigned_floor_divide", "unsigned_remainder"]


def mantissa_and_exponent(x: Value) -> tuple[Value, Value]:
    """Return whole m and e with x = m·2^(e - 1075), of a finite double x >= 0."""
    field, fraction = x.bits().binary("lshr", 52), x.bits() & (2**52 - 1)
    normal = field.differs(0)
    return normal.select(fraction | 2**52, fraction), normal.select(field, 1)


def long_division() -> Scalar:
    """Return the function for the rest of a by b, of finite doubles a >= b > 0.

    a's mantissa is shifted by the difference of the exponents, 11 bits at a time, and the rest
    by b's mantissa taken each time.
    """
    writer = Writer()
    writer.label("entry")
    top, top_exponent = mantissa_and_exponent(Value(writer, F64, "%a"))
    bottom, exponent = mantissa_and_exponent(Value(writer, F64, "%b"))
    first = top.binary("urem", bottom)
    count = top_exponent - exponent
    writer.do("br label %test")
    writer.label("test")
    writer.do(f"%rest = phi i64 [{first.register}, %entry], [%rest.next, %step]")
    writer.do(f"%left = phi i64 [{count.register}, %entry], [%left.next, %step]")
    rest, left = Value(writer, I64, "%rest"), Value(writer, I64, "%left")
    writer.do(f"br i1 {(left > 0).register}, label %step, label %done")
    writer.label("step")
    shift = (left < 11).select(left, 11)
    writer.do(f"%rest.next = urem i64 {(rest << shift).register}, {bottom.register}")
    writer.do(f"%left.next = sub i64 %left, {shift.register}")
    writer.do("br label %test")
    writer.label("done")
    pack(writer, [scale(rest.to("double"), exponent - 1075)])
    head = "define internal { double } @atled.fmod(double %a, double %b) noinline"
    text = writer.declarations | {f"{head} {{\n{writer.text()}\n}}"}
    return Scalar("@atled.fmod", 2, ("double",), frozenset(text))


LONG_DIVISION = long_division()


def truncated_remainder(x: Value, y: Value) -> Value:
    """Return x - y·trunc(x / y), exactly, with the sign of x: C's fmod."""
    a, b = abs(x), abs(y)
    quotient = a / b
    # Exact while the quotient is; rounding may have made it one too large, never too small.
    rest = fma(call("trunc", quotient), -b, a)
    rest = (rest < 0.0).select(rest + b, rest)
    rest = (a < b).select(a, rest)
    limit = 2.0**22 if x.kind.scalar == "float" else 2.0**51
    rare = (quotient >= limit) & (a < math.inf) & (b > 0.0)
    (rest,) = rarely(LONG_DIVISION, rare, [a, b], [rest])
    return call("copysign", rest, x)


def remainder(x: Value, y: Value) -> Value:
    """Return x - y·floor(x / y), with the sign of y; an integer's by 0 is 0."""
    if not x.kind.is_float:
        return integer_division(x, y)[1]
    rest = truncated_remainder(x, y)
    moved = ((y < 0.0) ^ (rest < 0.0)).select(rest + y, rest)
    return rest.equals(0.0).select(call("copysign", x.const(0.0), y), moved)


def floor_divide(x: Value, y: Value) -> Value:
    """Return floor(x / y), as Python and NumPy define it; an integer's by 0 is 0.

    (x - remainder) / y is nearly whole: it is rounded to the nearest integer.
    """
    if not x.kind.is_float:
        return integer_division(x, y)[0]
    rest = truncated_remainder(x, y)
    quotient = (x - rest) / y
    differs = rest.differs(0.0) & ((y < 0.0) ^ (rest < 0.0))
    quotient = differs.select(quotient - 1.0, quotient)
    whole = call("floor", quotient)
    whole = (quotient - whole > 0.5).select(whole + 1.0, whole)
    zero = call("copysign", x.const(0.0), x / y)
    return y.equals(0.0).select(x / y, quotient.equals(0.0).select(zero, whole))


def integer_division(x: Value, y: Value) -> tuple[Value, Value]:
    """Return floor(x / y) and the rest, both 0 for y = 0; no processor traps.

    The most negative integer by -1 is itself, as NumPy has it, rest 0.
    """
    none, minus = y.equals(0), y.equals(-1)
    safe = (none | minus).select(1, y)
    quotient = x / safe
    rest = x - quotient * safe
    down = rest.differs(0) & ((rest ^ safe) < 0)
    quotient, rest = down.select(quotient - 1, quotient), down.select(rest + safe, rest)
    quotient = none.select(0, minus.select(-x, quotient))
    return quotient, none.select(0, rest)


def unsigned_floor_divide(x: Value, y: Value) -> Value:
    """Return x / y of integers without a sign, cut to a whole number; 0 for y = 0."""
    none = y.equals(0)
    return none.select(0, x.binary("udiv", none.select(1, y)))


def unsigned_remainder(x: Value, y: Value) -> Value:
    """Return the rest of x by y, of integers without a sign; 0 for y = 0."""
    none = y.equals(0)
    return none.select(0, x.binary("urem", none.select(1, y)))
