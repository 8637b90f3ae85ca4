"""Values as text, in the manual's form: what `.w` writes, `.rs` reads back as the same value."""

import math
from typing import Any

from atled.core.tensor import Tensor
from atled.klong.arrays import constant, thaw
from atled.klong.errors import KlongError
from atled.klong.limits import limits
from atled.klong.values import Char, Dictionary, Function, KlongSymbol

__all__ = ["displayed", "written"]


def written(value: Any) -> str:
    """Return the readable form: strings in quotes, characters with 0c.

    Numbers that are not finite have none; they are written as `:undefined`, which reads back as
    a symbol, as functions, channels and the undefined object do.

    Raises:
        KlongError: the value contains itself, or its text would be too long.

    Example:
        >>> from atled.klong.values import Char
        >>> print(written(["a", [Char("b"), 1.0]]))
        ["a" [0cb 1.0]]
    """
    out: list[str] = []
    stack: list[Any] = [iter((value,))]
    closers: list[str] = [""]
    inside: list[int] = []  # the dictionaries around the place: only they can contain themselves
    while stack:
        for item in stack[-1]:
            if out and out[-1] not in OPENERS:
                out.append(" ")
            if (nested := _opened(item, inside)) is None:
                _write(item, out)
                continue
            opener, members, closer = nested
            out.append(opener)
            stack.append(iter(members))
            closers.append(closer)
            break
        else:
            stack.pop()
            closer = closers.pop()
            if closer == "}":
                inside.pop()
            out.append(closer)
        limits.spend()
        if len(out) > LONGEST:
            raise KlongError(f"the text of this value would have more than {LONGEST} pieces")
    return "".join(out)


OPENERS = ("[", ":{")
LONGEST = 10**7
BASE = 10**4000  # below the 4300 digits at which Python's own str stops


def _opened(value: Any, inside: list[int]) -> tuple[str, Any, str] | None:
    """Return the brackets and the members of a list or a dictionary; None for anything else."""
    if type(value) is list:
        return "[", value, "]"
    if type(value) is not Dictionary:
        return None
    if id(value) in inside:
        raise KlongError("this dictionary contains itself; it cannot be printed")
    inside.append(id(value))
    return ":{", [[thaw(k), v] for k, v in value.items()], "}"


def displayed(value: Any) -> str:
    """Return the form that `.d` prints: a string or a character as itself, else as `written`."""
    return str(value) if type(value) in (str, Char) else written(value)


def number(value: float) -> str:
    """Return a real number: the shortest text that reads back as it, with a fraction."""
    if not math.isfinite(value):
        return ":undefined"
    text = repr(float(value))
    if "e" not in text:
        return text
    mantissa, exponent = text.split("e")
    sign = "-" if exponent[0] == "-" else "+"
    digits = exponent.lstrip("+-").lstrip("0")
    return f"{mantissa if '.' in mantissa else mantissa + '.0'}e{sign}{digits}"


def _write(value: Any, out: list[str]) -> None:
    kind = type(value)
    if kind is Tensor:
        if value.backend.level:
            raise KlongError(
                "a value was printed inside a function that is being compiled, where it has no "
                "number yet; print its result instead"
            )
        value = constant(value)
        if type(value) is Tensor:
            _write_nested(value.tolist(), out)
            return
        kind = type(value)
    if kind is int:
        out.append(_integer(value))
    elif kind is float:
        out.append(number(value))
    elif kind is str:
        out.append('"' + value.replace('"', '""') + '"')
    elif kind is Char:
        out.append("0c" + value)
    elif kind is KlongSymbol:
        out.append(":" + value)
    elif isinstance(value, Function):
        out.append(repr(value))
    else:
        out.append(str(value))


def _write_nested(numbers: Any, out: list[str]) -> None:
    """Write nested lists of plain numbers."""
    if not isinstance(numbers, list):
        out.append(str(numbers) if type(numbers) is int else number(numbers))
    elif numbers and not isinstance(numbers[0], list):
        write = str if type(numbers[0]) is int else number
        out.append("[" + " ".join(map(write, numbers)) + "]")
    else:
        out.append("[")
        for i, row in enumerate(numbers):
            if i:
                out.append(" ")
            _write_nested(row, out)
        out.append("]")


def _integer(value: int) -> str:
    """Return decimal digits, of integers beyond Python's own limit for them too."""
    if value.bit_length() < 13_000:
        return str(value)
    sign, value = ("-", -value) if value < 0 else ("", value)
    pieces = []
    while value >= BASE:
        value, low = divmod(value, BASE)
        pieces.append(str(low).rjust(4000, "0"))
    return sign + str(value) + "".join(reversed(pieces))
