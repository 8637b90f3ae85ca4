"""Trees to closures: an expression is linked once and then run as often as it is needed.

A linked node is a function of one frame, the tuple (function, x, y, z) of the call that it is
in. Linking resolves what can be known before the first run: operators, constants, the names of
modules. An expression is evaluated from the right, operands and verbs: `s@<s::b` sorts b; the
arguments of a call from the left.

This file has what the linkers share; they are in `operands.py`, `chains.py` and `calls.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from atled.config import modes
from atled.errors import AtledError
from atled.klong.context import Context
from atled.klong.errors import KlongError, Place
from atled.klong.tree import Node

__all__ = ["Linked", "Scope", "link", "linker", "resolved", "rethrow"]

Linked = Callable[[Any], Any]
LINKERS: dict[type, Callable[[Any, Any], Linked]] = {}


@dataclass(frozen=True)
class Scope:
    """Where a node stands.

    Attributes:
        context: the program's state.
        text: the text that places refer to.
        inside: whether it is inside a function.
        local: the local variables of the functions around it.
        tail: whether its value is the value of the function, with nothing left to do.
    """

    context: Context
    text: str
    inside: bool = False
    local: frozenset[str] = frozenset()
    tail: bool = False

    def place(self, node: Any) -> Place:
        return Place(self.text, node.at)


def linker(kind: type) -> Callable[[Any], Any]:
    """Enter a function as the linker of a kind of nodes."""

    def enter(function: Any) -> Any:
        LINKERS[kind] = function
        return function

    return enter


def link(node: Node, scope: Scope) -> Linked:
    """Return the closure of a node."""
    return LINKERS[type(node)](node, scope)


def resolved(name: str, scope: Scope) -> tuple[str, str | None]:
    """Return what a name is called in the table of variables, and where to look otherwise."""
    module = scope.context.module
    if module is None or name in scope.local or name in scope.context.system:
        return name, None
    if name in module.own or name not in module.before:
        return module.mangled(name), name
    return name, None


def rethrow(error: Exception, place: Place) -> NoReturn:
    """Raise an error that arose at a place of a program as a KlongError that knows it."""
    if isinstance(error, KlongError):
        if error.spot is None:
            error.spot = place
        raise error
    if modes.tracing is not None:  # the tracer's own errors are its to handle
        raise error
    if isinstance(error, RecursionError):
        message = "the recursion is too deep"
    elif isinstance(error, MemoryError):
        message = "there is not enough memory for this result"
    elif isinstance(error, OverflowError):
        message = "a number is too large for this operation"
    elif isinstance(error, AtledError):
        message = error.message
    else:
        message = f"{type(error).__name__}: {error}"
    raise KlongError(message, place) from error
