"""exp and its family: a power of two by bits, and a polynomial for what is left.

With n the integer nearest to x / ln 2 and r = x - n·ln 2, which lies in ±0.35:

    eˣ = 2ⁿ · eʳ,   eʳ = 1 + r + r²·q(r)

q is a minimax polynomial (Remez exchange in 200 bits, each coefficient rounded to the type
before the next ones are fitted); its error is below 2^-28 of eʳ in float32 and 2^-59 in float64.
``python tools/minimax.py`` finds float32's EXP, EXP2 and TANH again.

exp, exp2, tanh and sigmoid have formulas of their own in float32, with as few instructions as an
error below 2 ulp allows: a kernel of a network takes as long as they do.
"""

import math

from atled.compile.mathematics.values import (
    Number,
    Value,
    constant_pair,
    fast_two_sum,
    fma,
    horner,
    two_product,
)

__all__ = [
    "BIAS",
    "LN2",
    "MANTISSA",
    "clamp",
    "copysign_to",
    "exp",
    "exp2",
    "exp_parts",
    "expm1",
    "exponent_of",
    "exponent_single",
    "half_expm1",
    "near_one",
    "near_two_to",
    "power_of_two",
    "reduced",
    "scale",
    "sigmoid",
    "tanh",
]

LN2 = (0.6931471805599453, 2.3190468138462995584e-17)
MANTISSA = {"float": 23, "double": 52}  # bits after the point
BIAS = {"float": 127, "double": 1023}

# q, relative to eʳ.
EXP = {
    "float": [
        *(1.3820049352943897e-3, 8.36868304759264e-3, 4.166827350854874e-2),
        *(0.1666652113199234, 0.4999999403953552),
    ],
    "double": [
        *(2.0929850882807097e-09, 2.51102543281541e-08, 2.755722622827967e-07),
        *(2.7557240960990032e-06, 2.480158737866228e-05, 1.9841269889078967e-4),
        *(1.388888888885836e-3, 8.333333333320588e-3, 4.166666666666672e-2),
        *(0.16666666666666677, 0.5),
    ],
}
# q, relative to eʳ - 1; in float64 the one above is good enough.
EXPM1 = {
    "float": [
        *(1.9919582700822502e-4, 1.394210266880691e-3, 8.333264850080013e-3),
        *(4.1666340082883835e-2, 0.1666666716337204, 0.5),
    ],
    "double": EXP["double"],
}
# (2ᶠ - 1) / f, for |f| < 0.5 in float32, to 2^-28
EXP2 = [
    *(1.5326471475418657e-4, 1.3390806270763278e-3, 9.618505835533142e-3),
    *(5.550359934568405e-2, 0.24022647738456726, 0.6931471824645996),
]
# (tanh r / r - 1) / r² in r², for |r| < 0.257 in float32, to 2^-28
TANH = [-5.129304528236389e-2, 0.1332322061061859, -0.33333224058151245]


def exponent_of(scaled: Value, by: Number = 1.0) -> tuple[Value, Value]:
    """Return the integer nearest to ``scaled * by``, as a float and as an integer.

    A number of 1.5·2^23 (2^52) has no bits left for a fraction: adding it rounds, and leaves
    the integer in the low bits. Right up to 2^22 (2^51).
    """
    kind = scaled.kind
    magic = scaled.const(1.5 * 2.0 ** MANTISSA[kind.scalar])
    shifted = fma(scaled, by, magic) if by != 1.0 else scaled + magic
    return shifted - magic, shifted.bits() - magic.bits()


def power_of_two(n: Value) -> Value:
    """Return 2ⁿ as a float, for an n that a normal number can have."""
    scalar = "float" if n.kind.bits == 32 else "double"
    return ((n + BIAS[scalar]) << MANTISSA[scalar]).floats()


def scale(y: Value, n: Value) -> Value:
    """Return y·2ⁿ, rounded once, where the result may overflow or be subnormal."""
    half = n >> 1
    return y * power_of_two(half) * power_of_two(n - half)


def clamp(x: Value, low: float, high: float) -> Value:
    """Return x held between two bounds; NaN passes."""
    x = (x < low).select(low, x)
    return (x > high).select(high, x)


def reduced(x: Value) -> tuple[Value, Value, Value]:
    """Return the integer n nearest to x / ln 2, r = x - n·ln 2, and r's rounding error."""
    ln2, rest = constant_pair(x, *LN2)
    k, n = exponent_of(x, 1 / math.log(2))
    high = fma(k, -ln2, x)  # exact
    r = fma(k, -rest, high)
    return n, r, fma(k, -rest, high - r)


def near_one(r: Value, tail: Value) -> Value:
    """Return eʳ for a small r and its rounding error."""
    return 1.0 + (r + fma(r * r, horner(r, EXP[r.kind.scalar]), tail))


def exp_parts(r: Value, tail: Value) -> tuple[Value, Value]:
    """Return e^(r + tail) as a sum of two."""
    r, tail = fast_two_sum(r, tail)
    s, s_rest = fast_two_sum(r, fma(r * r, horner(r, EXP[r.kind.scalar]), tail))
    high, low = fast_two_sum(r.const(1.0), s)
    return high, low + s_rest


def exponent_single(x: Value, by: float, bias: int) -> tuple[Value, Value]:
    """Return the integer k nearest to ``x * by``, and (k + bias)·2^23, in float32.

    The latter are the bits of 2ᵏ if `bias` is 127: the shift leaves nothing of the magic number
    of `exponent_of`.
    """
    magic = x.const(1.5 * 2.0**23 + bias)
    shifted = x + magic if by == 1.0 else fma(x, by, magic)
    return shifted - magic, shifted.bits() << 23


def remainder_single(x: Value, k: Value) -> Value:
    """Return x - k·ln 2 in float32, rounded once: the first step is exact."""
    ln2, rest = constant_pair(x, *LN2)
    return fma(k, -rest, fma(k, -ln2, x))


def scale_single(y: Value, biased: Value) -> Value:
    """Return y·2ⁿ in float32, of (n + 254)·2^23, rounded once; a NaN of y passes.

    2ⁿ need not be a normal number: it is 2^⌊n/2⌋ times what is left.
    """
    half = biased.binary("lshr", 1) & 0x7F800000
    return y * half.floats() * (biased - half).floats()


def near_two_to(f: Value) -> Value:
    """Return 2ᶠ in float32, for |f| <= 0.5."""
    return fma(f, horner(f, EXP2), 1.0)


def exp(x: Value) -> Value:
    """Return eˣ."""
    if x.kind.scalar == "float":
        return exp_single(x)
    n, r, tail = reduced(clamp(x, -746.0, 710.0))
    return scale(near_one(r, tail), n)


def exp_single(x: Value) -> Value:
    """Return eˣ in float32: 18 instructions."""
    x = clamp(x, -104.0, 89.0)
    k, biased = exponent_single(x, 1 / math.log(2), 254)
    return scale_single(horner(remainder_single(x, k), [*EXP["float"], 1.0, 1.0]), biased)


def exp2(x: Value) -> Value:
    """Return 2ˣ."""
    if x.kind.scalar == "float":
        x = clamp(x, -151.0, 129.0)
        k, biased = exponent_single(x, 1.0, 254)
        return scale_single(near_two_to(x - k), biased)
    x = clamp(x, -1076.0, 1025.0)
    ln2, rest = constant_pair(x, *LN2)
    k, n = exponent_of(x)
    fraction = x - k
    r, tail = two_product(fraction, ln2)
    return scale(near_one(r, fma(fraction, rest, tail)), n)


def half_expm1(x: Value) -> tuple[Value, Value]:
    """Return (eˣ - 1) / 2 as a sum of two, for -50 < x < 89 (710).

    It is (2ⁿ - 1)/2 + 2ⁿ·r/2, summed without error, and a small rest. Half, because 2ⁿ may be
    too large for the type where eˣ is not.
    """
    n, r, tail = reduced(x)
    s = power_of_two(n - 1)
    rest = fma(r * r, horner(r, EXPM1[x.kind.scalar]), tail)
    high, low = fast_two_sum(s - 0.5, s * r)
    return high, fma(s, rest, low)


def expm1(x: Value) -> Value:
    """Return eˣ - 1, exact near zero too."""
    held = clamp(x, -18.0, 89.0) if x.kind.scalar == "float" else clamp(x, -38.0, 710.0)
    high, low = half_expm1(held)
    tiny = abs(x) < 2.0**-60  # -0.0, or half of it would be subnormal
    return tiny.select(x, 2.0 * (high + low))


def tanh(x: Value) -> Value:
    """Return (e²ˣ - 1) / (e²ˣ + 1), from u = (e²ᵃ - 1)/2 with a = |x|: u / (u + 1).

    The quotient is corrected by what rounding took from u and from the division.
    """
    if x.kind.scalar == "float":
        return tanh_single(x)
    a = abs(x)
    a = (a > 20.0).select(20.0, a)
    u, lost = fast_two_sum(*half_expm1(a + a))
    below = u + 1.0
    inverse = 1.0 / below
    y = u * inverse
    left = fma(lost, 1.0 - y, fma(-y, below, u))
    return copysign_to(fma(left, inverse, y), x)


def tanh_single(x: Value) -> Value:
    """Return the hyperbolic tangent in float32: 19 instructions.

    Let |x| = k·ln(2)/2 + r and t = tanh r. By the theorem of addition

        tanh |x| = ((2ᵏ - 1) + (2ᵏ + 1)·t) / ((2ᵏ + 1) + (2ᵏ - 1)·t)

    k = 0 returns t itself. The denominator is taken as the numerator plus 2 - 2t, so that the
    numerator's rounding hardly matters where the quotient is near 1. k is rounded with a bias,
    r lying in [-0.091, 0.256]: then k = 0 reaches up to tanh |x| = 1/4. Just below it the
    quotient would be 2.4 ulp wrong, as it is measured; it is 1.75 at most.
    """
    a = abs(x)
    a = (a > 9.02).select(9.02, a)
    k, power = exponent_single(a - 0.0825, 2 / math.log(2), 127)
    r = fma(k, -math.log(2) / 2, a)
    z = r * r
    t = fma(r * z, horner(z, TANH), r)
    above = fma(t, power.floats() + 1.0, power.floats() - 1.0)
    return copysign_to(above / (above + fma(t, -2.0, 2.0)), x)


def copysign_to(x: Value, sign: Value) -> Value:
    """Return x >= 0 with the sign of another."""
    top = 1 << (x.kind.bits - 1)
    return (x.bits() | (sign.bits() & top)).floats()


def sigmoid(x: Value) -> Value:
    """Return 1 / (1 + e⁻ˣ), as e⁻ᵃ / (1 + e⁻ᵃ) where x = -a is negative.

    The quotient is corrected by what rounding took from 1 + e⁻ᵃ and from the division.
    """
    if x.kind.scalar == "float":
        return sigmoid_single(x)
    e = exp(-abs(x))
    above = (x < 0.0).select(e, 1.0)
    below, lost = fast_two_sum(e.const(1.0), e)
    inverse = 1.0 / below
    y = above * inverse
    return fma(fma(-y, lost, fma(-y, below, above)), inverse, y)


def sigmoid_single(x: Value) -> Value:
    """Return 1 / (1 + e⁻ˣ) in float32, as 2ᵏ / (2ᵏ + e⁻ʳ) with x = k·ln 2 + r: 17 instructions.

    Both sides are multiplied by 1.5. Without that, 1 + 2ᵏ would lose all of 2ᵏ at k = -24, and
    the error would be 2.4 ulp there; it is 1.83 at most. The numerator is 2^24 times as large, so
    that it is a normal number where the result is subnormal.
    """
    x = clamp(x, -104.0, 71.0)
    k, biased = exponent_single(x, 1 / math.log(2), 127 + 24)
    r = remainder_single(x, k)
    above = (biased | 0x400000).floats()  # 1.5·2^(k + 24)
    ascending = [1.0, *reversed(EXP["float"])]
    falling = [1.5 * c * (-1) ** power for power, c in enumerate(ascending, 1)]
    below = fma(r, horner(r, falling[::-1]), fma(above, 2.0**-24, 1.5))
    return above / below * 2.0**-24
