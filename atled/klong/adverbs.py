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
    items,
    listed,
    shape_of,
    thaw,
)
from atled.klong.errors import KlongError
from atled.klong.folds import ASSOCIATIVE, ATOMIC, FOLDS, SCANS, SYMMETRIC
from atled.klong.limits import limits, size_limit
from atled.klong.match import match
from atled.klong.values import Char, Dictionary, is_list, kind_of, true
from atled.klong.verbs.shape import join, whole_number

__all__ = ["TABLE", "Adverb"]

Monad = Callable[[Any], Any]
Dyad = Callable[[Any, Any], Any]


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


def gathered(found: list[Any], *sources: Any) -> Any:
    """Return the results for the elements of lists; for those of strings, characters as a string.

    Results that are characters stay a string: {x}'"abc" is "abc".
    """
    if all(type(a) is str for a in sources) and all(type(x) is Char for x in found):
        return "".join(found)
    return listed(found)


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
        return gathered([f(x) for x in elements(a)], a)

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
        return gathered([f(x, y) for x, y in zip(xs, ys, strict=False)], a, b)

    return run


def _outer(f: Dyad, a: Any, b: Any) -> Any:
    """Return f of a and each element of b for an atomic f, in one operation; None if not."""
    if type(b) is not Tensor or f not in ATOMIC:
        return None
    if not shape_of(a):
        return f(a, b) if not is_list(a) and type(a) is not str else None
    if len(shape_of(a)) != 1 or len(shape_of(b)) != 1:
        return None
    size_limit(shape_of(a)[0] * shape_of(b)[0])
    rows = at.broadcast_to(at.expand_dims(a, axis=0), (shape_of(b)[0], shape_of(a)[0]))
    return f(rows, b)


@adverb(":\\", 2, "Each-Left", 2)
def each_left(f: Dyad) -> Dyad:
    """a f:\\b: f of a and each element of b."""

    def run(a: Any, b: Any) -> Any:
        if is_atomic(b):
            return f(a, b)
        found = _outer(f, a, b)
        return gathered([f(a, y) for y in elements(b)], b) if found is None else found

    return run


@adverb(":/", 2, "Each-Right", 2)
def each_right(f: Dyad) -> Dyad:
    """a f:/b: f of each element of b and a."""

    def run(a: Any, b: Any) -> Any:
        if is_atomic(b):
            return f(b, a)
        found = _outer(f, a, b) if f in SYMMETRIC else None
        return gathered([f(y, a) for y in elements(b)], b) if found is None else found

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
        return gathered([f(x, y) for x, y in itertools.pairwise(xs)], a)

    return run


# -- folds


@adverb("/", 1, "Over", 2)
def over(f: Dyad) -> Monad:
    """f/a: the elements of a with f between them, from the left."""
    whole = FOLDS.get(f)

    def run(a: Any) -> Any:
        if is_atomic(a) or (f is join and type(a) is str and len(a) > 1):
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
    if f is join and len(xs) > 1:
        return _join_all(xs)
    result = xs[0]
    for x in xs[1:]:
        result = f(result, x)
    return result


def _join_all(xs: list[Any]) -> Any:
    """Join many values in one go, where a fold would copy them again and again."""
    if all(type(x) in (str, Char) for x in xs):
        return "".join(xs)
    result, rest = join(xs[0], xs[1]), xs[2:]
    if rest and is_list(result) and not any(type(x) is Dictionary for x in rest):
        pieces = list(map(_pieces, rest))
        size_limit(sum(map(len, pieces)))
        return listed([*items(result), *itertools.chain.from_iterable(pieces)])
    for x in rest:
        result = join(result, x)
    return result


def _pieces(a: Any) -> list[Any]:
    """Return what Join adds to a list for a value."""
    return items(a) if is_list(a) else [a]


@adverb("/", 2, "Over-Neutral", 2)
def over_neutral(f: Dyad) -> Dyad:
    """a f/b: as f/b, beginning with a."""
    whole = over(f)

    def run(a: Any, b: Any) -> Any:
        if is_atomic(b):
            return f(a, b)
        if type(b) is Tensor and f in ASSOCIATIVE:
            return f(a, whole(b))
        if f is join:
            return _fold(f, [a, *elements(b)], a)
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
        return _scan(f, elements(a)) if type(a) is not str or a else a

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
            limits.spend()
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
            limits.spend()
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
            limits.spend()
            b = f(b)
        return b

    return run


@adverb("\\~", 2, "Scan-While", 1)
def scan_while(f: Monad) -> Dyad:
    """a f\\~b: the values of a f:~b for which a is true."""

    def run(a: Any, b: Any) -> Any:
        goes_on, out = _predicate(a), []
        while true(goes_on(b)):
            limits.spend()
            out.append(b)
            b = f(b)
        return listed(out)

    return run


@adverb(":*", 2, "Iterate", 1)
def iterate(f: Monad) -> Dyad:
    """a f:*b: f of b, a times."""

    def run(a: Any, b: Any) -> Any:
        for _ in range(_times(a)):
            limits.spend()
            b = f(b)
        return b

    return run


@adverb("\\*", 2, "Scan-Iterating", 1)
def scan_iterate(f: Monad) -> Dyad:
    """a f\\*b: b, f of b, f of f of b, ... : the intermediate results of a f:*b."""

    def run(a: Any, b: Any) -> Any:
        out = [b]
        for _ in range(size_limit(_times(a))):
            limits.spend()
            out.append(f(out[-1]))
        return listed(out)

    return run


def _times(a: Any) -> int:
    n = whole_number(a, "a in a f:*b")
    if n < 0:
        raise KlongError(f"a in a f:*b must be 0 or more; found {n}")
    return n
