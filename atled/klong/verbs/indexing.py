"""Verbs that look into lists, strings and dictionaries, and make changed copies of them."""

from typing import Any

from atled import functions as at
from atled.core.tensor import Tensor
from atled.klong.arrays import (
    EXACT,
    array,
    constant,
    freeze,
    holds,
    is_floating,
    items,
    listed,
    real,
    settle,
    shape_of,
)
from atled.klong.errors import KlongError
from atled.klong.match import CLOSE, match
from atled.klong.values import (
    NUMBERS,
    UNDEFINED,
    Char,
    Dictionary,
    Function,
    is_list,
    kind_of,
)
from atled.klong.verbs.record import verb
from atled.klong.verbs.shape import length, shape_list, whole_number, whole_numbers

__all__ = ["element", "index"]


@verb("@", 2, "At")
def index(a: Any, b: Any) -> Any:
    """a@b: the element of a at index b, or the elements at the indices b.

    A function a is applied to b, or to the elements of the list b. A dictionary is looked up.

    [1 2 3 4]@2  -->  3
    [1 2 3 4 5]@[1 2 3]  -->  [2 3 4]
    [1 2 3 4 5]@[0 0 0]  -->  [1 1 1]
    "hello world"@[3 7 2]  -->  "lol"
    {x}@:foo  -->  :foo
    {y+x*x}@[2 3]  -->  7
    """
    if isinstance(a, Function):
        return apply_to(a, b)
    if type(a) is Dictionary:
        return a.get(freeze(b), UNDEFINED)
    size = length(a, "a in a@b")
    if not is_list(b):
        return element(a, whole_number(b, "b in a@b"), size)
    places = constant(b)
    if type(places) is Tensor and type(a) is Tensor and not is_floating(places):
        inside = at.logical_and(at.greater_equal(places, 0), at.less(places, size))
        if not holds(at.all(inside)):
            wrong = next(i for i in _flat(places) if not 0 <= i < size)
            raise _range(wrong, size)
        return at.take(a, places, axis=0)
    if (type(b) is list and any(map(is_list, b))) or len(shape_of(b)) > 1:
        return listed([index(a, row) for row in items(b)])
    found = [element(a, i, size) for i in whole_numbers(places, "b in a@b")]
    return "".join(found) if type(a) is str else listed(found)


def _flat(t: Tensor) -> Any:
    return at.reshape(t, (-1,)).tolist()


def apply_to(function: Function, b: Any) -> Any:
    """Call a function with the elements of a list, or with an atom."""
    if function.arity == 0:
        return function.run()
    args = items(b) if is_list(b) else [b]
    if len(args) != function.arity and function.arity == 1:
        args = [b]
    if len(args) != function.arity:
        raise KlongError(f"{function.name} takes {function.arity} arguments; found {len(args)}")
    return function.run(*args)


def element(a: Any, i: int, size: int) -> Any:
    """Return one element of a list or a string.

    Raises:
        KlongError: there is none at this index.
    """
    if not 0 <= i < size:
        raise _range(i, size)
    if type(a) is Tensor:
        return settle(a[i])
    return Char(a[i]) if type(a) is str else a[i]


def _range(i: int, size: int) -> KlongError:
    where = f"indices go from 0 to {size - 1}" if size else "there are no elements"
    return KlongError(f"index {i} is out of range: {where}")


@verb(":@", 2, "Index-in-Depth")
def index_in_depth(a: Any, b: Any) -> Any:
    """a:@b: the single element of an array at the indices b, one for each axis.

    [[1 2] [3 4]]:@[0 1]  -->  2
    [[[1]]]:@[0 0 0]  -->  1
    {y+x*x}:@[2 3]  -->  7
    """
    if isinstance(a, Function):
        return apply_to(a, b)
    places = whole_numbers(b, "b in a:@b")
    _check_rank(a, places, "a:@b")
    for i in places:
        a = element(a, i, length(a, "a in a:@b, at this depth,"))
    return a


def _check_rank(a: Any, places: list[int], what: str) -> None:
    """Refuse fewer indices than an array has axes; a list that is none may be followed deeper."""
    axes = shape_list(a)
    if len(places) < len(axes):
        raise KlongError(
            f"{what} needs an index for each axis of an array of shape {axes}; found {len(places)}"
        )


@verb("?", 2, "Find")
def find(a: Any, b: Any) -> Any:
    """a?b: the indices at which b is found in a; for a dictionary, the value of the key b.

    [1 2 3 1 2 1]?1  -->  [0 3 5]
    [1 2 3]?4  -->  []
    "hello"?0cl  -->  [2 3]
    "xyyyyz"?"yy"  -->  [1 2 3]
    ""?""  -->  [0]
    :{[1 []]}?1  -->  []
    :{[1 2]}?3  -->  :undefined
    """
    if type(a) is Dictionary:
        return a.get(freeze(b), UNDEFINED)
    if type(a) is str and type(b) is str:
        places = [i for i in range(len(a) - len(b) + 1) if a.startswith(b, i)]
        return array(places) if places else []
    length(a, "a in a?b")
    a, b = constant(a), constant(b)
    if type(a) is Tensor and len(shape_of(a)) == 1 and type(b) in NUMBERS and -EXACT <= b <= EXACT:
        same = at.equal(a, b)
        if is_floating(a) or type(b) is float:
            same = at.isclose(a, b, rtol=CLOSE, atol=0.0)
        (where,) = at.nonzero(same)
        return where if shape_of(where)[0] else []
    found = [i for i, value in enumerate(items(a)) if match(value, b)]
    return array(found) if found else []


@verb(":=", 2, "Amend")
def amend(a: Any, b: Any) -> Any:
    """a:=b: a copy of a with its elements at the indices 1_b replaced by *b.

    Without indices, as of &cond where no condition holds, the copy is equal to a.

    "-----":=0cx,[1 3]  -->  "-x-x-"
    [1 2 3]:=0,1  -->  [1 0 3]
    "-------":="xx",[1 4]  -->  "-xx-xx-"
    "abc":="def",3  -->  "abcdef"
    "aa":="bc",1  -->  "abc"
    """
    size = length(a, "a in a:=b")
    if is_list(b) and length(b, "b") < 2:
        return a
    new, places = _split_amendment(b, ":=")
    if type(a) is str:
        return _amend_string(a, new, places)
    for i in places:
        if not 0 <= i < size:
            raise _range(i, size)
    if type(a) is Tensor and _fits(a, new, shape_of(a)[1:]):
        a, new = _same_dtype(a, new)
        places = list(dict.fromkeys(places))  # one gradient for a place that is named twice
        rows = at.stack([new] * len(places)) if shape_of(new) else new
        return at.index_put(a, (array(places),), rows)
    values = list(items(a))
    for i in places:
        values[i] = new
    return listed(values)


def _split_amendment(b: Any, glyph: str) -> tuple[Any, list[int]]:
    """Return the new element and the indices of an amendment."""
    if not is_list(b) or length(b, "b") < 2:
        raise KlongError(f"a{glyph}b: b must be a list of a value and indices, like 0,1")
    new, *places = items(b)
    places = [constant(i) for i in places]
    if type(b) is Tensor and is_floating(b):  # 0.5,[1 2] made reals of the indices
        places = [int(i) if type(i) is float and i.is_integer() else i for i in places]
    return new, whole_numbers(places, f"the indices of a{glyph}b")


def _fits(a: Tensor, new: Any, shape: tuple[int, ...]) -> bool:
    """Say whether a value can take a place of this shape in an array."""
    if type(new) in NUMBERS:
        return not shape and (is_floating(a) or type(new) is int) and abs(new) < 2**53
    return type(new) is Tensor and shape_of(new) == shape


def _same_dtype(a: Tensor, new: Any) -> tuple[Tensor, Tensor]:
    if type(new) is not Tensor:
        new = array(new, floating=is_floating(a))
    return (a, new) if is_floating(a) == is_floating(new) else (real(a), real(new))


def _amend_string(a: str, new: Any, places: list[int]) -> str:
    if type(new) not in (str, Char):
        raise KlongError(f"a:=b: a string takes a character or a string; found {kind_of(new)}")
    size = len(a)
    for i in places:
        if type(new) is Char and not 0 <= i < size:
            raise _range(i, size)
        if not 0 <= i <= size:
            raise KlongError(f"index {i} is out of range: indices go from 0 to {size}")
        a = a[:i] + str(new) + a[i + len(new) :]
    return a


@verb(":-", 2, "Amend-in-Depth")
def amend_in_depth(a: Any, b: Any) -> Any:
    """a:-b: a copy of an array with the single element at the indices 1_b replaced by *b.

    [[1 2] [3 4]]:-42,[0 1]  -->  [[1 42] [3 4]]
    [[[0]]]:-1,[0 0 0]  -->  [[[1]]]
    """
    new, places = _split_amendment(b, ":-")
    _check_rank(a, places, "a:-b")
    if type(a) is Tensor and len(places) == len(shape_of(a)) and _fits(a, new, ()):
        for i, size in zip(places, shape_of(a), strict=True):
            if not 0 <= i < size:
                raise _range(i, size)
        a, new = _same_dtype(a, new)
        return at.index_put(a, tuple(array([i]) for i in places), at.reshape(new, (1,)))
    return _amend_nested(a, new, places)


def _amend_nested(a: Any, new: Any, places: list[int]) -> Any:
    size = length(a, "a in a:-b, at this depth,")
    i = places[0]
    if not 0 <= i < size:
        raise _range(i, size)
    values = list(items(a))
    values[i] = new if len(places) == 1 else _amend_nested(values[i], new, places[1:])
    if type(a) is str and all(type(v) is Char for v in values):
        return "".join(values)
    return listed(values)
