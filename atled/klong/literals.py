"""Lists and dictionaries in a program, and the data that `.r` and `.rs` read.

All members of a list are constants: a bare name is a symbol. A dictionary becomes `Pairs`, so
that each evaluation makes a fresh one; `built` makes the value.
"""

from typing import Any

from atled.klong.arrays import freeze, listed
from atled.klong.errors import KlongError, Place
from atled.klong.lexemes import SYMBOL, constant_at, skip
from atled.klong.tree import Pairs
from atled.klong.values import EOF, Dictionary, KlongSymbol

__all__ = ["built", "data", "data_at", "literal_at"]


def literal_at(text: str, at: int, deepest: int) -> tuple[Any, int]:
    """Return the list or dictionary at an index as nested plain data, and the index behind it.

    Raises:
        KlongError: it is not closed, nests too deeply, or holds what is no constant.
    """
    if deepest < 1:
        raise KlongError("brackets nest too deeply", Place(text, at))
    is_list = text[at] == "["
    closer = "]" if is_list else "}"
    start = at
    at += 1 if is_list else 2
    values = []
    while True:
        at = skip(text, at, True)
        if at >= len(text):
            opener = "[" if is_list else ":{"
            line = text.count("\n", 0, start) + 1
            raise KlongError(f"the {opener} of line {line} is never closed", Place(text, start))
        if text[at] == closer:
            break
        value, at = _member(text, at, deepest)
        values.append(value)
    if is_list:
        return values, at + 1
    for pair in values:
        if type(pair) is not list or len(pair) != 2:
            raise KlongError("a dictionary holds tuples of two: :{[k v] ...}", Place(text, start))
    return Pairs(start, values), at + 1


def _member(text: str, at: int, deepest: int) -> tuple[Any, int]:
    if text[at] == "[" or text.startswith(":{", at):
        return literal_at(text, at, deepest - 1)
    found = constant_at(text, at, signed=True)
    if found is not None:
        return found
    if match := SYMBOL.match(text, at):
        return KlongSymbol(match.group()), match.end()
    if deepest == OUTSIDE:
        raise KlongError(f"an object to read was expected; found {text[at]}", Place(text, at))
    raise KlongError(
        f"a list holds constants; found {text[at]}. Join computed values with a comma: (1+2),3",
        Place(text, at),
    )


OUTSIDE = 201  # how deep brackets may nest, where there is none yet


def built(value: Any) -> Any:
    """Return the value of nested plain data: Tensors where they can be, fresh dictionaries."""
    if type(value) is list:
        return listed(map(built, value))
    if type(value) is Pairs:
        return Dictionary({freeze(built(k)): built(v) for k, v in value.tuples})
    return value


def holds_pairs(value: Any) -> bool:
    """Say whether a literal holds a dictionary."""
    return type(value) is Pairs or (type(value) is list and any(map(holds_pairs, value)))


def data_at(text: str, at: int) -> tuple[Any, int]:
    """Return the object at an index, and the index behind it: what `.r` reads.

    Raises:
        KlongError: there is none.
    """
    at = skip(text, at, True)
    if at >= len(text):
        raise KlongError("there is nothing to read", Place(text, at))
    value, at = _member(text, at, OUTSIDE)
    return built(value), at


def data(text: str) -> Any:
    """Return the first object that a string describes; EOF if there is none.

    Example:
        >>> data('["a" 1] and more')
        ['a', 1]
    """
    return data_at(text, 0)[0] if skip(text, 0, True) < len(text) else EOF
