"""erf and erfc.

In float32, as N. Juffa showed: x times a polynomial in x² up to 0.92, from there on
1 - 2^p(|x|) with a polynomial p for log₂ erfc, which ``python tools/minimax.py`` finds again. In
float64 erfc t = e^(-t²)·P(q) / (1 + 2t) from 0.5 on, with q = (t - K) / (t + K), which lays
[0.5, 27.5] into an interval around 0.
"""

from atled.compile.mathematics.exponential import (
    clamp,
    copysign_to,
    exp_parts,
    exponent_single,
    near_two_to,
    reduced,
    scale,
)
from atled.compile.mathematics.values import (
    Value,
    fast_two_sum,
    fma,
    horner,
    through_double,
    two_product,
)

__all__ = ["erf", "erfc", "erfc_parts"]

# erf x / x - 1 in x², for |x| < 0.93 in float32, 1 in float64
NEAR = {
    "float": [
        *(7.996651402208954e-05, -8.049769676290452e-4, 5.192405078560114e-3),
        *(-2.685573138296604e-2, 0.11283625662326813, -0.3761262893676758, 0.12837916612625122),
    ],
    "double": [
        *(-7.577212034487608e-10, 1.3600651596403336e-08, -1.6180388592331405e-07),
        *(1.6443698539923634e-06, -1.4924430918968373e-05, 1.2055278815612033e-4),
        *(-8.54832543409785e-4, 5.223977595811709e-3, -2.6866170641867193e-2),
        *(0.11283791670936533, -0.3761263890318334, 0.12837916709551256),
    ],
}
# log₂ erfc t, for 0.92 < t < 3.93
FAR = [
    *(2.8125441167503595e-4, -4.376724828034639e-3, 3.201313316822052e-2),
    *(-0.1498330682516098, -0.919380247592926, -1.6268223524093628, -2.9868370620533824e-4),
]
# e^(t²)·erfc(t)·(1 + 2t) in q = (t - 4) / (t + 4), for 0.499 < t < 27.5, to 2^-58
SCALED = [
    *(-1.0179160394281505e-08, -1.2203688860514484e-08, 1.0474842937006578e-07),
    *(6.696701462960314e-08, -8.213104734848431e-07, 2.9962598972694506e-07),
    *(5.707706703742722e-06, -1.1224776181730748e-05, -2.4398554104008576e-05),
    *(1.5062251195436884e-4, -1.992568378916058e-4, -7.577734525834918e-4),
    *(5.031969998183285e-3, -1.619773403772829e-2, 3.716751553573028e-2),
    *(-6.633036581364814e-2, 9.373283499843461e-2, -0.10103906603625223),
    *(6.809705425469076e-2, 1.5379652102619006e-2, -0.1396211168405625),
]
SCALED_CONSTANT = (1.2329951186255526, -4.382050353470228e-17)


def erf_single(x: Value) -> Value:
    """Return the error function in float32."""
    a = abs(x)
    near = fma(x, horner(x * x, NEAR["float"]), x)
    t = (a > 3.93).select(3.93, a)
    exponent = horner(t, FAR)
    k, power = exponent_single(exponent, 1.0, 127)
    far = fma(near_two_to(exponent - k), -power.floats(), 1.0)
    return (a < 0.925).select(near, copysign_to(far, x))


def erfc_core(t: Value) -> Value:
    """Return erfc t in float64, for 0.5 <= t < 27.5."""
    y, _, n = erfc_parts(t)
    return scale(y, n)


def erfc_parts(t: Value) -> tuple[Value, Value, Value]:
    """Return y, p and n, for 0.5 <= t < 27.5: erfc t = y·2ⁿ, e^(-t²) = p·2ⁿ."""
    above, below = t - 4.0, t + 4.0
    q = above / below
    constant, rest = SCALED_CONSTANT
    p, p_rest = fast_two_sum(t.const(constant), fma(q, horner(q, SCALED), rest))
    square, lost = two_product(t, t)
    n, r, tail = reduced(-square)
    power, power_rest = exp_parts(r, tail - lost)
    d, d_rest = fast_two_sum(t.const(1.0), t + t)
    top, top_rest = two_product(power, p)
    top_rest = fma(power, p_rest, fma(power_rest, p, top_rest))
    inverse = 1.0 / d
    y = top * inverse
    left = fma(-y, d_rest, fma(-y, d, top) + top_rest)
    return fma(left, inverse, y), power, n


def erf_double(x: Value) -> Value:
    """Return the error function in float64."""
    a = abs(x)
    near = fma(x, horner(x * x, NEAR["double"]), x)
    far = 1.0 - erfc_core(clamp(a, 0.5, 6.0))
    return (a < 1.0).select(near, copysign_to(far, x))


def erf(x: Value) -> Value:
    """Return the error function."""
    return erf_single(x) if x.kind.scalar == "float" else erf_double(x)


@through_double
def erfc(x: Value) -> Value:
    """Return 1 - erf x, exact where it is small."""
    a = abs(x)
    near = fma(x, horner(x * x, NEAR["double"]), x)
    tail = erfc_core(clamp(a, 0.5, 27.5))
    far = (x < 0.0).select(2.0 - tail, tail)
    return ((x < 0.5) & (x > -1.0)).select(1.0 - near, far)
