"""Folds and scans of the common verbs as one operation on a whole array.

Each takes an array and folds its first axis; None says that the loop has to do it, because sums
or products of integers might leave int64.
"""

from collections.abc import Callable
from typing import Any

from atled import functions as at
from atled.core.tensor import Tensor
from atled.dtypes import float64
from atled.klong.arrays import carries, holds, is_floating, settle, shape_of
from atled.klong.verbs import VERBS

__all__ = ["ASSOCIATIVE", "ATOMIC", "FOLDS", "SCANS", "SYMMETRIC"]

SHORT = 1000  # integers that are summed one by one


def _verb(glyph: str, arity: int = 2) -> Any:
    return VERBS[glyph, arity].run


ATOMIC = frozenset(
    v.run for v in VERBS.values() if v.atomic and v.glyph not in ("$", ":$", ":#", "!", ":%")
)
SYMMETRIC = frozenset(map(_verb, "+*=|&"))


def _settled(reduce: Callable[..., Tensor]) -> Callable[[Tensor], Any]:
    def fold(t: Tensor) -> Any:
        found = reduce(t, axis=0)
        return found if found._value.shape else settle(found)

    return fold


def _sum(t: Tensor) -> Any:
    if not is_floating(t):
        if len(shape_of(t)) == 1 and shape_of(t)[0] <= SHORT and not carries(t):
            return sum(t.tolist())  # exact, and faster than to look whether int64 is enough
        if not _sums_fit(t):
            return None
    found = at.sum(t, axis=0)
    return found if found._value.shape else settle(found)


def _sums_fit(t: Tensor) -> bool:
    """Say whether no sum of integers can leave int64; small ones are known by a glance."""
    largest = at.max(at.abs(t))  # negative for -2^63, whose magnitude has no place in int64
    enough = at.less_equal(largest, (2**63 - 1) // shape_of(t)[0])
    return holds(at.logical_and(enough, at.greater_equal(largest, 0)))


def _products_fit(t: Tensor) -> bool:
    if is_floating(t):
        return True
    magnitude = at.maximum(at.abs(at.astype(t, float64)), 1.0)
    logs = at.sum(at.log2(magnitude), axis=0)
    return holds(at.all(at.less(logs, 62.9)))


def _product(t: Tensor) -> Any:
    return _settled(at.prod)(t) if _products_fit(t) else None


def _difference(t: Tensor) -> Any:
    """a1-a2-a3...: from the left, the first less the sum of the rest."""
    if shape_of(t)[0] == 1 or not (is_floating(t) or _sums_fit(t)):
        return None
    found = at.subtract(t[0], at.sum(t[1:], axis=0))
    return found if found._value.shape else settle(found)


def _merged(t: Tensor) -> Any:
    shape = shape_of(t)
    if len(shape) > 1:
        return at.reshape(t, (shape[0] * shape[1], *shape[2:]))
    return t if shape[0] > 1 else settle(t[0])


def _sums(t: Tensor) -> Any:
    return at.cumulative_sum(t, axis=0) if is_floating(t) or _sums_fit(t) else None


def _products(t: Tensor) -> Any:
    return at.cumulative_prod(t, axis=0) if _products_fit(t) else None


FOLDS: dict[Any, Callable[[Tensor], Any]] = {
    _verb("+"): _sum,
    _verb("-"): _difference,
    _verb("*"): _product,
    _verb("|"): _settled(at.amax),
    _verb("&"): _settled(at.amin),
    _verb(","): _merged,
}


ASSOCIATIVE = frozenset(map(_verb, "+*|&"))  # a f/b is f(a; f/b) for these


def _first_of(values: Any) -> Any:
    return values[0] if isinstance(values, tuple) else values


SCANS: dict[Any, Callable[[Tensor], Any]] = {
    _verb("+"): _sums,
    _verb("*"): _products,
    _verb("|"): lambda t: _first_of(at.cummax(t, 0)),
    _verb("&"): lambda t: _first_of(at.cummin(t, 0)),
}
