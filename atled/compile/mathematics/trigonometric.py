"""sin, cos and tan, from an angle reduced to ±π/4.

The polynomials are minimax (Remez exchange), with errors below 2^-27 and 2^-58 of the result.
"""

from atled.compile.mathematics.reduction import quarter_turns
from atled.compile.mathematics.values import Value, fast_two_sum, fma, horner, through_double

__all__ = ["cos", "sin", "tan"]

# (sin r / r - 1) / r² in r²
SIN = {
    "float": [-1.9507965771481395e-4, 8.332106284797192e-3, -0.16666653752326965],
    "double": [
        *(1.5896683265699746e-10, -2.505075673521611e-08, 2.7557313687671137e-06),
        *(-1.9841269829813562e-4, 8.333333333322455e-3, -0.16666666666666632),
    ],
}
# (cos r - 1) / r² in r²
COS = {
    "float": [2.4430084522464313e-05, -1.3887297827750444e-3, 4.166664555668831e-2, -0.5],
    "double": [
        *(-1.1359801963029388e-11, 2.0875727059084445e-09, -2.7557314387511086e-07),
        *(2.4801587289639453e-05, -1.3888888888874441e-3, 4.16666666666666e-2, -0.5),
    ],
}


def sine_parts(r: Value, tail: Value) -> tuple[Value, Value]:
    """Return sin(r + tail) as r and a rest, for r in ±π/4."""
    z = r * r
    cube = z * r
    rest = horner(z, SIN[r.kind.scalar])
    if r.kind.scalar == "float":
        return r, cube * rest
    return r, fma(cube, rest, fma(z * -0.5, tail, tail))


def cosine_parts(r: Value, tail: Value) -> tuple[Value, Value]:
    """Return cos(r + tail) as 1 and a rest, for r in ±π/4."""
    z = r * r
    rest = z * horner(z, COS[r.kind.scalar])
    if r.kind.scalar == "float":
        return r.const(1.0), rest
    return r.const(1.0), fma(r, -tail, rest)


def sign_bit(flag: Value, bit: int) -> Value:
    """Return a float's sign bit where a bit of an integer is set."""
    return (flag & bit) << (flag.kind.bits - bit.bit_length())


def sin(x: Value) -> Value:
    """Return the sine of an angle in radians."""
    r, tail, k = quarter_turns(x)
    first, rest = sine_parts(r, tail)
    one, less = cosine_parts(r, tail)
    y = (k & 1).equals(0).select(first + rest, one + less)
    y = (y.bits() ^ sign_bit(k, 2)).floats()
    return (abs(x) < 2.0**-30).select(x, y)  # -0.0


def cos(x: Value) -> Value:
    """Return the cosine of an angle in radians."""
    r, tail, k = quarter_turns(x)
    first, rest = sine_parts(r, tail)
    one, less = cosine_parts(r, tail)
    y = (k & 1).equals(0).select(one + less, first + rest)
    return (y.bits() ^ sign_bit(k + 1, 2)).floats()


@through_double
def tan(x: Value) -> Value:
    """Return the tangent of an angle in radians.

    A quotient of sin and cos, or of -cos and sin, with what rounding took from each.
    """
    r, tail, k = quarter_turns(x)
    sine, cosine = fast_two_sum(*sine_parts(r, tail)), fast_two_sum(*cosine_parts(r, tail))
    even = (k & 1).equals(0)
    above, above_rest = (even.select(a, -b) for a, b in zip(sine, cosine, strict=True))
    below, below_rest = (even.select(b, a) for a, b in zip(sine, cosine, strict=True))
    inverse = 1.0 / below
    y = above * inverse
    left = fma(-y, below_rest, fma(-y, below, above) + above_rest)
    return (abs(x) < 2.0**-30).select(x, fma(left, inverse, y))
