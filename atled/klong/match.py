"""When values are the same, and which comes first.

Two reals match if they differ by at most 64 units in the last place (relative 1.4e-14).
"""

import itertools
import math
from typing import Any

from atled.core.tensor import Tensor
from atled.klong.arrays import constant, items, known
from atled.klong.errors import KlongError
from atled.klong.limits import limits
from atled.klong.values import (
    NUMBERS,
    Char,
    Dictionary,
    KlongSymbol,
    is_list,
    is_undefined,
    kind_of,
)

__all__ = ["CLOSE", "Numbering", "compare", "match"]

CLOSE = 64 * 2.0**-52
TEXTS = (str, Char, KlongSymbol)


def match(a: Any, b: Any) -> bool:
    """Say whether `a~b`: lists pairwise and recursively, reals up to rounding."""
    ka, kb = type(a), type(b)
    if ka in NUMBERS and kb in NUMBERS:
        if ka is int and kb is int:
            return bool(a == b)
        return _close(a, b)
    if a is b:
        return True
    if ka is Tensor or kb is Tensor:
        return _arrays_match(known(a), known(b))
    if ka is list and kb is list:
        limits.spend(len(a))
        return len(a) == len(b) and all(map(match, a, b))
    if ka is Dictionary and kb is Dictionary:
        return len(a) == len(b) and all(k in b and match(v, b[k]) for k, v in a.items())
    if is_undefined(a) or is_undefined(b):
        return is_undefined(a) and is_undefined(b)
    if ka is not kb:
        return False
    try:
        return bool(a == b)
    except (TypeError, ValueError):  # foreign objects with an == of their own
        return a is b


def _close(a: Any, b: Any) -> bool:
    try:
        x, y = float(a), float(b)
    except OverflowError:
        return bool(a == b)
    if not (math.isfinite(x) and math.isfinite(y)):
        return x == y or (not math.isfinite(x) and not math.isfinite(y))
    return math.isclose(x, y, rel_tol=CLOSE)


def _arrays_match(a: Any, b: Any) -> bool:
    if type(a) is Tensor and type(b) is Tensor:
        if a.shape != b.shape:
            return False
        if not (a.dtype.is_floating_point or b.dtype.is_floating_point):
            return bool((a == b).all().item())
        return _nests_match(a.tolist(), b.tolist())
    if is_list(a) != is_list(b):
        return False
    if type(a) is not Tensor and type(b) is not Tensor:
        return match(a, b)
    if type(a) is list or type(b) is list:
        xs, ys = items(a), items(b)
        return len(xs) == len(ys) and all(map(match, xs, ys))
    return False


def _nests_match(a: Any, b: Any) -> bool:
    if isinstance(a, list):
        return all(map(_nests_match, a, b))
    return _close(a, b)


def compare(a: Any, b: Any, glyph: str) -> int:
    """Return -1, 0 or 1 as a is less than, equal to, or more than b; lists recursively.

    Raises:
        KlongError: they are of different kinds.
    """
    if type(a) is Tensor:
        a = constant(a)
    if type(b) is Tensor:
        b = constant(b)
    if (type(a) in NUMBERS and type(b) in NUMBERS) or (type(a) is type(b) and type(a) in TEXTS):
        x, y = (a, b) if type(a) in NUMBERS else (str(a), str(b))
        return (x > y) - (x < y)
    if is_list(a) and is_list(b):
        xs, ys = items(a), items(b)
        for x, y in zip(xs, ys, strict=False):
            if found := compare(x, y, glyph):
                return found
        return (len(xs) > len(ys)) - (len(xs) < len(ys))
    raise KlongError(f"{glyph} cannot compare {kind_of(a)} with {kind_of(b)}")


class Numbering:
    """Number different values in the order in which they come; those that match have one number.

    Values are looked up by the cells in which their numbers lie. A number at the edge of its cell
    may match one in the next cell, so the value is looked for there, too.
    """

    def __init__(self) -> None:
        self.count = 0
        self._known: dict[Any, list[tuple[Any, int]]] = {}

    def of(self, value: Any) -> int:
        """Return the number of the first value that this one matches, or a new one."""
        keys = _keys(constant(value))
        for key in keys:
            for other, number in self._known.get(key, ()):
                if match(other, value):
                    return number
        self._known.setdefault(keys[0], []).append((value, self.count))
        self.count += 1
        return self.count - 1


def _keys(a: Any) -> list[Any]:
    """Return the hashables under which values that match may be known, its own first."""
    if type(a) in NUMBERS:
        return _cells(a)
    if is_list(a):
        inner = [_keys(x) for x in (a.tolist() if type(a) is Tensor else a)]
        return list(itertools.islice(itertools.product(*inner), MOST_KEYS))
    if type(a) in TEXTS:
        return [(type(a), str(a))]
    return [(Dictionary, len(a)) if type(a) is Dictionary else type(a)]


def _cells(a: Any) -> list[Any]:
    """Return the cells, of relative width 2⁻²⁰, that hold the numbers which match a number."""
    try:
        mantissa, exponent = math.frexp(a)
    except OverflowError:  # an integer beyond the reals
        return [a]
    if not math.isfinite(mantissa):
        return [None]
    at = (abs(mantissa) - 0.5) * 2**21 + 0.37  # small integers lie inside their cells
    first, others = math.floor(at), {math.floor(at - EDGE), math.floor(at + EDGE)}
    below = exponent * 2**20
    return [(a < 0, below + c) for c in (first, *(others - {first}))]


EDGE = 2.0**-20
MOST_KEYS = 64  # a value with more than six numbers at edges may be taken for a new one
