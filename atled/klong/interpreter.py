"""The interpreter: a program's state, a backend, and the door between Klong and Python."""

import sys
from functools import partial
from typing import Any, NamedTuple

from atled.backends.protocol import current, load
from atled.config import settings
from atled.dtypes import float32, float64
from atled.klong import bridge, calls, operands
from atled.klong.chains import link_statement
from atled.klong.channels import Channels
from atled.klong.context import Context
from atled.klong.errors import KlongError, Place, Source
from atled.klong.exchange import from_python, to_python
from atled.klong.limits import ELEMENTS, limits
from atled.klong.link import Scope, rethrow
from atled.klong.reader import read
from atled.klong.system import SYSTEM
from atled.klong.values import Function, KlongSymbol

__all__ = ["KlongInterpreter", "Where"]

del bridge, calls, operands  # they have entered their functions in the tables

KEPT = 2048  # linked programs
FRAMES = 14  # Python's calls for one of Klong's, at most, in ordinary programs


class Where(NamedTuple):
    """Where arrays live: the name of the backend, and the device."""

    name: str
    device: str


class Entered:
    """While it lasts, settings are an interpreter's. A class: it is entered at every call."""

    __slots__ = ("_before", "_k", "_limit", "_limits", "_quiet")

    def __init__(self, k: "KlongInterpreter") -> None:
        self._k = k

    def __enter__(self) -> None:
        k = self._k
        self._before = settings.backend, settings.device, settings.default_dtype
        settings.backend, settings.device = k.backend.name, k._device
        settings.default_dtype = k._real
        self._limits = limits.owner, limits.elements, limits.steps
        if limits.owner is not k:  # a call back from Python goes on with what is left
            limits.owner, limits.elements, limits.steps = k, k.elements, k.steps
        self._limit = sys.getrecursionlimit()
        if self._limit < k._frames:
            sys.setrecursionlimit(k._frames)
        self._quiet = k._library.quiet()  # division by zero is no cause for a warning here
        self._quiet.__enter__()

    def __exit__(self, *exc: Any) -> None:
        self._quiet.__exit__(*exc)
        settings.backend, settings.device, settings.default_dtype = self._before
        if self._limits[0] is not limits.owner:
            limits.owner, limits.elements, limits.steps = self._limits
        if self._limit < self._k._frames:
            sys.setrecursionlimit(self._limit)


class KlongInterpreter:
    """Run Klong programs; hold their variables.

    Args:
        backend: "python", "numpy" or "torch"; by default the current one.
        device: "cpu", "cuda", "mps", or "auto".
        recursion: how many calls may be inside one another.
        elements: how many elements one list may have.
        steps: how many steps one program may take: rounds of loops, calls, elements handled
            one by one; None for no limit. See `limits.py` for all limits.
        compile: whether hot functions and expressions are compiled by themselves.

    Example:
        >>> k = KlongInterpreter(backend="python")
        >>> k("f::{x^2};f:>3")
        6.0
        >>> k["a"] = [1, 2, 3]
        >>> k("+/a")
        6
        >>> k["f"](1.5)
        2.25
    """

    def __init__(
        self,
        backend: str | None = None,
        device: str | None = None,
        *,
        recursion: int = 2000,
        elements: int = ELEMENTS,
        steps: int | None = None,
        compile: bool = True,
    ) -> None:
        name = current().name if backend is None else backend
        self._library = load(name)
        self._device = self._library.check_device(device)
        self.backend = Where(name, self._device or "cpu")
        self._real = float32 if self.backend.device.startswith("mps") else float64
        self.elements, self.steps = elements, steps
        self._frames = FRAMES * recursion + 2000
        self.channels = Channels()
        self.context = Context(recursion, system=frozenset(SYSTEM), compiles=compile, owner=self)
        self._linked: dict[str, list[Any]] = {}
        variables = self.context.variables
        for entry in SYSTEM.values():
            variables[entry.name] = Function(
                entry.name, entry.arity, partial(entry.run, self), least=entry.least
            )
        variables.update(
            {
                ".a": [],
                ".cin": self.channels.cin,
                ".cout": self.channels.cout,
                ".cerr": self.channels.cerr,
                ".cols": 80,
                ".e": 2.0**-53,
                ".edit": 1,
                ".fastpow": 1,
                ".h": KlongSymbol("unix"),
                "klong": self,
            }
        )

    # -- from Python

    def __call__(self, text: str) -> Any:
        """Run a program and return the value of its last expression.

        Raises:
            KlongError: it cannot be read, or cannot go on; the place is in the message.
        """
        with self.entered():
            return to_python(self.run(text), self)

    def __getitem__(self, name: str) -> Any:
        try:
            return to_python(self.context.variables[str(name)], self)
        except KeyError:
            raise KeyError(str(name)) from None

    def __setitem__(self, name: str, value: Any) -> None:
        with self.entered():
            self.context.define(str(name), from_python(value, str(name)))

    def __delitem__(self, name: str) -> None:
        del self.context.variables[str(name)]

    def __contains__(self, name: object) -> bool:
        return str(name) in self.context.variables

    def __repr__(self) -> str:
        return f"<KlongInterpreter on {self.backend.name} ({self.backend.device})>"

    def entered(self) -> "Entered":
        """Return a context in which this interpreter's backend and dtype are the current ones."""
        return Entered(self)

    def call(self, function: Function, args: tuple[Any, ...]) -> Any:
        """Call a Klong function with Python's arguments."""
        if not function.least <= len(args) <= function.arity:
            raise KlongError(f"{function.name} takes {function.arity} arguments; got {len(args)}")
        with self.entered():
            return to_python(function.run(*[from_python(a) for a in args]), self)

    # -- inside

    def run(self, text: str) -> Any:
        """Run a program in the state that is entered already.

        Raises:
            KlongError: it cannot go on; a module that it has opened is closed again.
        """
        context = self.context
        module = context.module
        try:
            return self._run(text)
        except BaseException:
            context.module, context.pending = module, None
            raise

    def _run(self, text: str) -> Any:
        context = self.context
        known = None if isinstance(text, Source) else self._linked.get(text)
        value: Any = []
        if known is not None and context.module is None:
            for statement in known:
                value = statement(None)
            return value
        try:
            program = read(text)
        except RecursionError as error:
            raise KlongError("this program nests too deeply") from error
        keep, linked = context.module is None, []
        for node in program.statements:
            try:
                statement = link_statement(node, Scope(context, text))
            except RecursionError as error:
                rethrow(error, Place(text, node.at))
            linked.append(statement)
            value = statement(None)
            keep = keep and context.module is None
        if keep and not isinstance(text, Source):
            if len(self._linked) >= KEPT:
                self._linked.pop(next(iter(self._linked)))
            self._linked[text] = linked
        return value
