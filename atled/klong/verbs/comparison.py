"""Verbs that give truth values, and those that put things in order."""

from functools import cmp_to_key
from typing import Any

from atled import functions as at
from atled.core.tensor import Tensor
from atled.klong.arrays import (
    array,
    carries,
    constant,
    integers,
    is_floating,
    items,
    listed,
    settle,
    shape_of,
)
from atled.klong.errors import KlongError
from atled.klong.match import Numbering, compare, match
from atled.klong.values import (
    NUMBERS,
    Char,
    KlongSymbol,
    is_atom,
    is_list,
    is_undefined,
    kind_of,
    true,
)
from atled.klong.verbs.record import aligned, each_atom, each_pair, is_numeric, verb

__all__: list[str] = []

TEXTS = (str, Char, KlongSymbol)


@verb("=", 2, "Equal", atomic=True)
def equal(a: Any, b: Any) -> Any:
    """a=b: 1 if a and b are equal, else 0. It goes into lists; to compare these, use ~ (Match).

    1=1  -->  1
    "foo"="foo"  -->  1
    :foo=:foo  -->  1
    0cx=0cx  -->  1
    [1 2 3]=[1 4 3]  -->  [1 0 1]
    """
    if type(a) in NUMBERS and type(b) in NUMBERS:
        return int(a == b)
    if is_numeric(a, b):
        return aligned(_equal, equal, "=", a, b)
    if is_list(a) or is_list(b):
        return each_pair(equal, "=", a, b)
    return int(type(a) is type(b) and match(a, b))


def _equal(a: Any, b: Any) -> Tensor:
    return integers(at.equal(a, b))


@verb("<", 2, "Less", atomic=True)
def less(a: Any, b: Any) -> Any:
    """a<b: 1 if a is less than b: numbers by value, characters by code, texts by the alphabet.

    1<2  -->  1
    "bar"<"foo"  -->  1
    :abc<:xyz  -->  1
    0c0<0c9  -->  1
    [1 2 3]<[1 4 3]  -->  [0 1 0]
    """
    if type(a) in NUMBERS and type(b) in NUMBERS:
        return int(a < b)
    if is_numeric(a, b):
        return aligned(_less, less, "<", a, b)
    if type(a) is type(b) and type(a) in TEXTS:
        return int(str(a) < str(b))
    if not (is_list(a) or is_list(b)):
        raise _unlike("<", a, b)
    return each_pair(less, "<", a, b)


def _unlike(glyph: str, a: Any, b: Any) -> KlongError:
    return KlongError(
        f"a{glyph}b compares two numbers, characters, strings or symbols; found {kind_of(a)} "
        f"and {kind_of(b)}"
    )


def _less(a: Any, b: Any) -> Tensor:
    return integers(at.less(a, b))


@verb(">", 2, "More", atomic=True)
def more(a: Any, b: Any) -> Any:
    """a>b: 1 if a is greater than b; see < (Less).

    2>1  -->  1
    "foo">"bar"  -->  1
    :xyz>:abc  -->  1
    0c9>0c0  -->  1
    [1 4 3]>[1 2 3]  -->  [0 1 0]
    """
    if type(a) in NUMBERS and type(b) in NUMBERS:
        return int(a > b)
    if is_numeric(a, b):
        return aligned(_more, more, ">", a, b)
    if type(a) is type(b) and type(a) in TEXTS:
        return int(str(a) > str(b))
    if not (is_list(a) or is_list(b)):
        raise _unlike(">", a, b)
    return each_pair(more, ">", a, b)


def _more(a: Any, b: Any) -> Tensor:
    return integers(at.greater(a, b))


@verb("~", 2, "Match")
def matches(a: Any, b: Any) -> Any:
    """a~b: 1 if a and b are the same: lists element by element, reals up to rounding.

    1~1  -->  1
    "foo"~"foo"  -->  1
    :foo~:foo  -->  1
    0cx~0cx  -->  1
    [1 2 3]~[1 2 3]  -->  1
    [1 [2] 3]~[1 [4] 3]  -->  0
    """
    return int(match(a, b))


@verb("~", 1, "Not", atomic=True)
def negation(a: Any) -> Any:
    """~a: 1 for 0, [] and "", else 0; it goes into lists.

    ~0  -->  1
    ~1  -->  0
    ~[]  -->  1
    ~:foo  -->  0
    ~[0 1 [] [2] "" "x"]  -->  [1 0 1 [0] 1 0]
    """
    if type(a) is Tensor:
        found = _equal(a, 0)
        return found if shape_of(found) else settle(found)
    return each_atom(negation, a) if type(a) is list and a else int(not true(a))


@verb("@", 1, "Atom")
def atom(a: Any) -> Any:
    """@a: 1 if a is an atom: anything but a non-empty list or string.

    @""  -->  1
    @[]  -->  1
    @123  -->  1
    @[1 2 3]  -->  0
    """
    return int(is_atom(a))


@verb(":_", 1, "Undefined")
def undefined(a: Any) -> Any:
    """:_a: 1 if a is undefined, like a division by zero or a key that is not there.

    :_1%0  -->  1
    :_:{[1 2]}?3  -->  1
    :_:valid  -->  0
    """
    return int(is_undefined(a))


def _grade(a: Any, glyph: str) -> Any:
    down = glyph == ">"
    if type(a) is Tensor and len(shape_of(a)) == 1:
        return at.argsort(constant(a), axis=0, descending=down, stable=True)
    if not (is_list(a) or type(a) is str):
        raise KlongError(f"{glyph}a grades a list or a string; found {kind_of(a)}")
    values = items(a)
    sign = -1 if down else 1

    def before(i: int, j: int) -> int:
        return sign * compare(values[i], values[j], glyph)

    return listed(sorted(range(len(values)), key=cmp_to_key(before)))


@verb("<", 1, "Grade-Up")
def grade_up(a: Any) -> Any:
    """<a: the indices that put a list or a string in ascending order; a@<a sorts it.

    <[1 2 3 4 5]  -->  [0 1 2 3 4]
    <"hello"  -->  [1 0 2 3 4]
    """
    return _grade(a, "<")


@verb(">", 1, "Grade-Down")
def grade_down(a: Any) -> Any:
    """>a: the indices that put a list or a string in descending order.

    >[1 2 3 4 5]  -->  [4 3 2 1 0]
    >[[1] [2] [3]]  -->  [2 1 0]
    """
    return _grade(a, ">")


@verb("=", 1, "Group")
def group(a: Any) -> Any:
    """=a: for each different element of a list or string, the list of its indices.

    =[1 2 3 4]  -->  [[0] [1] [2] [3]]
    ="hello foo"  -->  [[0] [1] [2 3] [4 7 8] [5] [6]]
    """
    if not (is_list(a) or type(a) is str):
        raise KlongError(f"=a groups a list or a string; found {kind_of(a)}")
    seen = _numbering(a)
    groups: dict[int, list[int]] = {}
    for i, value in enumerate(items(a)):
        groups.setdefault(seen(value), []).append(i)
    found = list(groups.values())
    if len(set(map(len, found))) == 1:
        return array(found)
    return listed(map(array, found))


def _numbering(a: Any) -> Any:
    """Return what is equal for elements of a that match: themselves, if they are exact."""
    if type(a) is str or (len(shape_of(a)) == 1 and not is_floating(a) and not carries(a)):
        return lambda value: value
    return Numbering().of


@verb("?", 1, "Range")
def unique(a: Any) -> Any:
    """?a: the different elements of a list or string, in order of appearance.

    ?[1 2 3 4]  -->  [1 2 3 4]
    ?[1 1 1 2 2]  -->  [1 2]
    ?"aaabbcccd"  -->  "abcd"
    """
    if type(a) is str:
        return "".join(dict.fromkeys(a))
    if not is_list(a):
        raise KlongError(f"?a takes a list or a string; found {kind_of(a)}")
    seen = _numbering(a)
    found: dict[Any, Any] = {}
    for value in items(a):
        found.setdefault(seen(value), value)
    return listed(found.values())
