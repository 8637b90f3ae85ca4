"""Find the float32 polynomials of ``atled/compile/mathematics`` again.

``python tools/minimax.py`` prints the tables as they stand in `exponential.py`, `logarithm.py`
and `erf.py`, highest power first, each with its largest error in units of 2^-24, half the
distance of the float32 numbers above 1.

A polynomial with the least largest error is found by the exchange of E. Remez (1934), one point
at a time, in 120 bits. Its lowest coefficient is rounded to float32 and the others are fitted
again to what is left, and so on upwards: the higher ones make good what rounding took.
"""

import struct
from collections.abc import Callable
from typing import Any

import mpmath

__all__ = ["POLYNOMIALS", "Polynomial", "fitted"]

mp = mpmath.mp.clone()
mp.prec = 120
Function = Callable[[Any], Any]


def rounded(x: Any) -> float:
    """Return the nearest float32 number."""
    nearest: float = struct.unpack("f", struct.pack("f", float(x)))[0]
    return nearest


class Polynomial:
    """A polynomial that is wanted, on an interval.

    Args:
        function: what it approximates.
        weight: the error at x is ``|weight(x) * (function(x) - polynomial(x))|``.
        low, high: the interval.
        known: its lowest coefficients, if they are given.
        degree: of the polynomial.
    """

    def __init__(
        self,
        function: Function,
        weight: Function,
        low: Any,
        high: Any,
        degree: int,
        known: tuple[float, ...] = (),
    ) -> None:
        self.function, self.weight, self.degree, self.known = function, weight, degree, known
        # Chebyshev's points: dense at the ends, and none of them is 0.
        count = 80 * (degree + 2)
        middle, half = mp.mpf(low + high) / 2, mp.mpf(high - low) / 2
        angles = (mp.pi * (at + mp.mpf(1) / 2) / count for at in range(count))
        self.points = [middle - half * mp.cos(angle) for angle in angles]
        self.values = [function(x) for x in self.points]
        self.weights = [abs(weight(x)) for x in self.points]

    def left_by(self, coefficients: list[Any]) -> list[Any]:
        """Return the function less a polynomial, lowest power first, at all points."""
        pairs = zip(self.points, self.values, strict=True)
        return [value - mp.polyval(coefficients[::-1], x) for x, value in pairs]

    def error(self, coefficients: list[Any]) -> float:
        """Return a polynomial's largest error, in units of 2^-24."""
        left = self.left_by(coefficients)
        return float(max(abs(w * e) for w, e in zip(self.weights, left, strict=True)) * 2**24)


def remez(points: list[Any], values: list[Any], weights: list[Any], count: int) -> list[Any]:
    """Return the best polynomial of `count` coefficients over points, lowest power first.

    On the reference, a set of count + 1 points, the error is made the same with alternating
    signs. The point where it is largest then takes the place of a neighbour with its sign.
    """
    top = max(weights)
    kept = [at for at, weight in enumerate(weights) if weight > top * mp.mpf(2) ** -40]
    reference = [kept[(len(kept) - 1) * at // count] for at in range(count + 1)]
    for _ in range(500):
        rows = mp.matrix(count + 1)
        for row, at in enumerate(reference):
            for power in range(count):
                rows[row, power] = points[at] ** power
            rows[row, count] = (-1) ** row / weights[at]
        *solution, level = mp.lu_solve(rows, mp.matrix([values[at] for at in reference]))
        errors = {
            at: weights[at] * (values[at] - mp.polyval(solution[::-1], points[at])) for at in kept
        }
        worst = max(kept, key=lambda at: abs(errors[at]))
        if abs(errors[worst]) <= abs(level) * 1.001:
            return solution
        reference = exchanged(reference, worst, errors)
    raise RuntimeError("Remez's exchange did not converge")


def exchanged(reference: list[int], worst: int, errors: dict[int, Any]) -> list[int]:
    """Return the reference with a point put in so that signs still alternate."""
    alike = [(errors[at] > 0) == (errors[worst] > 0) for at in reference]
    place = sum(at < worst for at in reference)
    if place == 0:
        return [worst, *(reference[1:] if alike[0] else reference[:-1])]
    if place == len(reference):
        return [*(reference[:-1] if alike[-1] else reference[1:]), worst]
    place -= alike[place - 1]
    return [*reference[:place], worst, *reference[place + 1 :]]


def fitted(wanted: Polynomial) -> list[float]:
    """Return float32 coefficients, lowest power first."""
    found = list(wanted.known)
    for power in range(len(found), wanted.degree + 1):
        left = wanted.left_by(found)
        powers = [x**power for x in wanted.points]
        rest = [value / p for value, p in zip(left, powers, strict=True)]
        weights = [weight * abs(p) for weight, p in zip(wanted.weights, powers, strict=True)]
        found.append(rounded(remez(wanted.points, rest, weights, wanted.degree + 1 - power)[0]))
    return found


def tanh_rest(z: Any) -> Any:
    """Return (tanh r / r - 1) / r², of z = r²."""
    r = mp.sqrt(z)
    return (mp.tanh(r) / r - 1) / z


def logarithm_rest(f: Any) -> Any:
    """Return (log(1 + f) - f) / f²."""
    return (mp.log1p(f) - f) / f**2


HALF_LN2 = mp.ln2 / 2 * mp.mpf("1.001")
POLYNOMIALS = {
    # eʳ, after 1 + r; the error is relative to eʳ
    "EXP": Polynomial(mp.exp, lambda r: mp.exp(-r), -HALF_LN2, HALF_LN2, 6, (1.0, 1.0)),
    # 2ᶠ, after 1
    "EXP2": Polynomial(
        lambda f: mp.mpf(2) ** f,
        lambda f: mp.mpf(2) ** -f,
        -mp.mpf("0.5"),
        mp.mpf("0.5"),
        6,
        (1.0,),
    ),
    # relative to tanh r, for 0 < r < 0.257
    "TANH": Polynomial(tanh_rest, lambda z: z, mp.mpf(0), mp.mpf("0.066"), 2),
    # after f - f²/2; relative to log(1 + f)
    "LOG": Polynomial(
        logarithm_rest,
        lambda f: f**2 / mp.log1p(f),
        mp.sqrt(0.5) - mp.mpf("1.0001"),
        mp.sqrt(2) - mp.mpf("0.9999"),
        8,
        (-0.5,),
    ),
    # log₂ erfc t, where 1 - 2^p is wanted
    "FAR": Polynomial(
        lambda t: mp.log(mp.erfc(t), 2),
        lambda t: mp.erfc(t) * mp.ln2,
        mp.mpf("0.92"),
        mp.mpf("3.93"),
        6,
    ),
}


def main() -> None:
    """Print the tables."""
    for name, wanted in POLYNOMIALS.items():
        coefficients = fitted(wanted)
        print(f"{name}: error {wanted.error(list(coefficients)):.3f}")
        for coefficient in reversed(coefficients[len(wanted.known) :]):
            print(f"    {coefficient!r},")


if __name__ == "__main__":
    main()
