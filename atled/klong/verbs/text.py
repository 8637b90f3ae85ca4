"""Verbs between values and their text."""

import math
from typing import Any

from atled.core.tensor import Tensor
from atled.klong.arrays import constant, is_floating
from atled.klong.errors import KlongError
from atled.klong.lexemes import SYMBOL, constant_at
from atled.klong.printer import displayed
from atled.klong.values import UNDEFINED, Char, KlongSymbol, is_list, kind_of
from atled.klong.verbs.record import each_atom, each_pair, verb

__all__: list[str] = []

WIDEST = 10**7


@verb("$", 1, "Format", atomic=True)
def format_(a: Any) -> Any:
    """$a: the text of a, as it would be displayed.

    $123  -->  "123"
    $123.45  -->  "123.45"
    $"test"  -->  "test"
    $0cx  -->  "x"
    $:foo  -->  ":foo"
    """
    return each_atom(format_, a) if is_list(a) and _filled(a) else displayed(a)


def _filled(a: Any) -> bool:
    return type(a) is Tensor or bool(a)


@verb("$", 2, "Format2", atomic=True)
def format_padded(a: Any, b: Any) -> Any:
    """a$b: the text of b, padded with blanks to a characters; on the left if a is negative.

    With a real a of the form n.m, a real b has n digits before its point and m behind it; with
    0.0, as many as it needs.

    0$123  -->  "123"
    (-5)$-123  -->  " -123"
    5$"xyz"  -->  "xyz  "
    (-5)$:foo  -->  " :foo"
    5.3$123.45  -->  "  123.450"
    0.0$123.45  -->  "123.45"
    """
    if (is_list(a) and _filled(a)) or (is_list(b) and _filled(b)):
        return each_pair(format_padded, "$", a, b)
    a = constant(a)
    if type(a) is float:
        return _fixed(a, constant(b))
    if type(a) is not int:
        raise KlongError(f"a in a$b must be a number; found {kind_of(a)}")
    if abs(a) > WIDEST:
        raise KlongError(f"a in a$b: a width of {a} is larger than the limit, {WIDEST}")
    text = displayed(b)
    return text.ljust(a) if a >= 0 else text.rjust(-a)


def _fixed(a: float, b: Any) -> str:
    if type(b) not in (int, float):
        raise KlongError(f"with a real a, b in a$b must be a real number; found {kind_of(b)}")
    if a == 0 or not math.isfinite(b):
        return displayed(b)
    before, _, after = f"{a:.15g}".lstrip("-").partition(".")
    if len(before) > 4 or "e" in before or "e" in after or not after:
        raise KlongError(f"a in a$b must be n.m, digits before and behind the point; found {a}")
    digits = int(after)
    if digits > 1000:
        raise KlongError(f"a in a$b asks for {digits} digits; the limit is 1000")
    text = f"{b:.{digits}f}"
    width = int(before) + 1 + digits
    return text.ljust(width) if a < 0 else text.rjust(width)


@verb(":$", 2, "Form", atomic=True)
def form(a: Any, b: Any) -> Any:
    """a:$b: the string b as an object of the type of a; undefined if it is none.

    It goes into lists, so the empty list stays what it is.

    1:$"-123"  -->  -123
    1.0:$"1.23"  -->  1.23
    0c0:$"x"  -->  0cx
    "":$"string"  -->  "string"
    :x:$"symbol"  -->  :symbol
    :x:$":symbol"  -->  :symbol
    """
    if is_list(a) or is_list(b):
        return each_pair(form, ":$", a, b)
    if type(b) is not str:
        raise KlongError(f"b in a:$b must be a string; found {kind_of(b)}")
    kind = type(a)
    if kind is str:
        return b
    if kind is Char:
        return Char(b) if len(b) == 1 else UNDEFINED
    if kind is KlongSymbol:
        name = b.removeprefix(":")
        return KlongSymbol(name) if SYMBOL.fullmatch(name) else UNDEFINED
    if kind is Tensor:
        kind = float if is_floating(a) else int
    if kind is not int and kind is not float:
        raise KlongError(f"a in a:$b must be an atom; found {kind_of(a)}")
    return _number(b, kind)


def _number(text: str, kind: type) -> Any:
    try:
        found = constant_at(text, 0, signed=True)
    except KlongError:
        return UNDEFINED
    if found is None or found[1] != len(text) or type(found[0]) not in (int, float):
        return UNDEFINED
    value = found[0]
    if kind is float:
        return float(value) if abs(value) < 2**1023 else UNDEFINED
    return value if type(value) is int else UNDEFINED


@verb(":#", 1, "Char", atomic=True)
def char(a: Any) -> Any:
    """:#a: the character with the code a.

    :#65  -->  0cA
    """
    a = constant(a)
    if is_list(a):
        return each_atom(char, a)
    if type(a) is not int or not 0 <= a <= 0x10FFFF:
        raise KlongError(f":#a needs a code from 0 to 1114111; found {displayed(a)}")
    return Char(chr(a))
