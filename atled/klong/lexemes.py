"""The smallest pieces of a program: white space, comments, numbers, strings, symbols.

Each function takes a text and an index and returns what it found and the index behind it. The
reader, the data reader of `.r`, and the completion of the REPL share them.
"""

import re
from typing import Any

from atled.klong.errors import KlongError, Place
from atled.klong.values import Char, KlongSymbol

__all__ = ["ADVERBS", "BLANK", "OPERATORS", "SYMBOL", "constant_at", "skip", "string_at"]

OPERATORS = frozenset("!#$%&*+,-./;<=>?@\\^_|~∂∇") - frozenset(";./\\")
SHIFTED = frozenset("!#$%&*+,-/<=>?@\\^_|~:")
ADVERBS = (":\\", ":'", ":/", ":~", ":*", "\\~", "\\*", "'", "/", "\\")
SYMBOL = re.compile(r"[a-zA-Z.][a-zA-Z0-9.]*")
NUMBER = re.compile(
    r"0[bB]([01]+)|0[oO]([0-7]+)|0[xX]([0-9a-fA-F]+)|[0-9]+(\.[0-9]*)?(e[+-]?[0-9]+)?"
)
SHIFTED_NUMBER = re.compile(r"[0-9]|-[0-9]")
BLANK = re.compile(r"[ \t\r\f\v]+")
BLANK_LINES = re.compile(r"\s+")
LONGEST_INTEGER = 100_000  # digits


def skip(text: str, at: int, lines: bool) -> int:
    """Return the index behind white space and comments; behind newlines if `lines`."""
    blank = BLANK_LINES if lines else BLANK
    while True:
        match = blank.match(text, at)
        if match:
            at = match.end()
        if not text.startswith(':"', at):
            return at
        at = string_at(text, at + 1)[1]


def string_at(text: str, at: int) -> tuple[str, int]:
    """Return the string that begins at a quote, and the index behind it."""
    start, pieces = at, []
    at += 1
    while True:
        end = text.find('"', at)
        if end < 0:
            raise KlongError('this string has no closing "', Place(text, start))
        pieces.append(text[at:end])
        if not text.startswith('"', end + 1):
            return '"'.join(pieces), end + 1
        at = end + 2


def number_at(text: str, at: int) -> tuple[int | float, int]:
    """Return the number that begins at a digit, and the index behind it."""
    match = NUMBER.match(text, at)
    if match is None:
        raise KlongError("a number was expected", Place(text, at))
    digits = match.group()
    for base, group in ((2, 1), (8, 2), (16, 3)):
        if match.group(group):
            return int(match.group(group), base), match.end()
    if match.group(4) is None and match.group(5) is None:
        if len(digits) > LONGEST_INTEGER:
            raise KlongError(f"an integer of {len(digits)} digits is too long", Place(text, at))
        return _integer(digits), match.end()
    value = float(digits)
    if value == float("inf"):
        raise KlongError("this real number is too large; the largest is 1.8e308", Place(text, at))
    return value, match.end()


def _integer(digits: str) -> int:
    """Return an integer of any length: Python's own reader stops at 4300 digits."""
    value = 0
    for at in range(0, len(digits), 4000):
        piece = digits[at : at + 4000]
        value = value * 10 ** len(piece) + int(piece)
    return value


def constant_at(text: str, at: int, signed: bool) -> tuple[Any, int] | None:
    """Return the number, character, string or quoted symbol at an index, or None.

    Args:
        signed: whether a minus sign belongs to a number, as in lists.
    """
    c = text[at : at + 1]
    if c == ":" and (quoted := SYMBOL.match(text, at + 1)):
        return KlongSymbol(quoted.group()), quoted.end()
    if c == ":" and SHIFTED_NUMBER.match(text, at + 1, at + 3 if signed else at + 2):
        return constant_at(text, at + 1, signed)  # a shifted number is that number
    if c == '"':
        return string_at(text, at)
    if text.startswith("0c", at):
        if at + 2 >= len(text):
            raise KlongError("0c needs a character behind it", Place(text, at))
        return Char(text[at + 2]), at + 3
    if c.isascii() and c.isdigit():
        return number_at(text, at)
    if signed and c == "-" and text[at + 1 : at + 2].isascii() and text[at + 1 : at + 2].isdigit():
        if text.startswith("0c", at + 1):
            return None
        value, end = number_at(text, at + 1)
        return -value, end
    return None
