"""pow, of floats and of integers, and hypot.

pow is e^(y·log x) with both parts in twice the precision where the result is float64; a float32
result is computed in float64.
"""

import math
from functools import lru_cache

from atled.compile.ir import Type, Writer
from atled.compile.mathematics.exponential import clamp, near_one, reduced, scale
from atled.compile.mathematics.logarithm import positive_log, split, with_exponent
from atled.compile.mathematics.values import (
    Value,
    any_lane,
    call,
    fast_two_sum,
    fma,
    horner,
    is_nan,
    two_product,
)

__all__ = ["hypot", "pow", "unsigned_pow"]

# ((2·artanh(s) / s - 2) / s² - 2/3) / s² in s², to 2^-73
ARTANH_TAIL = [
    *(0.12018256059685178, 0.1167131182402199, 0.1333648955645964, 0.15384552426625991),
    *(0.18181818934722896, 0.22222222217021248, 0.28571428571447166, 0.39999999999999974),
]
TWO_THIRDS = (0.6666666666666666, 3.700743415417188e-17)


def precise_log(x: Value) -> tuple[Value, Value]:
    """Return log x as a sum of two, to 65 bits, for a finite x > 0 in float64.

    log m = 2·artanh(s) with s = (m - 1) / (m + 1): 2s + s·s²·(2/3 + …), each product with what
    rounding took from it.
    """
    k, m = split(x)
    f = m - 1.0
    below, below_rest = fast_two_sum(f.const(2.0), f)
    inverse = 1.0 / below
    s = f * inverse
    s_rest = fma(-s, below_rest, fma(-s, below, f)) * inverse
    z, z_rest = two_product(s, s)
    z_rest = fma(s + s, s_rest, z_rest)
    series, series_rest = fast_two_sum(
        z.const(TWO_THIRDS[0]), fma(z, horner(z, ARTANH_TAIL), TWO_THIRDS[1])
    )
    t, t_rest = two_product(z, series)
    t_rest = fma(z, series_rest, fma(z_rest, series, t_rest))
    u, u_rest = two_product(s, t)
    u_rest = fma(s, t_rest, fma(s_rest, t, u_rest))
    high, low = fast_two_sum(s + s, u)
    return with_exponent(k, high, low + (u_rest + (s_rest + s_rest)))


def positive_power(x: Value, y: Value, single: bool) -> Value:
    """Return xʸ for x >= 0, in float64; `single`: good enough for a float32 result."""
    outside = (x > 0.0) & (x < math.inf)
    limit = x.equals(0.0).select(x.const(-math.inf), math.inf)
    if single:
        exponent = clamp(y * outside.select(positive_log(x), limit), -746.0, 710.0)
        n, r, _ = reduced(exponent)
        return scale(near_one(r, r.const(0.0)), n)
    high, low = precise_log(x)
    product, lost = two_product(y, outside.select(high, limit))
    lost = fma(y, low, lost)
    lost = (abs(product) < 800.0).select(lost, 0.0)
    n, r, tail = reduced(clamp(product, -746.0, 710.0))
    return scale(near_one(*fast_two_sum(r, tail + lost)), n)


def power_of_floats(x: Value, y: Value, single: bool) -> Value:
    """Return xʸ as IEEE 754 has it, in float64."""
    size = positive_power(abs(x), y, single)
    half = y * 0.5
    whole = call("trunc", y).equals(y)
    odd = whole & call("trunc", half).differs(half)
    flip = (odd & (x.bits() < 0)).select(x.bits().const(1 << 63), 0)
    signed = (size.bits() ^ flip).floats()
    signed = ((x < 0.0) & (x > -math.inf) & ~whole).select(math.nan, signed)
    signed = (is_nan(x) | is_nan(y)).select(x + y, signed)
    unit = x.equals(1.0) | y.equals(0.0) | (x.equals(-1.0) & abs(y).equals(math.inf))
    return unit.select(1.0, signed)


def pow(x: Value, y: Value) -> Value:
    """Return xʸ.

    An integer to a negative power is the quotient rounded towards zero: 0, or ±1 for x = ±1.
    """
    if not x.kind.is_float:
        return power_of_integers(x, y)
    if x.kind.scalar == "float":
        return power_of_floats(x.to("double"), y.to("double"), True).to("float")
    return power_of_floats(x, y, False)


def power_of_integers(x: Value, y: Value) -> Value:
    """Return xʸ of signed integers, modulo 2^bits."""
    sign = (y & 1).equals(0).select(1, x)
    inverse = (x.equals(1) | x.equals(-1)).select(sign, 0)
    return (y < 0).select(inverse, unsigned_pow(x, y))


def unsigned_pow(x: Value, y: Value) -> Value:
    """Return xʸ of integers without a sign, modulo 2^bits, by repeated squaring."""
    kind = x.kind
    x.writer.declarations.update(repeated_squaring(kind))
    operands = f"{kind} {x.register}, {kind} {y.register}"
    return x.emit(f"call {kind} @atled.power.{kind.suffix}({operands})")


@lru_cache(None)
def repeated_squaring(kind: Type) -> frozenset[str]:
    """Return the function that multiplies: a loop over the bits of the largest exponent."""
    w = Writer()
    w.label("entry")
    w.do("br label %test")
    w.label("test")
    w.do(f"%left = phi {kind} [%y, %entry], [%left.next, %bit]")
    w.do(f"%square = phi {kind} [%x, %entry], [%square.next, %bit]")
    w.do(f"%total = phi {kind} [{kind.const(1)}, %entry], [%total.next, %bit]")
    left, total = Value(w, kind, "%left"), Value(w, kind, "%total")
    w.do(f"br i1 {any_lane(left.differs(0)).register}, label %bit, label %done")
    w.label("bit")
    odd, product = (left & 1).differs(0), total * Value(w, kind, "%square")
    choice = f"{kind} {product.register}, {kind} %total"
    w.do(f"%total.next = select {odd.kind} {odd.register}, {choice}")
    w.do(f"%square.next = mul {kind} %square, %square")
    w.do(f"%left.next = lshr {kind} %left, {kind.const(1)}")
    w.do("br label %test")
    w.label("done")
    w.do(f"ret {kind} %total")
    head = f"define internal {kind} @atled.power.{kind.suffix}({kind} %x, {kind} %y)"
    return frozenset(w.declarations | {f"{head} {{\n{w.text()}\n}}"})


def hypot(x: Value, y: Value) -> Value:
    """Return √(x² + y²), without overflow on the way.

    In float32 the squares are exact in float64. In float64 both sides are scaled by a power of
    two, and the root of the rounded sum is corrected by the rest.
    """
    infinite = abs(x).equals(math.inf) | abs(y).equals(math.inf)
    if x.kind.scalar == "float":
        wide, other = x.to("double"), y.to("double")
        root = call("sqrt", fma(wide, wide, other * other)).to("float")
        return infinite.select(math.inf, root)
    a, b = abs(x), abs(y)
    swapped = b > a
    a, b = swapped.select(b, a), swapped.select(a, b)
    large, small = a > 2.0**500, a < 2.0**-400
    factor = large.select(a.const(2.0**-600), small.select(a.const(2.0**650), 1.0))
    back = large.select(a.const(2.0**600), small.select(a.const(2.0**-650), 1.0))
    a, b = a * factor, b * factor
    square, square_rest = two_product(a, a)
    other, other_rest = two_product(b, b)
    total, rest = fast_two_sum(square, other)
    root = call("sqrt", total)
    left = fma(-root, root, total) + (rest + (square_rest + other_rest))
    better = root + left / (root + root)
    result = total.equals(0.0).select(total, better) * back
    return infinite.select(math.inf, result)
