"""Angles taken modulo π/2, right for arguments of any size.

Below a limit (10^5 in float32, 2^40 in float64) x - k·π/2 with π/2 in three parts is exact
enough, and costs a few instructions. Above it x is multiplied by the bits of 2/π that matter
(Payne and Hanek, 1983), in integers of 128 bits, a lane at a time.
"""

import math
from itertools import pairwise

from atled.compile.ir import BOOL, F64, I64, Type, Writer
from atled.compile.mathematics.exponential import exponent_of
from atled.compile.mathematics.rare import Scalar, pack, rarely
from atled.compile.mathematics.values import Value, fast_two_sum, fma, two_product, two_sum

__all__ = ["quarter_turns"]

HALF_PI = {
    "float": (1.5707963705062866, -4.371138828673793e-08, -1.7151245100058819e-15),
    "double": (1.5707963267948966, 6.123233995736766e-17, -1.4973849048591698e-33),
}
LIMIT = {"float": 1e5, "double": 2.0**40}
# 64 zeros, then the bits of 2/π after the point.
TWO_OVER_PI = [
    0,
    *(0xA2F9836E4E441529, 0xFC2757D1F534DDC0, 0xDB6295993C439041, 0xFE5163ABDEBBC561),
    *(0xB7246E3A424DD2E0, 0x06492EEA09D1921C, 0xFE1DEB1CB129A73E, 0xE88235F52EBB4484),
    *(0xE99C7026B45F7E41, 0x3991D639835339F4, 0x9C845F8BBDF9283B, 0x1FF897FFDE05980F),
    *(0xEF2F118B5A0A6D1F, 0x6D367ECF27CB09B7, 0x4F463F669E5FEA2D, 0x7527BAC7EBE5F17B),
    *(0x3D0739F78A5292EA, 0x6BFB5FB11F8D5D08, 0x56033046FC7B6BAB),
]
WORDS = (
    f"@atled.two_over_pi = internal constant [{len(TWO_OVER_PI)} x i64] "
    f"[{', '.join(f'i64 {word}' for word in TWO_OVER_PI)}]"
)


def quarter_turns(x: Value) -> tuple[Value, ...]:
    """Return r in ±π/4, its rounding error, and k modulo 4 (an integer as wide as x).

    x = k·π/2 + r + tail. In float32 the tail may be 0: r itself is right to half an ulp.
    """
    return rarely(PAYNE_HANEK, abs(x) > LIMIT[x.kind.scalar], [x], small_angle(x))


def small_angle(x: Value) -> tuple[Value, Value, Value]:
    """Return the reduction of an angle below the limit."""
    first, second, third = HALF_PI[x.kind.scalar]
    k, n = exponent_of(x, 2 / math.pi)
    r = fma(k, -first, x)  # exact
    if x.kind.scalar == "float":
        return fma(k, -third, fma(k, -second, r)), x.const(0.0), n
    product, lost = two_product(k, second)
    total, left = two_sum(r, -product)
    return *fast_two_sum(total, fma(k, -third, left - lost)), n


def window(position: Value) -> list[Value]:
    """Return 192 bits of 2/π from a position in the table on, in three words."""
    writer = position.writer
    words = []
    for at in range(4):
        index = position.binary("lshr", 6) + at
        base = f"getelementptr i64, ptr @atled.two_over_pi, i64 {index.register}"
        words.append(position.emit(f"load i64, ptr {writer.emit(base)}"))
    shifted = []
    for high, low in pairwise(words):
        operands = [(I64, v.register) for v in (high, low, position)]
        shifted.append(Value(writer, I64, writer.call("@llvm.fshl.i64", I64, *operands)))
    return shifted


def turns_of_window(x: Value) -> tuple[Value, Value]:
    """Return k and the fraction, in units of π/2 · 2^-126, for a finite |x| >= 2^16.

    |x| = m·2^e with a whole m. Bits of 2/π whose product with m·2^e is a multiple of 4 are left
    out; of the product with the next 192 bits, the 128 below 4 are kept: k, and at least 60 good
    bits of a fraction that is never below 2^-62.
    """
    field = x.bits().binary("lshr", 52) & 0x7FF
    mantissa = ((x.bits() & (2**52 - 1)) | 2**52).convert("zext", "i128")
    high, middle, low = (word.convert("zext", "i128") for word in window(field - (1075 - 62)))
    product = ((mantissa * high) << 64) + mantissa * middle + (mantissa * low).binary("lshr", 64)
    k = (product + (1 << 125)).binary("lshr", 126)
    return k, product - (k << 126)


def payne_hanek() -> Scalar:
    """Return the function that reduces one double of at least 2^16; NaN for infinity."""
    writer = Writer()
    writer.label("entry")
    x = Value(writer, F64, "%x")
    k, fraction = turns_of_window(x)
    size = abs(fraction)
    wide = Type("i128")
    zeros = writer.call("@llvm.ctlz.i128", wide, (wide, size.register), (BOOL, "false"))
    aligned = size << Value(writer, wide, zeros)
    first = aligned.binary("lshr", 75).to("i64").to("double")  # 53 bits, and the next 53
    second = (aligned.binary("lshr", 22).to("i64") & (2**53 - 1)).to("double")
    unit = ((1023 - 51 - Value(writer, wide, zeros).to("i64")) << 52).floats()
    first, second = first * unit, second * (unit * 2.0**-53)
    half_pi, rest, _ = HALF_PI["double"]
    r, lost = two_product(first, half_pi)
    r, tail = fast_two_sum(r, fma(first, rest, fma(second, half_pi, lost)))
    below = x < 0.0
    negative = (fraction < 0) ^ below
    turns = below.select(-k.to("i64"), k.to("i64"))
    r = negative.select(-r, r) + (x - x)
    pack(writer, (r, negative.select(-tail, tail), turns))
    results = ("double", "double", "i64")
    head = f"define internal {{ {', '.join(results)} }} @atled.payne_hanek(double %x) noinline"
    text = writer.declarations | {WORDS, f"{head} {{\n{writer.text()}\n}}"}
    return Scalar("@atled.payne_hanek", 1, results, frozenset(text))


PAYNE_HANEK = payne_hanek()
