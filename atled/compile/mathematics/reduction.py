"""Angles taken modulo π/2, right for arguments of any size.

Below a limit (10^5 in float32, 2^40 in float64) x - k·π/2 with π/2 in three parts is exact
enough, and costs a few instructions. Above it each lane is multiplied by the bits of 2/π that
matter (Payne and Hanek, 1983), in integers of 128 bits. The choice between the two is the only
branch of this room. It lies in functions of their own, so that the body that uses them stays
straight; LLVM puts the first of them in its place.
"""

import math
from functools import lru_cache

from atled.compile.ir import BOOL, F64, I64, Type, Writer
from atled.compile.mathematics.exponential import exponent_of
from atled.compile.mathematics.values import Value, any_lane, fast_two_sum, fma, two_product, two_sum

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
TABLE = (
    f"@atled.two_over_pi = internal constant [{len(TWO_OVER_PI)} x i64] "
    f"[{', '.join(f'i64 {word}' for word in TWO_OVER_PI)}]"
)
I128 = Type("i128")


def quarter_turns(x: Value) -> tuple[Value, Value, Value]:
    """Return r in ±π/4 and its rounding error, and k modulo 4 (an integer as wide as x).

    x = k·π/2 + r + tail. In float32 the tail is 0: r itself is right to half an ulp.
    """
    x.writer.declarations.update(reducer(x.kind))
    whole = integer(x.kind)
    result = f"{{ {x.kind}, {x.kind}, {whole} }}"
    both = x.writer.emit(f"call {result} @atled.reduce.{x.kind.suffix}({x.kind} {x.register})")
    return unpack(x, result, both)


def integer(kind: Type) -> Type:
    """Return the integer type as wide as a float type."""
    return kind.of(f"i{kind.bits}")


def unpack(x: Value, result: str, register: str) -> tuple[Value, Value, Value]:
    """Return the three parts of a reduction's result."""
    kinds = (x.kind, x.kind, integer(x.kind))
    parts = (
        x.emit(f"extractvalue {result} {register}, {at}", kind) for at, kind in enumerate(kinds)
    )
    return tuple(parts)  # type: ignore[return-value]


def pack(writer: Writer, result: str, parts: tuple[Value, ...]) -> None:
    """Write the return of a structure of values."""
    register = "undef"
    for at, part in enumerate(parts):
        operand = f"{part.kind} {part.register}, {at}"
        register = writer.emit(f"insertvalue {result} {register}, {operand}")
    writer.do(f"ret {result} {register}")


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


@lru_cache(None)
def reducer(kind: Type) -> frozenset[str]:
    """Return the functions that reduce angles of a type, and what they need."""
    writer = Writer()
    result = f"{{ {kind}, {kind}, {integer(kind)} }}"
    writer.label("entry")
    x = Value(writer, kind, "%x")
    near = small_angle(x)
    size = abs(x)
    huge = any_lane((size > LIMIT[kind.scalar]) & (size < math.inf))
    writer.do(f"br i1 {huge.register}, label %far, label %done")
    writer.label("far")
    operands = ", ".join(f"{v.kind} {v.register}" for v in (x, *near))
    name = f"@atled.reduce_huge.{kind.suffix}"
    far = unpack(x, result, writer.emit(f"call {result} {name}({operands})"))
    writer.do("br label %done")
    writer.label("done")
    chosen = tuple(
        a.emit(f"phi {a.kind} [{a.register}, %entry], [{b.register}, %far]")
        for a, b in zip(near, far, strict=True)
    )
    pack(writer, result, chosen)
    head = f"define internal {result} @atled.reduce.{kind.suffix}({kind} %x) alwaysinline"
    writer.declare(f"{head} {{\n{writer.text()}\n}}")
    return frozenset(writer.declarations | huge_angles(kind) | payne_hanek())


def huge_angles(kind: Type) -> frozenset[str]:
    """Return the function that reduces, one after another, the lanes above the limit."""
    whole, scalar = integer(kind), Type(kind.scalar)
    result = f"{{ {kind}, {kind}, {whole} }}"
    parameters = f"{kind} %x, {kind} %r, {kind} %tail, {whole} %k"
    head = f"define internal {result} @atled.reduce_huge.{kind.suffix}({parameters}) noinline cold"
    writer = Writer()
    writer.label("entry")
    writer.do("br label %lane")
    writer.label("lane")
    writer.do("%i = phi i64 [0, %entry], [%next, %join]")
    for name, part in (("r", kind), ("tail", kind), ("k", whole)):
        writer.do(f"%{name}.now = phi {part} [%{name}, %entry], [%{name}.new, %join]")
    take = "{0} %x, i64 %i" if kind.lanes > 1 else None
    angle = writer.emit(f"extractelement {take.format(kind)}") if take else "%x"
    size = abs(Value(writer, scalar, angle))
    huge = (size > LIMIT[kind.scalar]) & (size < math.inf)
    writer.do(f"br i1 {huge.register}, label %reduce, label %join")
    writer.label("reduce")
    wide = Value(writer, scalar, angle)
    wide = wide if scalar.scalar == "double" else wide.to("double")
    triple = "{ double, double, i64 }"
    both = writer.emit(f"call {triple} @atled.payne_hanek(double {wide.register})")
    parts = unpack(wide, triple, both)
    names = ("r", "tail", "k")
    for name, part, column in zip(names, parts, (kind, kind, whole), strict=True):
        narrow = part if part.kind.bits == kind.bits else part.to(column.scalar)
        put = f"insertelement {column} %{name}.now, {column.scalar} {narrow.register}, i64 %i"
        keep = f"select i1 true, {column} {narrow.register}, {column} {narrow.register}"
        writer.do(f"%{name}.put = {put if kind.lanes > 1 else keep}")
    writer.do("br label %join")
    writer.label("join")
    for name, part in (("r", kind), ("tail", kind), ("k", whole)):
        writer.do(f"%{name}.new = phi {part} [%{name}.now, %lane], [%{name}.put, %reduce]")
    writer.do("%next = add i64 %i, 1")
    writer.do(f"%more = icmp ult i64 %next, {kind.lanes}")
    writer.do("br i1 %more, label %lane, label %done")
    writer.label("done")
    new = tuple(
        Value(writer, part, f"%{name}.new")
        for name, part in (("r", kind), ("tail", kind), ("k", whole))
    )
    pack(writer, result, new)
    return frozenset(writer.declarations | {f"{head} {{\n{writer.text()}\n}}"})


def window(position: Value) -> list[Value]:
    """Return 192 bits of 2/π from a position in the table on, in three words."""
    writer = position.writer
    words = []
    for at in range(4):
        index = position.binary("lshr", 6) + at
        base = f"getelementptr i64, ptr @atled.two_over_pi, i64 {index.register}"
        words.append(position.emit(f"load i64, ptr {writer.emit(base)}"))
    shifted = []
    for high, low in zip(words, words[1:], strict=False):
        operands = [(I64, v.register) for v in (high, low, position)]
        shifted.append(Value(writer, I64, writer.call("@llvm.fshl.i64", I64, *operands)))
    return shifted


@lru_cache(None)
def payne_hanek() -> frozenset[str]:
    """Return the function that reduces one finite double of at least 2^16.

    x = m·2^e with a whole m. Bits of 2/π whose product with m·2^e is a multiple of 4 are left
    out; of the product with the next 192 bits, the 128 below 4 are kept: the multiple of π/2,
    and at least 60 good bits of a fraction that is never below 2^-62.
    """
    writer = Writer()
    writer.label("entry")
    x = Value(writer, F64, "%x")
    field = x.bits().binary("lshr", 52) & 0x7FF
    mantissa = ((x.bits() & (2**52 - 1)) | 2**52).convert("zext", "i128")
    high, middle, low = (w.convert("zext", "i128") for w in window(field - (1075 - 62)))
    product = ((mantissa * high) << 64) + mantissa * middle + (mantissa * low).binary("lshr", 64)
    k = (product + (1 << 125)).binary("lshr", 126)
    fraction = product - (k << 126)
    size = abs(fraction)
    zeros = Value(writer, I128, writer.call("@llvm.ctlz.i128", I128, (I128, size.register), (BOOL, "false")))
    aligned = size << zeros
    first = aligned.binary("lshr", 75).to("i64").to("double")
    second = (aligned.binary("lshr", 22).to("i64") & (2**53 - 1)).to("double")
    unit = ((zeros.to("i64") * -1 + (1023 - 51)) << 52).floats()
    first, second = first * unit, second * (unit * 2.0**-53)
    pi, rest, _ = HALF_PI["double"]
    r, lost = two_product(first, pi)
    r, tail = fast_two_sum(r, fma(first, rest, fma(second, pi, lost)))
    negative = (fraction < 0) ^ (x < 0.0)
    count = k.to("i64")
    count = (x < 0.0).select(-count, count)
    result = "{ double, double, i64 }"
    pack(writer, result, (negative.select(-r, r), negative.select(-tail, tail), count))
    head = f"define internal {result} @atled.payne_hanek(double %x) noinline"
    return frozenset(writer.declarations | {TABLE, f"{head} {{\n{writer.text()}\n}}"})
