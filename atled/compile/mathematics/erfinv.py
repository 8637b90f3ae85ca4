"""erfinv: a polynomial up to ½; above, a first guess and one step of Halley's iteration.

The guess is a polynomial in w = -log(1 - x²), as M. Giles proposed ("Approximating the erfinv
function", 2010), or near 1 in √(-log(1 - x)). It is right to 2^-23, which the step cubes.
"""

import math

from atled.compile.mathematics.erf import erfc_parts
from atled.compile.mathematics.exponential import clamp, copysign_to, power_of_two
from atled.compile.mathematics.logarithm import positive_log
from atled.compile.mathematics.values import Value, call, fma, horner, through_double

__all__ = ["erfinv"]

# erfinv x / x - 1 in x², for x < ½, to 2^-57
NEAR = [
    *(0.1294439071142994, -0.12211807447409495, 0.1073980773904506, -1.472936265203177e-2),
    *(3.2266941685235286e-2, 2.3142665670833232e-2, 2.8246029805391967e-2),
    *(3.16616963457457e-2, 3.646796337683185e-2, 4.283661293288476e-2, 5.173128591478322e-2),
    *(6.495961765145875e-2, 8.65521292429029e-2, 0.1275561753055877, 0.23201366653465452),
    -0.11377307454724199,
]
# erfinv x / x in w - 2.5, for ½ <= x < 0.996
MIDDLE = [
    *(1.6281764326050008e-08, 3.582336979595798e-07, -3.401816762883979e-06),
    *(-4.516312111569088e-06, 2.1818917842081364e-4, -1.2534346804471436e-3),
    *(-4.177276829465722e-3, 0.24664057795364286, 1.501409351221317),
]
# erfinv x in √(-log(1 - x)) - 4, for 0.996 <= x < 1
FAR = [
    *(9.817844955512084e-07, -4.441861526742859e-06, 7.46839947659956e-06),
    *(-1.0722245253354177e-05, -1.4586306482558147e-05, 4.724984502830282e-4),
    *(-4.280380078496473e-3, 1.0318543449288204, 3.751359342810788),
]


@through_double
def erfinv(x: Value) -> Value:
    """Return the inverse of the error function; NaN outside ±1."""
    a = abs(x)
    near = fma(a, horner(a * a, NEAR), a)
    rest = 1.0 - clamp(a, 0.5, 1.0 - 2.0**-53)  # exact
    far = rest < 0.004
    w = -positive_log(far.select(rest, rest * (2.0 - rest)))
    middle = horner(w - 2.5, MIDDLE) * (1.0 - rest)
    y = far.select(horner(call("sqrt", w) - 4.0, FAR), middle)
    value, power, n = erfc_parts(y)
    # A step of Newton is (erf y - x) / erf' y, and erf'' / erf' = -2y makes it one of Halley.
    s = power_of_two(n)
    step = (rest - value * s) / (power * s * (2 / math.sqrt(math.pi)))
    y = y - step / fma(y, step, 1.0)
    y = (a < 0.5).select(near, y)
    y = (a < 1.0).select(y, a.equals(1.0).select(a.const(math.inf), math.nan))
    return copysign_to(y, x)
