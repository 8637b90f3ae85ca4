"""What a compiled function reads from outside, and whether it is still the same.

A function may read its closure, globals, defaults, the attributes of objects, and what the
functions that it calls read in turn. `Environment` finds all of it by looking at the code: only
names that some reachable code of the user mentions are followed, so that a counter which only
the training loop reads makes nobody trace again. Each place found is a `Slot`: the same object
must lie there at every call, or an equal one where it is a number, a string or a tuple of them.

The same slots, looked at after tracing, tell what the function changed behind the program's back.

Attributes of Modules are many and seldom change: they are compared again only when
`changes.modules` has moved, which every assignment to a Module does.
"""

import dis
import functools
import operator
import os
import sys
from collections import deque
from collections.abc import Iterator
from itertools import starmap
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from atled.backends.protocol import NAMESPACES, namespace_of
from atled.config import changes
from atled.core.tensor import Tensor

__all__ = ["MISSING", "Environment", "Slot", "same"]

MISSING = object()
# Entries of a container that are followed further. Those of a longer one are compared, which takes
# some 20 ns each at every call, but the objects among them are not looked into.
LONGEST = 1000
_PLAIN = (int, float, bool, str, bytes, complex, type(None))
_PACKAGE = os.path.dirname(os.path.dirname(__file__)) + os.sep
_FOREIGN = (_PACKAGE, os.path.dirname(os.__file__) + os.sep)
_INSTALLED = ("site-packages", "dist-packages")
_GLOBALS = frozenset(("LOAD_GLOBAL", "LOAD_NAME", "STORE_GLOBAL", "STORE_NAME", "DELETE_GLOBAL"))


def same(a: Any, b: Any) -> bool:
    """Say whether b is a, or equal to it as a number, a string, or a tuple of them."""
    if a is b:
        return True
    if type(a) is not type(b):
        return type(a).__name__ == "_AnyTensor" and bool(a == b)
    if type(a) is tuple:
        return len(a) == len(b) and all(map(same, a, b))
    return repr(a) == repr(b) if type(a) is float else type(a) in _PLAIN and a == b


class Slot:
    """A place that a compiled function reads.

    Attributes:
        kind: "item" of a mapping, "attribute", "cell", all entries of a "list" or "dict", or
            the "hooks" on a Tensor's gradient.
        holder, key: where it is.
        value: what lay there; MISSING for nothing; a copy of a list or dict.
        label: as a user would write it: "model.layers[0].scale".
    """

    __slots__ = ("holder", "key", "kind", "label", "value")

    def __init__(self, kind: str, holder: Any, key: Any, label: str) -> None:
        self.kind, self.holder, self.key, self.label = kind, holder, key, label
        self.value = self.now()

    def now(self) -> Any:
        """Return what lies there."""
        if self.kind == "item":
            return self.holder.get(self.key, MISSING)
        if self.kind == "attribute":
            return getattr(self.holder, self.key, MISSING)
        if self.kind == "cell":
            return _content(self.holder)
        if self.kind == "hooks":
            node = self.holder._node
            return () if node is None else tuple(node.hooks or ())
        return dict(self.holder) if self.kind == "dict" else list(self.holder)

    def holds(self) -> bool:
        """Say whether the same lies there still."""
        now, value = self.now(), self.value
        if self.kind == "dict":
            if len(now) != len(value):
                return False
            pairs = zip((*value, *value.values()), (*now, *now.values()), strict=True)
            if all(starmap(operator.is_, pairs)):
                return True
            return all(same(v, now.get(k, MISSING)) for k, v in value.items())
        if self.kind == "list":
            if len(now) != len(value):
                return False
            return all(map(operator.is_, value, now)) or all(map(same, value, now))
        return same(value, now)

    def restore(self) -> None:
        """Put back what lay there."""
        if self.kind == "list":
            _refill(self.holder, self.value)
        elif self.kind == "dict":
            self.holder.clear()
            self.holder.update(self.value)
        elif self.kind == "cell":
            self.holder.cell_contents = self.value
        elif self.kind == "item" and self.value is MISSING:
            self.holder.pop(self.key, None)
        elif self.kind == "item":
            self.holder[self.key] = self.value
        else:
            setattr(self.holder, self.key, self.value)

    def describe(self, what: str) -> str:
        """Say what changed, as "model.count changed from 1 to 2"."""
        before, now, label = self.value, self.now(), self.label
        if self.kind in ("list", "dict"):
            if len(before) != len(now):
                return f"{label} {what} (it had {len(before)} entries, now {len(now)})"
            keys = range(len(before)) if self.kind == "list" else list(before)
            for key in keys:
                inner = now.get(key, MISSING) if self.kind == "dict" else now[key]
                if not same(before[key], inner):
                    label, before, now = f"{label}[{key!r}]", before[key], inner
                    break
        return f"{label} {what} from {_short(before)} to {_short(now)}"


def _short(x: Any) -> str:
    if x is MISSING:
        return "nothing"
    if isinstance(x, Tensor):
        return f"a Tensor of shape {x.shape}"
    return repr(x) if type(x) in _PLAIN else f"a {type(x).__name__}"


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return MISSING


def _is_function(x: Any) -> bool:
    """Say whether something is called, as a function, a Module or a partial is."""
    return callable(x) and not isinstance(x, type)


def _refill(holder: Any, entries: list[Any]) -> None:
    holder.clear()
    (holder.update if isinstance(holder, set) else holder.extend)(entries)


def is_foreign(path: str | None) -> bool:
    """Say whether code of a file is a library's, whose own state is not looked at."""
    if path is None or path.startswith(_FOREIGN) or path.startswith("<frozen"):
        return True
    return any(f"{os.sep}{folder}{os.sep}" in path for folder in _INSTALLED)


def _plain(function: Any) -> Any:
    """Return the function behind a method or a partial."""
    while True:
        if isinstance(function, MethodType):
            function = function.__func__
        elif isinstance(function, functools.partial):
            function = function.func
        else:
            return function


class Environment:
    """Everything that a function can read besides its arguments.

    Args:
        function: what is compiled.
        others: more to start from: arguments that are no Tensors.

    Attributes:
        slots: what to compare at every call.
        watched: what to compare when `changes.modules` has moved.
        tensors, arrays: the Tensors and raw arrays found, by id.
    """

    def __init__(self, function: Any, others: list[tuple[Any, str]]) -> None:
        self._names: set[str] = set()  # of attributes that reachable code mentions
        self._stored: set[str] = set()  # of those that it assigns
        self._root = _plain(function)  # the user's, wherever its file lies
        roots = [(function, getattr(function, "__name__", type(function).__name__)), *others]
        known = -1
        while known != len(self._names):  # code found late may mention what was passed over
            known = len(self._names)
            self._begin()
            for root, label in roots:
                self._visit(root, label)
            while self._open:
                self._enter(*self._open.popleft())
        self.version = changes.modules

    def _begin(self) -> None:
        self.slots: list[Slot] = []
        self.watched: list[Slot] = []
        self.tensors: dict[int, Tensor] = {}
        self.arrays: dict[int, Any] = {}
        self._seen: dict[int, Any] = {}
        self._open: deque[tuple[Any, str]] = deque()

    def knows(self, x: Any) -> bool:
        """Say whether an object was there before."""
        return id(x) in self._seen

    # -- asked at every call

    def differing(self) -> Slot | None:
        """Return the first slot that has changed; None if all hold."""
        for slot in self.slots:
            if not slot.holds():
                return slot
        return None if self.watched_hold() else next(s for s in self.watched if not s.holds())

    def watched_hold(self) -> bool:
        """Say whether Modules and hooks are as they were; cheap unless one was changed."""
        if self.version != changes.modules:
            if not all(slot.holds() for slot in self.watched):
                return False
            self.version = changes.modules
        return True

    def changed(self) -> list[Slot]:
        """Return all slots that have changed."""
        return [slot for slot in (*self.slots, *self.watched) if not slot.holds()]

    # -- the walk

    def _visit(self, x: Any, label: str) -> None:
        if type(x) in _PLAIN or id(x) in self._seen:
            return
        self._seen[id(x)] = x
        self._open.append((x, label))

    def _add(self, kind: str, holder: Any, key: Any, label: str, watched: bool = False) -> None:
        slot = Slot(kind, holder, key, label)
        (self.watched if watched else self.slots).append(slot)
        if kind in ("list", "dict") and len(slot.value) > LONGEST:
            return
        if kind == "list":
            for i, x in enumerate(slot.value):
                self._visit(x, f"{label}[{i}]")
        elif kind == "dict":
            for k, x in slot.value.items():
                self._visit(x, f"{label}[{k!r}]")
        elif slot.value is not MISSING:
            self._visit(slot.value, label)

    def _enter(self, x: Any, label: str) -> None:
        if isinstance(x, Tensor):
            self.tensors[id(x)] = x
            self.watched.append(Slot("hooks", x, None, f"the hooks on {label}"))
        elif isinstance(x, FunctionType):
            self._enter_function(x)
        elif isinstance(x, MethodType):
            self._visit(x.__self__, "self")
            self._visit(x.__func__, label)
        elif isinstance(x, functools.partial):
            for part in (x.func, x.args, x.keywords):
                self._visit(part, label)
        elif isinstance(x, ModuleType):
            if not is_foreign(getattr(x, "__file__", None)):
                self._enter_names(vars(x), label)
        elif isinstance(x, type):
            self._enter_class(x, label)
        elif isinstance(x, (list, set, frozenset, tuple, deque)):
            self._enter_list(x, label)
        elif isinstance(x, dict):
            self._add("dict", x, None, label)
        elif type(x) in NAMESPACES or namespace_of(x) is not None:
            self.arrays[id(x)] = x
        else:
            self._enter_object(x, label)

    def _enter_list(self, x: Any, label: str) -> None:
        if isinstance(x, (tuple, frozenset)):
            for i, entry in enumerate(x if len(x) <= LONGEST else ()):
                self._visit(entry, f"{label}[{i}]")
        else:
            self._add("list", x, None, label)

    def _enter_function(self, f: FunctionType) -> None:
        foreign = is_foreign(f.__code__.co_filename) and f is not self._root
        for name, cell in zip(f.__code__.co_freevars, f.__closure__ or (), strict=True):
            if not foreign:
                self._add("cell", cell, None, name)
            elif _is_function(_content(cell)):
                self._visit(cell.cell_contents, name)  # a wrapper such as no_grad's, or grad's
        if foreign:
            return
        self._add("attribute", f, "__defaults__", f"the defaults of {f.__name__}")
        if f.__kwdefaults__:
            self._add("dict", f.__kwdefaults__, None, f"the defaults of {f.__name__}")
        globals_, attributes, stored = names_of(f.__code__)
        self._names |= attributes
        self._stored |= stored
        for name in globals_:
            if name in f.__globals__ or name in stored:
                self._add("item", f.__globals__, name, name)

    def _enter_names(self, space: Any, label: str) -> None:
        for name in sorted(self._names):
            if name in space or name in self._stored:
                self._add("item", space, name, f"{label}.{name}")

    def _enter_class(self, kind: type, label: str) -> None:
        for base in kind.__mro__:
            if base is not object and not is_foreign(_file_of(base)):
                for name in ("forward", "__call__", *sorted(self._names)):
                    if name in vars(base):
                        found = vars(base)[name]
                        function = getattr(found, "__func__", getattr(found, "fget", found))
                        self._visit(function, f"{label}.{name}")
                        if type(found) in (*_PLAIN, tuple, list, dict):
                            self._add("item", vars(base), name, f"{label}.{name}")

    def _enter_object(self, x: Any, label: str) -> None:
        inner = getattr(x, "__wrapped__", None)  # a compiled function, a cached one
        if _is_function(inner):
            self._visit(inner, label)
            return
        kind = type(x)
        self._visit(kind, kind.__name__)
        parts = getattr(kind, "_watched_parts", None)
        own = getattr(x, "__dict__", None)
        if own is None or isinstance(x, CodeType):
            slots = {n for base in kind.__mro__ for n in getattr(base, "__slots__", ())}
            for name in sorted(self._names & slots):
                self._add("attribute", x, name, f"{label}.{name}")
        elif parts is None:
            self._enter_names(own, label)
            for name in sorted(self._names - self._stored - set(own)):  # it may hide the class's
                if type(getattr(kind, name, None)) in (*_PLAIN[:-1], tuple, list, dict):
                    self._add("item", own, name, f"{label}.{name}")
        else:
            self._enter_module(x, parts, is_foreign(_file_of(kind)), label)

    def _enter_module(self, x: Any, parts: Any, library: bool, label: str) -> None:
        """Take in a Module: its parts, and of other attributes a library's own or those named."""
        own, registered = vars(x), set[Any]()
        for part in parts:
            if part in own:
                held = own[part]
                self._seen[id(held)] = held
                kind = "dict" if isinstance(held, dict) else "list"
                self.watched.append(Slot(kind, held, None, f"{label}.{part}"))
                entries = held.items() if kind == "dict" else enumerate(held)
                for key, inner in entries:
                    registered.add(key)
                    self._visit(inner, f"{label}.{key}")
        for name in sorted(set(own) | self._stored):
            wanted = library or name in self._stored or name in self._names
            if wanted and name not in registered and name not in parts and name != "training":
                self._add("item", own, name, f"{label}.{name}", True)
        self._add("attribute", x, "training", f"{label}.training", True)


def _file_of(kind: type) -> str | None:
    return getattr(sys.modules.get(kind.__module__), "__file__", "")


@functools.lru_cache(4096)
def names_of(code: CodeType) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    """Return the globals and the attributes that a code mentions, and what it assigns."""
    globals_, attributes, stored = set(), set(), set()
    for step in _steps(code):
        if step.opname in _GLOBALS:
            globals_.add(step.argval)
        elif step.opname.endswith(("_ATTR", "LOAD_METHOD")):
            attributes.add(step.argval)
        elif step.opname == "LOAD_CONST" and type(step.argval) is str:
            attributes.add(step.argval)  # as in getattr(self, "name")
        if step.opname.startswith(("STORE_ATTR", "STORE_GLOBAL", "DELETE_")):
            stored.add(step.argval)
    return frozenset(globals_), frozenset(attributes), frozenset(stored)


def _steps(code: CodeType) -> Iterator[Any]:
    yield from dis.get_instructions(code)
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _steps(inner)
