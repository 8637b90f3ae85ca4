"""The errors of atled: what was asked, what was found, where, and what to do.

Every class here is also one of Python's own, so that code written for NumPy or PyTorch
catches what it expects: a `ShapeError` is a `ValueError`, a `DTypeError` a `TypeError`.
"""

import os
import sys
from types import CodeType, FrameType

__all__ = [
    "AtledError",
    "BackendError",
    "DTypeError",
    "GradError",
    "IndexingError",
    "LinAlgError",
    "MemoryLimitError",
    "ShapeError",
    "TraceError",
    "TransformError",
    "user_location",
]

LEAKED = (
    "a Tensor of a compiled function was used after it had been traced; it was stored "
    "somewhere (in an attribute, a list) while tracing. Return it from the function"
)
PLACE = "\n  at "  # between a message and the user's line
_PACKAGE = os.path.dirname(__file__) + os.sep


class AtledError(Exception):
    """Base of every error that atled raises on purpose.

    Attributes:
        message: what was asked, what was found, and what to do.
        place: the user's file and line, which end the error's text.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(message)
        self.message, _, self.place = message.partition(PLACE)
        self.place = self.place or user_location()

    def __str__(self) -> str:
        return f"{self.message}{PLACE}{self.place}" if self.place else self.message


class ShapeError(AtledError, ValueError):
    """Shapes do not fit each other, or an axis does not exist."""


class DTypeError(AtledError, TypeError):
    """A dtype is not there, or an operation is not defined on it."""


class LinAlgError(AtledError, ValueError):
    """A matrix has no such factorisation, or no inverse; NumPy's is a ValueError too."""


class GradError(AtledError, RuntimeError):
    """A derivative was asked for that does not exist, or a graph that is gone."""


class NotScalarError(GradError, ValueError):
    """`backward()` or `grad` was called on a non-scalar without a cotangent."""


class BackendError(AtledError, RuntimeError):
    """A backend or a device is missing, or two of them met in one operation."""


class TraceError(AtledError, RuntimeError):
    """A compiled function asks for something that is not known while it is traced."""


class MemoryLimitError(AtledError, MemoryError):
    """A result would need more memory than is free, or than was allowed."""


class TransformError(AtledError, RuntimeError):
    """A function asks for something that the transform around it (vmap, grad, jvp) lacks."""


class IndexingError(AtledError, IndexError):
    """An index is out of range or of a kind that cannot index."""


def user_line() -> tuple[str, int] | None:
    """Return file and line of the innermost frame outside the package; None if there is none."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        path = frame.f_code.co_filename
        if not path.startswith(_PACKAGE):
            return path, frame.f_lineno
        frame = frame.f_back
    return None


Instruction = tuple[CodeType, int]


def calling_instruction() -> Instruction | None:
    """Return the innermost code outside the package, and where in it, for `line_of`.

    As cheap as can be (0.3 µs), for what is kept with each of many values; no frame is kept.
    """
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        if frame.f_globals.get("__name__", "")[:6] not in ("atled.", "atled"):
            return frame.f_code, frame.f_lasti
        frame = frame.f_back
    return None


def line_of(instruction: Instruction | None) -> tuple[str, int] | None:
    """Return the file and line of what `calling_instruction` gave."""
    if instruction is None:
        return None
    code, at = instruction
    lines = list(code.co_positions())
    number = lines[at // 2][0] if at >= 0 else None
    return code.co_filename, number or code.co_firstlineno


def described(line: tuple[str, int] | None) -> str:
    """Return a line of code as ``file:line: source``; an empty string for None."""
    if line is None:
        return ""
    import linecache  # needed for errors only: 2 ms of `import atled`

    source = linecache.getline(*line).strip()
    place = f"{line[0]}:{line[1]}"
    return f"{place}: {source}" if source else place


def user_location() -> str:
    """Describe the innermost frame outside the package as ``file:line: source``.

    Returns an empty string when there is none, as in an interactive one-liner of atled itself.
    """
    return described(user_line())


def located(message: str) -> str:
    """Append the user's file and line to a message that does not have them yet."""
    place = "" if PLACE in message else user_location()
    return f"{message}{PLACE}{place}" if place else message
