"""What a running program has: its variables, its modules, and how deep it is in calls.

The interpreter owns one; verbs that need more than their operands (gradients with respect to
variables, `.E`, channels) are handed it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from atled.klong.arrays import carries, constant
from atled.klong.errors import KlongError, Place
from atled.klong.values import Dictionary

__all__ = ["Context", "Module"]

LOOPS = 1_000_000  # calls in tail position without a return


@dataclass
class Module:
    """A module that is open.

    Attributes:
        name: its name.
        before: the names that were defined when it was opened.
        own: the names that it has defined.
    """

    name: str
    before: frozenset[str]
    own: set[str] = field(default_factory=set)

    def mangled(self, name: str) -> str:
        """Return what a name of this module is called inside: a`foo."""
        return f"{name}`{self.name}"


@dataclass
class Context:
    """The state of a program.

    Attributes:
        variables: values by name; those of modules under a`foo.
        depth, deepest: calls inside one another, and how many are allowed.
        pending: the call in tail position that is to be made next.
        module: the module that is open.
        derivatives: how many derivatives are being taken inside one another.
        assigned: the variables that were given values meanwhile.
        system: the names of system functions, which programs may not redefine.
        compiles: whether hot functions are compiled by themselves.
        owner: the interpreter.
    """

    deepest: int = 2000
    variables: dict[str, Any] = field(default_factory=dict)
    depth: int = 0
    pending: Any = None
    module: Module | None = None
    derivatives: int = 0
    assigned: set[str] = field(default_factory=set)
    system: frozenset[str] = frozenset()
    compiles: bool = True
    owner: Any = None

    def value_of(self, name: str, place: Place | None = None) -> Any:
        """Return the value of a variable.

        Raises:
            KlongError: it has none; similar names are in the message.
        """
        try:
            return self.variables[name]
        except KeyError:
            raise self.unknown(name, place) from None

    def unknown(self, name: str, place: Place | None) -> KlongError:
        """Return the error of a name without a value."""
        plain = name.partition("`")[0]
        known = [n for n in self.variables if "`" not in n]
        similar = get_close_matches(plain, known, n=3, cutoff=0.6)
        hint = f"; did you mean {', '.join(similar)}?" if similar else ""
        if plain in ("x", "y", "z"):
            hint = "; arguments exist inside functions only"
        elif plain[0] == "." and plain[1:].isdigit():
            hint = f"; the real number is written 0{plain}"
        return KlongError(f"{plain} has no value{hint}", place)

    @contextmanager
    def bound(self, names: Sequence[str], values: Sequence[Any]) -> Iterator[None]:
        """Give variables other values for a while; what the program assigns meanwhile stays.

        Raises:
            KlongError: one has no value to be replaced.
        """
        variables = self.variables
        before = [self.value_of(name) for name in names]
        variables.update(zip(names, values, strict=True))
        try:
            yield
        finally:
            for name, value, lent in zip(names, before, values, strict=True):
                if variables.get(name) is lent:
                    variables[name] = value

    def release(self) -> None:
        """Make plain numbers of what a derivative that is over has left in variables."""
        for name in self.assigned:
            value = self.variables.get(name)
            if carries(value) or type(value) in (list, Dictionary):
                self.variables[name] = _plain(value)
        self.assigned.clear()

    def define(self, name: str, value: Any) -> None:
        """Give a variable a value.

        Raises:
            KlongError: it is the name of a system function.
        """
        if name in self.system:
            raise KlongError(f"{name} is a system function; it cannot be redefined")
        self.variables[name] = value


def _plain(value: Any) -> Any:
    """Return a value whose numbers carry no gradient; a dictionary stays the same object."""
    if type(value) is list:
        return [_plain(v) for v in value]
    if type(value) is Dictionary:
        for key, held in value.items():
            if carries(held) or type(held) is list:  # not into dictionaries: they may be rings
                value[key] = _plain(held)
        return value
    return constant(value)
