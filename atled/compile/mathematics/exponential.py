"""exp and its family: a power of two by bits, and a polynomial for what is left.

With n the integer nearest to x / ln 2 and r = x - n·ln 2, which lies in ±0.35:

    eˣ = 2ⁿ · eʳ,   eʳ = 1 + r + r²·q(r)

q is a minimax polynomial (Remez exchange in 200 bits, each coefficient rounded to the type
before the next ones are fitted); its error is below 2^-28 of eʳ in float32 and 2^-59 in float64.
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
    "half_expm1",
    "near_one",
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
        *(1.3861876213923097e-3, 8.371050469577312e-3, 4.16678860783577e-2),
        *(0.1666650027036667, 0.4999999403953552),
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


def exp(x: Value) -> Value:
    """Return eˣ."""
    x = clamp(x, -104.0, 89.0) if x.kind.scalar == "float" else clamp(x, -746.0, 710.0)
    n, r, tail = reduced(x)
    return scale(near_one(r, tail), n)


def exp2(x: Value) -> Value:
    """Return 2ˣ."""
    x = clamp(x, -151.0, 129.0) if x.kind.scalar == "float" else clamp(x, -1076.0, 1025.0)
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
    a = abs(x)
    bound = 9.5 if x.kind.scalar == "float" else 20.0
    a = (a > bound).select(bound, a)
    u, lost = fast_two_sum(*half_expm1(a + a))
    below = u + 1.0
    inverse = 1.0 / below
    y = u * inverse
    left = fma(lost, 1.0 - y, fma(-y, below, u))
    return copysign_to(fma(left, inverse, y), x)


def copysign_to(x: Value, sign: Value) -> Value:
    """Return x >= 0 with the sign of another."""
    top = 1 << (x.kind.bits - 1)
    return (x.bits() | (sign.bits() & top)).floats()


def sigmoid(x: Value) -> Value:
    """Return 1 / (1 + e⁻ˣ), as e⁻ᵃ / (1 + e⁻ᵃ) where x = -a is negative.

    The quotient is corrected by what rounding took from 1 + e⁻ᵃ and from the division.
    """
    e = exp(-abs(x))
    above = (x < 0.0).select(e, 1.0)
    below, lost = fast_two_sum(e.const(1.0), e)
    inverse = 1.0 / below
    y = above * inverse
    return fma(fma(-y, lost, fma(-y, below, above)), inverse, y)
