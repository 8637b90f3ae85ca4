"""Adverbs: what makes a new verb of a verb.

An adverb is one record: its glyph, how many operands the new verb takes, how many the verb that
it modifies takes, and a function that makes the new verb. Folds and scans of the common verbs
are one operation on a Tensor; everything else is a loop, and gradients pass through both.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from atled import functions as at
from atled.core.tensor import Tensor
from atled.klong.arrays import (
    carries,
    is_floating,
    items,
    listed,
    settle,
    shape_of,
    size_limit,
    thaw,
)
from atled.klong.errors import KlongError
from atled.klong.match import match
from atled.klong.values import Char, Dictionary, is_list, kind_of, true
from atled.klong.verbs import VERBS
from atled.klong.verbs.shape import join, whole_number

__all__ = ["TABLE", "Adverb"]

Monad = Callable[[Any], Any]
Dyad = Callable[[Any, Any], Any]


SHORT = 1000  # integers that are summed one by one


class Budget:
    """How many rounds loops without a known end may take together; None for no limit."""

    rounds: int | None = None

    @classmethod
    def spend(cls) -> None:
        """Count one round.

        Raises:
            KlongError: there are none left.
        """
        if cls.rounds is not None:
            cls.rounds -= 1
            if cls.rounds < 0:
                raise KlongError("this program took more rounds than it was allowed")


@dataclass(frozen=True, slots=True)
class Adverb:
    """An adverb with one or two operands.

    Attributes:
        glyph: how it is written.
        arity: the number of operands of the verb that it makes.
        name: the manual's name.
        inner: the number of operands of the verb that it modifies.
        make: from that verb to the new one.
    """

    glyph: str
    arity: int
    name: str
    inner: int
    make: Callable[[Any], Callable[..., Any]]


TABLE: dict[tuple[str, int], Adverb] = {}


def adverb(glyph: str, arity: int, name: str, inner: int) -> Callable[[Any], Any]:
    """Enter a function that makes verbs as an adverb."""

    def enter(make: Any) -> Any:
        TABLE[glyph, arity] = Adverb(glyph, arity, name, inner, make)
        return make

    return enter


def elements(value: Any) -> list[Any]:
    """Return what Each goes through: elements, characters, or the tuples of a dictionary."""
    if type(value) is Dictionary:
        return [listed([thaw(k), v]) for k, v in value.items()]
    return items(value)


def is_atomic(value: Any) -> bool:
    """Say whether adverbs take a value as a single element."""
    return not (is_list(value) or type(value) is str or type(value) is Dictionary)


# -- each


@adverb("'", 1, "Each", 1)
def each(f: Monad) -> Monad:
    """f'a: f of each element."""
    whole = f in ATOMIC

    def run(a: Any) -> Any:
        if whole and type(a) is Tensor:
            return f(a)
        if is_atomic(a):
            return f(a)
        found = [f(x) for x in elements(a)]
        if type(a) is str and all(type(x) is Char for x in found):
            return "".join(found)
        return listed(found)

    return run


@adverb("'", 2, "Each-2", 2)
def each_two(f: Dyad) -> Dyad:
    """a f'b: f of the elements of a and b in pairs."""
    whole = f in ATOMIC

    def run(a: Any, b: Any) -> Any:
        if is_atomic(a) and is_atomic(b):
            return f(a, b)
        if whole and type(a) is Tensor and type(b) is Tensor and shape_of(a) == shape_of(b):
            return f(a, b)
        xs, ys = elements(a), elements(b)
        if is_atomic(a):
            xs = [a] * len(ys)
        elif is_atomic(b):
            ys = [b] * len(xs)
        return listed([f(x, y) for x, y in zip(xs, ys, strict=False)])

    return run


def _outer(f: Dyad, a: Any, b: Any) -> Any:
    """Return f of a and each element of b for an atomic f, in one operation; None if not."""
    if type(b) is not Tensor or f not in ATOMIC:
        return None
    if not shape_of(a):
        return f(a, b) if not is_list(a) and type(a) is not str else None
    if len(shape_of(a)) != 1 or len(shape_of(b)) != 1:
        return None
    rows = at.broadcast_to(at.expand_dims(a, axis=0), (shape_of(b)[0], shape_of(a)[0]))
    return f(rows, b)


@adverb(":\\", 2, "Each-Left", 2)
def each_left(f: Dyad) -> Dyad:
    """a f:\\b: f of a and each element of b."""

    def run(a: Any, b: Any) -> Any:
        if is_atomic(b):
            return f(a, b)
        found = _outer(f, a, b)
        return listed([f(a, y) for y in elements(b)]) if found is None else found

    return run


@adverb(":/", 2, "Each-Right", 2)
def each_right(f: Dyad) -> Dyad:
    """a f:/b: f of each element of b and a."""

    def run(a: Any, b: Any) -> Any:
        if is_atomic(b):
            return f(b, a)
        found = _outer(f, a, b) if f in SYMMETRIC else None
        return listed([f(y, a) for y in elements(b)]) if found is None else found

    return run


@adverb(":'", 1, "Each-Pair", 2)
def each_pair(f: Dyad) -> Monad:
    """f:'a: f of each element and the next."""
    whole = f in ATOMIC

    def run(a: Any) -> Any:
        if is_atomic(a):
            return a
        if whole and type(a) is Tensor and shape_of(a)[0] > 1:
            return f(a[:-1], a[1:])
        xs = elements(a)
        if len(xs) < 2:
            return a
        return listed([f(x, y) for x, y in itertools.pairwise(xs)])

    return run


# -- folds


@adverb("/", 1, "Over", 2)
def over(f: Dyad) -> Monad:
    """f/a: the elements of a with f between them, from the left."""
    whole = FOLDS.get(f)

    def run(a: Any) -> Any:
        if is_atomic(a) or (f is join and type(a) is str):
            return a
        if whole is not None and type(a) is Tensor:
            found = whole(a)
            if found is not None:
                return found
        return _fold(f, elements(a), a)

    return run


def _fold(f: Dyad, xs: list[Any], empty: Any) -> Any:
    if not xs:
        return empty
    if f is join and len(xs) > 2:
        return _join_all(xs)
    result = xs[0]
    for x in xs[1:]:
        result = f(result, x)
    return result


def _join_all(xs: list[Any]) -> Any:
    """Join many values: lists in one go, which a fold would copy again and again."""
    if all(type(x) is str for x in xs):
        return "".join(xs)
    if is_list(xs[0]):
        out: list[Any] = []
        for x in xs:
            if type(x) is Dictionary:
                break
            out.extend(items(x) if is_list(x) else [x])
        else:
            return listed(out)
    result = xs[0]
    for x in xs[1:]:
        result = join(result, x)
    return result


@adverb("/", 2, "Over-Neutral", 2)
def over_neutral(f: Dyad) -> Dyad:
    """a f/b: as f/b, beginning with a."""
    whole = over(f)

    def run(a: Any, b: Any) -> Any:
        if is_atomic(b):
            return f(a, b)
        if type(b) is Tensor and f in FOLDS and f is not join:
            return f(a, whole(b))
        result = a
        for x in elements(b):
            result = f(result, x)
        return result

    return run


@adverb("\\", 1, "Scan-Over", 2)
def scan(f: Dyad) -> Monad:
    """f\\a: the intermediate results of f/a."""
    whole = SCANS.get(f)

    def run(a: Any) -> Any:
        if is_atomic(a):
            return listed([a])
        if whole is not None and type(a) is Tensor:
            found = whole(a)
            if found is not None:
                return found
        return _scan(f, elements(a))

    return run


def _scan(f: Dyad, xs: list[Any]) -> Any:
    out = xs[:1]
    for x in xs[1:]:
        out.append(f(out[-1], x))
    return listed(out)


@adverb("\\", 2, "Scan-Over-Neutral", 2)
def scan_neutral(f: Dyad) -> Dyad:
    """a f\\b: the intermediate results of a f/b."""

    def run(a: Any, b: Any) -> Any:
        return _scan(f, [a, *([b] if is_atomic(b) else elements(b))])

    return run


# -- loops


@adverb(":~", 1, "Converge", 1)
def converge(f: Monad) -> Monad:
    """f:~a: f of f of ... a, until nothing changes."""

    def run(a: Any) -> Any:
        while True:
            Budget.spend()
            new = f(a)
            if match(a, new):
                return new if carries(new) else a
            a = new

    return run


@adverb("\\~", 1, "Scan-Converging", 1)
def scan_converge(f: Monad) -> Monad:
    """f\\~a: the intermediate results of f:~a."""

    def run(a: Any) -> Any:
        out = [a]
        while True:
            Budget.spend()
            new = f(out[-1])
            if match(out[-1], new):
                return listed(out)
            out.append(new)

    return run


def _predicate(a: Any) -> Monad:
    run = getattr(a, "run", None)
    if run is None or a.arity > 1:
        raise KlongError(f"a in a f:~b must be a function of one argument; found {kind_of(a)}")
    return run if a.arity else lambda x: run()


@adverb(":~", 2, "While", 1)
def while_(f: Monad) -> Dyad:
    """a f:~b: f of f of ... b, as long as a of it is true."""

    def run(a: Any, b: Any) -> Any:
        goes_on = _predicate(a)
        while true(goes_on(b)):
            Budget.spend()
            b = f(b)
        return b

    return run


@adverb("\\~", 2, "Scan-While", 1)
def scan_while(f: Monad) -> Dyad:
    """a f\\~b: the values of a f:~b for which a is true."""

    def run(a: Any, b: Any) -> Any:
        goes_on, out = _predicate(a), []
        while true(goes_on(b)):
            Budget.spend()
            out.append(b)
            b = f(b)
        return listed(out)

    return run


@adverb(":*", 2, "Iterate", 1)
def iterate(f: Monad) -> Dyad:
    """a f:*b: f of b, a times."""

    def run(a: Any, b: Any) -> Any:
        for _ in range(_times(a)):
            Budget.spend()
            b = f(b)
        return b

    return run


@adverb("\\*", 2, "Scan-Iterating", 1)
def scan_iterate(f: Monad) -> Dyad:
    """a f\\*b: b, f of b, f of f of b, ... : the intermediate results of a f:*b."""

    def run(a: Any, b: Any) -> Any:
        out = [b]
        for _ in range(size_limit(_times(a))):
            Budget.spend()
            out.append(f(out[-1]))
        return listed(out)

    return run


def _times(a: Any) -> int:
    n = whole_number(a, "a in a f:*b")
    if n < 0:
        raise KlongError(f"a in a f:*b must be 0 or more; found {n}")
    return n


# -- verbs for which the whole array is one operation


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
    if not is_floating(t) and not carries(t):
        shape = shape_of(t)
        if len(shape) == 1 and shape[0] <= SHORT:
            return sum(t.tolist())  # exact, and faster than to look whether int64 is enough
        if not _sums_fit(t):
            return None
    found = at.sum(t, axis=0)
    return found if found._value.shape else settle(found)


def _sums_fit(t: Tensor) -> bool:
    """Say whether no sum of integers can leave int64; small ones are known by a glance."""
    if carries(t):
        return True
    largest = int(at.max(at.abs(t)).item())
    return 0 <= largest * shape_of(t)[0] < 2**63


def _products_fit(t: Tensor) -> bool:
    if is_floating(t) or carries(t):
        return True
    magnitude = at.maximum(at.abs(t), 1).astype("float64")
    logs = at.sum(at.log2(magnitude), axis=0)
    return bool(at.all(at.less(logs, 62.9)).item())


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
    return at.reshape(t, (shape[0] * shape[1], *shape[2:])) if len(shape) > 1 else t


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


def _first_of(values: Any) -> Any:
    return values[0] if isinstance(values, tuple) else values


SCANS: dict[Any, Callable[[Tensor], Any]] = {
    _verb("+"): _sums,
    _verb("*"): _products,
    _verb("|"): lambda t: _first_of(at.cummax(t, 0)),
    _verb("&"): lambda t: _first_of(at.cummin(t, 0)),
}
