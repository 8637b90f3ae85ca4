"""Verbs that rearrange: join, take, drop, cut, rotate, reshape, transpose. Gradients pass."""

import itertools
import math
from typing import Any

from atled import functions as at
from atled.core.tensor import Tensor
from atled.klong.arrays import (
    DEEPEST,
    array,
    constant,
    freeze,
    integers,
    items,
    joined,
    listed,
    settle,
    shape_of,
)
from atled.klong.errors import KlongError
from atled.klong.limits import size_limit
from atled.klong.values import Char, Dictionary, is_atom, is_list, kind_of
from atled.klong.verbs.record import verb

__all__ = ["join", "length", "part", "shape_list", "whole_number", "whole_numbers"]


def whole_number(value: Any, what: str) -> int:
    """Return an integer operand, or refuse it."""
    value = constant(value)
    if type(value) is not int:
        raise KlongError(f"{what} must be an integer; found {kind_of(value)}")
    return value


def whole_numbers(value: Any, what: str) -> list[int]:
    """Return an operand that is an integer or a list of integers, as a list."""
    found = items(constant(value)) if is_list(value) else [constant(value)]
    for x in found:
        if type(x) is not int:
            raise KlongError(f"{what} must be an integer or a list of integers; found {kind_of(x)}")
    return found


def length(value: Any, what: str) -> int:
    """Return the length of a list or a string."""
    if type(value) is str or type(value) is list:
        return len(value)
    if shape_of(value):
        return shape_of(value)[0]
    raise KlongError(f"{what} must be a list or a string; found {kind_of(value)}")


def elements(value: Any) -> int:
    """Return how many elements a list or a string has, those of its rows for an array."""
    if type(value) is not Tensor:
        return len(value)
    shape = value._value.shape
    return int(shape[0]) if len(shape) == 1 else math.prod(shape)


def part(value: Any, start: int, stop: int) -> Any:
    """Return the elements from start to before stop."""
    if type(value) is Tensor:
        return value[start:stop] if start < stop else []
    return value[start:stop] if type(value) is str else listed(value[start:stop])


@verb(",", 1, "List")
def enlist(a: Any) -> Any:
    """,a: a list with the single element a; of a character, a string.

    ,1  -->  [1]
    ,:foo  -->  [:foo]
    ,"xyz"  -->  ["xyz"]
    ,[1]  -->  [[1]]
    ,0cx  -->  "x"
    """
    return str(a) if type(a) is Char else listed([a])


@verb(",", 2, "Join")
def join(a: Any, b: Any) -> Any:
    """a,b: lists appended, an atom added to a list, strings and characters put together.

    A dictionary and a tuple: the tuple becomes an entry of the dictionary, in place. Two
    dictionaries: the entries of the second go into the first. Two characters make a string, two
    other atoms a list of two.

    [1 2 3],[4 5 6]  -->  [1 2 3 4 5 6]
    1,[2 3]  -->  [1 2 3]
    [1 2],3  -->  [1 2 3]
    "abc","def"  -->  "abcdef"
    "ab",0cc  -->  "abc"
    0ca,"bc"  -->  "abc"
    0ca,0cb  -->  "ab"
    1,2  -->  [1 2]
    "a",1  -->  ["a" 1]
    [[1 2 3]],4  -->  [[1 2 3] 4]
    [1 2],:{[1 0]}  -->  :{[1 2]}
    :{[1 0]},[1 2]  -->  :{[1 2]}
    :{[1 2]},:{[3 4]}  -->  :{[1 2] [3 4]}
    """
    ka, kb = type(a), type(b)
    if ka is Dictionary or kb is Dictionary:
        return _join_dictionary(a, b)
    if is_list(a):
        if is_list(b):
            size_limit(elements(a) + elements(b))
            return joined(a, b)
        return joined(a, listed([b]))
    if is_list(b):
        return joined(listed([a]), b)
    if ka in TEXTS and kb in TEXTS:
        size_limit(len(a) + len(b))
        return str(a) + str(b)
    return listed([a, b])


TEXTS = (str, Char)


def _join_dictionary(a: Any, b: Any) -> Any:
    if type(a) is Dictionary and type(b) is Dictionary:
        a.update(b)
        return a
    into, other = (a, b) if type(a) is Dictionary else (b, a)
    if is_list(other) and length(other, "a") == 2 and type(items(other)[0]) is not Dictionary:
        key, value = items(other)
        into[freeze(key)] = value
        return into
    if is_list(other):
        return [*items(a), b] if into is b else [a, *items(b)]
    return [a, b]


@verb("|", 1, "Reverse")
def reverse(a: Any) -> Any:
    """|a: the elements of a list or string in reverse order; anything else as it is.

    |[1 2 3]  -->  [3 2 1]
    |"hello world"  -->  "dlrow olleh"
    |1  -->  1
    """
    if type(a) is Tensor:
        return at.flip(a, axis=0) if shape_of(a) else a
    return a[::-1] if type(a) in (str, list) else a


@verb("*", 1, "First")
def first(a: Any) -> Any:
    """*a: the first element of a list or string; an atom as it is.

    *[1 2 3]  -->  1
    *"abc"  -->  0ca
    *""  -->  ""
    *[]  -->  []
    *1  -->  1
    """
    if type(a) is Tensor:
        return settle(a[0]) if shape_of(a) else a
    if type(a) is str:
        return Char(a[0]) if a else a
    return a[0] if type(a) is list and a else a


@verb("#", 2, "Take")
def take(a: Any, b: Any) -> Any:
    """a#b: the first a elements of b, the last ones if a is negative; b again if it is short.

    1#[1 2 3]  -->  [1]
    5#[1 2 3]  -->  [1 2 3 1 2]
    (-2)#[1 2 3]  -->  [2 3]
    (-5)#[1 2 3]  -->  [2 3 1 2 3]
    (-3)#"abcdef"  -->  "def"
    0#[]  -->  []
    0#""  -->  ""
    (4)#[[0 0]]  -->  [[0 0] [0 0] [0 0] [0 0]]
    """
    n = whole_number(a, "a in a#b")
    if type(b) is not str and not is_list(b):
        b = listed([b])
    size = length(b, "b in a#b")
    if not size:
        return b
    count = abs(n)
    size_limit(count * (elements(b) // size))
    if count <= size:
        return part(b, 0, n) if n >= 0 else part(b, size + n, size)
    times = -(-count // size)
    if type(b) is Tensor:
        many = at.concat([b] * times) if times < 64 else _cycled(b, times)
    else:
        many = b * times
    return part(many, 0, count) if n > 0 else part(many, size * times - count, size * times)


def _cycled(b: Tensor, times: int) -> Any:
    shape = shape_of(b)
    stacked = at.broadcast_to(at.expand_dims(b, axis=0), (times, *shape))
    return at.reshape(stacked, (times * shape[0], *shape[1:]))


@verb("_", 2, "Drop")
def drop(a: Any, b: Any) -> Any:
    """a_b: b without its first a elements, or its last ones if a is negative.

    From a dictionary the entry with the key a is removed, in place.

    3_[1 2 3 4 5]  -->  [4 5]
    (-3)_"abcdef"  -->  "abc"
    17_[1 2 3]  -->  []
    (-5)_"x"  -->  ""
    0_[1]  -->  [1]
    """
    if type(b) is Dictionary:
        b.pop(freeze(a), None)
        return b
    n = whole_number(a, "a in a_b")
    size = length(b, "b in a_b")
    if n >= 0:
        return part(b, min(n, size), size)
    return part(b, 0, max(0, size + n))


@verb(":_", 2, "Cut")
def cut(a: Any, b: Any) -> Any:
    """a:_b: b cut before the positions a.

    2:_[1 2 3 4]  -->  [[1 2] [3 4]]
    [2 3 5]:_"abcdef"  -->  ["ab" "c" "de" "f"]
    0:_[1]  -->  [[] [1]]
    3:_"abc"  -->  ["abc" ""]
    [1 1]:_[1 2]  -->  [[1] [] [2]]
    """
    size = length(b, "b in a:_b")
    places = whole_numbers(a, "a in a:_b")
    edges = [0, *places, size]
    for before, after in itertools.pairwise(edges):
        if before > after:
            raise KlongError(
                f"a:_b: the positions must ascend from 0 to {size}; found {after} after {before}"
            )
    if not size and places:  # nothing is between the last position and the end
        edges.pop()
    return listed([part(b, p, q) for p, q in itertools.pairwise(edges)])


@verb(":#", 2, "Split")
def split(a: Any, b: Any) -> Any:
    """a:#b: b split into segments of the sizes a, again and again.

    2:#[1 2 3 4]  -->  [[1 2] [3 4]]
    3:#[1 2 3 4]  -->  [[1 2 3] [4]]
    3:#"abcdefg"  -->  ["abc" "def" "g"]
    [1 2]:#[1 2 3 4 5 6]  -->  [[1] [2 3] [4] [5 6]]
    """
    size = length(b, "b in a:#b")
    sizes = whole_numbers(a, "a in a:#b")
    if not sizes or min(sizes) < 1:
        raise KlongError(f"a:#b: sizes must be positive; found {sizes}")
    pieces: list[Any] = []
    start = 0
    while start < size:
        stop = min(size, start + sizes[len(pieces) % len(sizes)])
        pieces.append(part(b, start, stop))
        start = stop
    return listed(pieces)


@verb(":+", 2, "Rotate")
def rotate(a: Any, b: Any) -> Any:
    """a:+b: b rotated by a elements to the right, to the left if a is negative.

    1:+[1 2 3 4 5]  -->  [5 1 2 3 4]
    (-1):+[1 2 3 4 5]  -->  [2 3 4 5 1]
    1:+[[1 2] [4 5] [5 6]]  -->  [[5 6] [1 2] [4 5]]
    {1:+x}'[[1 2] [4 5] [5 6]]  -->  [[2 1] [5 4] [6 5]]
    """
    n = whole_number(a, "a in a:+b")
    if type(b) is not str and not is_list(b):
        return b
    size = length(b, "b in a:+b")
    if not size:
        return b
    n %= size
    if type(b) is Tensor:
        return at.roll(b, n, axis=0)
    return b[size - n :] + b[: size - n] if n else b


@verb("+", 1, "Transpose")
def transpose(a: Any) -> Any:
    """+a: the transpose of a matrix.

    +[[1] [2] [3]]  -->  [[1 2 3]]
    +[[1 2 3] [4 5 6]]  -->  [[1 4] [2 5] [3 6]]
    +[]  -->  []
    """
    if type(a) is Tensor:
        return at.swapaxes(a, 0, 1) if len(shape_of(a)) > 1 else a
    if is_atom(a) or type(a) is str:
        return a
    rows = [items(row) if is_list(row) or type(row) is str else None for row in a]
    if all(row is None for row in rows):
        return a
    if any(row is None or len(row) != len(rows[0] or ()) for row in rows):
        raise KlongError("+a needs a matrix: rows of equal length")
    texts = all(type(row) is str for row in a)
    columns = zip(*(row for row in rows if row is not None), strict=True)
    return listed(["".join(c) for c in columns] if texts else [listed(c) for c in columns])


@verb("^", 1, "Shape")
def shape(a: Any) -> Any:
    """^a: the shape of a: the lengths of its axes; 0 for an atom.

    ^1  -->  0
    ^:xyz  -->  0
    ^[0]  -->  [1]
    ^"hello"  -->  [5]
    ^[[1 2] [3 4] [5 6]]  -->  [3 2]
    ^[1 [2]]  -->  [2]
    ^["abcd" "efgh"]  -->  [2 4]
    """
    found = shape_list(a)
    return array(found) if found else 0


def shape_list(a: Any) -> list[int]:
    """Return the lengths of the axes of a value, as ^ gives them; [] for an atom."""
    if type(a) is Tensor:
        return list(shape_of(a))
    if type(a) is str:
        return [len(a)] if a else []
    if type(a) is not list or not a:
        return []
    inner = [shape_list(x) for x in a]
    common = inner[0]
    for other in inner[1:]:
        same = 0
        while same < min(len(common), len(other)) and common[same] == other[same]:
            same += 1
        common = common[:same]
    return [len(a), *common]


@verb(":^", 2, "Reshape")
def reshape(a: Any, b: Any) -> Any:
    """a:^b: the elements of b, over and over, in the shape a; -1 stands for half of #b.

    5:^:x  -->  [:x :x :x :x :x]
    [3]:^[1]  -->  [1 1 1]
    [2 2 2]:^[1 2 3]  -->  [[[1 2] [3 1]] [[2 3] [1 2]]]
    [2]:^[[1 2 3]]  -->  [[1 2 3] [1 2 3]]
    [-1 2]:^!10  -->  [[0 1] [2 3] [4 5] [6 7] [8 9]]
    """
    sizes = whole_numbers(a, "a in a:^b")
    if not is_list(a) and sizes == [0]:
        return b
    b = listed([b]) if is_atom(b) else b
    count = length(b, "b in a:^b")
    if not sizes:
        raise KlongError("a:^b needs a shape; found an empty list")
    if len(sizes) > DEEPEST:
        raise KlongError(f"a:^b: a shape has at most {DEEPEST} axes; found {len(sizes)}")
    sizes = [count // 2 if n == -1 and count > 1 else n for n in sizes]
    if min(sizes) < 0:
        raise KlongError(f"a:^b: no axis can have {min(sizes)} elements")
    total = size_limit(math.prod(sizes))
    if not total:
        return []
    filled = take(total, b) if total != count else b
    if type(filled) is Tensor:
        return at.reshape(filled, (*sizes, *shape_of(filled)[1:]))
    for size in reversed(sizes[1:]):
        filled = [part(filled, i, i + size) for i in range(0, len(filled), size)]
    return filled if type(filled) is str else listed(filled)


@verb("!", 1, "Enumerate")
def enumerate_(a: Any) -> Any:
    """!a: the integers from 0 to a-1.

    !0  -->  []
    !1  -->  [0]
    !10  -->  [0 1 2 3 4 5 6 7 8 9]
    """
    n = whole_number(a, "a in !a")
    if n < 0:
        raise KlongError(f"!a needs a number from 0 on; found {n}")
    return at.arange(size_limit(n)) if n else []


@verb("&", 1, "Expand/Where")
def expand(a: Any) -> Any:
    """&a: each index of a, as often as its element says: where a list of truth values is 1.

    &0  -->  []
    &5  -->  [0 0 0 0 0]
    &[1 2 3]  -->  [0 1 1 2 2 2]
    &[0 1 0 1 0]  -->  [1 3]
    """
    counts = whole_numbers(a, "a in &a")
    if counts and min(counts) < 0:
        raise KlongError(f"&a needs numbers from 0 on; found {min(counts)}")
    if not size_limit(sum(counts)):
        return []
    if type(a) is Tensor:
        return at.repeat_interleave(at.arange(len(counts)), integers(a))
    return array([0] * counts[0])
