"""From a Python function to a `Graph`: tracing, with the state that the function changes.

While a function is traced, the Tensors that it can reach hold `Symbol`s; numbers that change
from call to call (a learning rate, a count of steps) are `Number`s; new Tensors are symbols from
the start. What the function does to them is found afterwards, by looking at what they hold:

* an *input* of the program is a Tensor, array or number that the graph reads, and where it lies;
* a *change* is a value that lies somewhere else than before: in a parameter, in a `.grad`, in
  an optimizer's state, in a generator's counter;
* a *guard* is an answer that the trace relied on; the program is used while it is the same;
* a *check* is an answer that is only known when the program runs, and the error if it is no.

What always holds: after a trace, and after an exception in it, every Tensor, array and number
that it touched is as it was before. `core/guard.py` does the same for Python's own objects.
"""

import threading
from collections.abc import Callable
from enum import Enum
from functools import partial
from types import FunctionType
from typing import Any

from atled.backends.protocol import NAMESPACES, namespace_of
from atled.config import modes
from atled.core.binding import Binding, Held
from atled.core.graph import Value
from atled.core.guard import Environment, same
from atled.core.record import Change, Fresh, Record, Ref, Source
from atled.core.symbol import TRACED, Number, Symbol
from atled.core.tape import Leaf, Node, ancestors
from atled.core.tensor import Tensor
from atled.dtypes import DType, float64, int64
from atled.errors import BackendError, TraceError
from atled.tree import flatten

__all__ = ["LOCK", "Elsewhere", "Trace"]

LOCK = threading.RLock()  # one trace at a time: it lends symbols to Tensors that others may see
# What may be returned besides Tensors: it is the same in every call.
_CONSTANT = (int, float, str, bytes, type(None), type, DType, Enum, FunctionType, type(Ellipsis))
UNREAD = object()  # stands in `.grad` until somebody looks


def stands_for_symbols(x: Tensor) -> bool:
    """Say whether a Tensor is batched, by a `vmap` inside the function that is traced."""
    return getattr(x.backend, "base", None) is TRACED


class Elsewhere(Exception):
    """A Tensor of a backend that has no compiler: the function is to run eagerly."""

    def __init__(self, tensor: Tensor) -> None:
        super().__init__(tensor.backend.name)
        self.tensor = tensor


class _Captured:
    """A Tensor that was taken into a trace, and how it was before."""

    __slots__ = ("fields", "grad_seen", "hooks", "leaf", "node", "ref", "tensor", "value", "was")

    def __init__(self, t: Tensor, ref: Ref, value: Value) -> None:
        self.tensor, self.ref, self.value = t, ref, value
        self.was, self.node, self.fields = t._value, t._node, dict(t.__dict__)
        self.grad_seen: bool | None = None
        self.leaf: Leaf | None = None
        self.hooks = 0

    def lend(self) -> None:
        """Put the symbol, a leaf of the trace's own, and an unread gradient in the Tensor."""
        t, node = self.tensor, self.node
        t._value, t._grad = Symbol(self.value), UNREAD  # type: ignore[assignment]
        if node is not None:
            self.leaf = leaf = Leaf(t, self.value.shape, self.value.dtype)
            leaf.number = node.number  # older than everything in the trace
            leaf.hooks = list(node.hooks or ())
            self.hooks = len(leaf.hooks)
            t._node = leaf

    def restore(self) -> None:
        t = self.tensor
        t._value, t._node = self.was, self.node
        t.__dict__.clear()
        t.__dict__.update(self.fields)


class _Opened:
    """A mapping of arrays and numbers that was taken into a trace: a parameter's state."""

    __slots__ = ("first", "given", "mapping")

    def __init__(self, mapping: Any, given: dict[Any, Any]) -> None:
        self.mapping, self.given, self.first = mapping, given, dict(given)


class Trace:
    """One run of a function on symbols. While it lasts it is `modes.tracing`.

    Args:
        environment: what the function can reach: its Tensors are lent symbols at once.
        leaves: the arguments' Tensors (None for other arguments), in order.
    """

    namespace = TRACED

    def __init__(self, environment: Environment, leaves: list[Any]) -> None:
        self._sources: list[tuple[Value, Source]] = []
        self._captured: dict[int, _Captured] = {}
        self._arrays: dict[int, Any] = dict(environment.arrays)
        self._lifted: dict[int, Symbol] = {}
        self._opened: dict[int, _Opened] = {}
        self._numbers: dict[Any, Number] = {}
        self._fresh: dict[int, int] = {}
        self._made: list[Tensor] = []
        self._asked: set[Any] = set()
        self.memo: dict[Any, Number] = {}  # of arithmetic on numbers
        self.guards: list[Callable[[], bool]] = []
        self.fixed: list[tuple[Any, Any, Any]] = []
        self.equal: list[tuple[Any, list[Any]]] = []
        self.checks: list[tuple[Value, Callable[[], Exception]]] = []
        self.prepare: list[Callable[[], Any]] = []
        self.failed: list[Callable[[], Any]] = []  # to be called if there is no first run
        self._environment, self._leaves = environment, leaves

    def __enter__(self) -> "Trace":
        LOCK.acquire()
        try:
            for i, leaf in enumerate(self._leaves):
                if leaf is not None and id(leaf) not in self._captured:
                    self._capture(leaf, i)
            for t in self._environment.tensors.values():
                if type(t._value) is not Symbol and NAMESPACES[type(t._value)].name == "numpy":
                    self.capture(t)
        except BaseException:
            self._restore()
            LOCK.release()
            raise
        modes.tracing = self
        return self

    def __exit__(self, *exc: object) -> None:
        modes.tracing = None
        try:
            self._restore()
        finally:
            for kept in (self._captured, self._opened, self._arrays, self._made):
                kept.clear()  # they hold arrays that nobody else may need
            self._leaves = []
            LOCK.release()

    def _restore(self) -> None:
        for known in self._captured.values():
            known.restore()

    # -- taking in what comes from outside

    def entered(self, operands: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return operands of an operation with arrays from outside replaced by symbols.

        Raises:
            TraceError: a Tensor or array came by a way that cannot be watched.
            BackendError: Tensors of two backends met.
        """
        for i, x in enumerate(operands):
            if isinstance(x, Tensor):
                if type(x._value) is not Symbol and not stands_for_symbols(x):
                    self._refuse(x, operands)
            elif not isinstance(x, (float, int)) and namespace_of(x) is not None:
                if isinstance(x, Symbol):
                    continue
                symbol = Tensor.__new__(Tensor)
                symbol._value, symbol._node = self.lifted(x), None
                return self.entered((*operands[:i], symbol, *operands[i + 1 :]))
        return operands

    def _refuse(self, x: Tensor, operands: tuple[Any, ...]) -> None:
        name = x.backend.name
        if name == "numpy":
            raise TraceError(
                f"a Tensor of shape {x.shape} came into the compiled function by a way that "
                "cannot be watched: an iterator (next(loader)), a container of more than 1,000 "
                "entries, or an attribute found by a computed name. Pass it as an argument"
            )
        if any(isinstance(o, Tensor) and type(o._value) is Symbol for o in operands):
            raise BackendError(
                f"operands of two backends met, numpy and {name}, in a compiled function; "
                "convert one of them before, with at.asarray(x, backend='numpy')"
            )
        raise Elsewhere(x)

    def capture(self, t: Tensor) -> None:
        """Take in a Tensor from outside, if that has not happened yet."""
        if type(t._value) is not Symbol:
            self._capture(t, t)

    def _capture(self, t: Tensor, ref: Ref, source: Source | None = None) -> None:
        xp = NAMESPACES[type(t._value)]
        if xp.name != "numpy":
            raise Elsewhere(t)
        value = Value("input", (), {}, tuple(t._value.shape), xp.dtype_of(t._value))
        self._sources.append((value, source or Source("value", ref)))
        known = self._captured[id(t)] = _Captured(t, ref, value)
        known.lend()

    def grad_of(self, t: Tensor) -> Tensor | None:
        """Return `t.grad`, and note that the trace depends on whether there is one."""
        if t._grad is UNREAD:
            known = self._captured[id(t)]
            grad = known.fields.get("_grad")
            known.grad_seen = grad is not None
            if grad is not None and type(grad._value) is not Symbol:
                self._capture(grad, ("grad", known.ref), Source("grad", known.ref))
            t._grad = grad
        return t._grad

    def lifted(self, array: Any) -> Symbol:
        """Return the symbol of a raw array from outside, whose contents each call reads anew.

        Raises:
            TraceError: the array was made while tracing, and would stay what it is now.
        """
        known = self._lifted.get(id(array))
        if known is not None:
            return known
        xp = namespace_of(array)
        if xp is None:
            raise TraceError(f"a compiled function cannot take a {type(array).__name__}")
        if not getattr(array, "shape", ()) and id(array) not in self._arrays:
            return TRACED.full((), array.item(), dtype=xp.dtype_of(array))  # a NumPy scalar
        if id(array) not in self._arrays:
            raise TraceError(
                f"an array of shape {tuple(array.shape)} was made by {xp.name} while a compiled "
                "function is traced; every call would use the same numbers. Make it with "
                "atled's own functions (at.ones, at.rand...), or outside, as a Tensor"
            )
        self._arrays[id(array)] = array
        value = Value("input", (), {}, tuple(array.shape), xp.dtype_of(array))
        self._sources.append((value, Source("array", array)))
        symbol = self._lifted[id(array)] = Symbol(value)
        return symbol

    def constant(self, array: Any) -> Symbol:
        """Return the symbol of an array made of Python numbers: it is what it is."""
        self._arrays[id(array)] = array
        return self.lifted(array)

    def original(self, t: Tensor) -> Any:
        """Return the raw array that a captured Tensor held before the trace."""
        known = self._captured.get(id(t))
        return t._value if known is None else known.was

    # -- numbers and arrays that lie in mappings

    def number(self, mapping: Any, key: Any, part: Callable[[Any], Any] | None = None) -> Number:
        """Return the number at mapping[key] (or `part` of it), as each call will find it there."""
        known = self._numbers.get((id(mapping), key, part))
        if known is not None:
            return known

        def again() -> Any:
            found = mapping[key]
            return found if part is None else part(found)

        now = again()
        dtype = int64 if type(now) is int else float64
        value = Value("input", (), {}, (), dtype)
        self._sources.append((value, Source("number", mapping, key, part)))
        made = self._numbers[id(mapping), key, part] = Number(value, now, again)
        return made

    def share(self, mappings: list[Any]) -> None:
        """Read numbers that are equal in all of some mappings now, as all steps are, as one.

        The program is used while they are equal; it then computes with one of them.
        """
        first, *others = mappings
        for key, x in first.items():
            if type(x) not in (int, float) or any(same(x, m.get(key)) is False for m in others):
                continue
            if all((id(m), key, None) not in self._numbers for m in mappings):
                made = self.number(first, key)
                for m in others:
                    self._numbers[id(m), key, None] = made
                self.equal.append((key, mappings))

    def opened(self, mapping: Any, keys: tuple[Any, ...] | None = None) -> dict[Any, Any]:
        """Return a copy of a mapping to read and to change: arrays are symbols, numbers live.

        What is changed in the copy, every call will change in the mapping. Other entries
        (booleans, strings, tuples) must be the same in every call.

        Args:
            keys: what is needed of it; by default everything.
        """
        known = self._opened.get(id(mapping))
        if known is None:
            given = {k: self._entry(mapping, k) for k in (mapping if keys is None else keys)}
            known = self._opened[id(mapping)] = _Opened(mapping, given)
        return known.given

    def _entry(self, mapping: Any, key: Any) -> Any:
        x = mapping[key]
        if type(x) in (float, int) or (isinstance(x, float) and not hasattr(x, "shape")):
            return self.number(mapping, key)
        if isinstance(x, float):  # a numpy.float64
            return self.number(mapping, key, float)
        if hasattr(x, "shape") and not isinstance(x, Tensor):
            xp = NAMESPACES[type(x)]
            value = Value("input", (), {}, tuple(x.shape), xp.dtype_of(x))
            self._sources.append((value, Source("item", mapping, key)))
            return Symbol(value)
        self.fixed.append((mapping, key, x))
        return x

    # -- answers

    def guard(self, holds: Callable[[], bool], key: Any = None) -> None:
        """Use the program only while `holds()` is true; a guard with a known key is left out."""
        if key is None or key not in self._asked:
            self._asked.add(key)
            self.guards.append(holds)

    def check(self, condition: Any, error: Callable[[], Exception]) -> None:
        """Let each call raise `error()`, and change nothing, if a traced condition is false."""
        value = condition._value if isinstance(condition, Tensor) else condition
        value = NAMESPACES[type(value)].whole(value)
        self.checks.append((TRACED.all(value).value, error))

    # -- the end

    def finish(self, result: Any, bindings: list[Binding] | None = None) -> Record:
        """Return what was found; called while the trace still lasts.

        Args:
            result: what the function returned.
            bindings: names that have got other Tensors, see `core/binding.py`.

        Raises:
            TraceError: something was changed that a program cannot change.
        """
        for known in self._captured.values():
            _check_kept(known)
        for binding in bindings or ():
            self._hold(binding)
        changes = [c for known in list(self._captured.values()) for c in self._changes_of(known)]
        changes += [c for opened in self._opened.values() for c in self._items_of(opened)]
        changes += [self._rebinding(b) for b in bindings or ()]
        leaves, structure = flatten(result)
        results = [self._reference(x) for x in leaves]
        fresh = [self._describe(t) for t in self._made]
        nodes = {f.node for f in fresh if f.node is not None}
        below = set(ancestors(nodes)) if nodes else set()
        ends = [(k.ref, k.leaf) for k in self._captured.values() if k.leaf in below]
        return Record(
            self._sources, fresh, structure, results, changes, self.checks, self.guards,
            ends, [self._facts(k) for k in self._captured.values()], self.prepare, self.fixed,
            self.equal, self,
        )  # fmt: skip

    def _hold(self, b: Binding) -> None:
        """Read a captured Tensor from where it lies, for there will be others."""
        if not isinstance(b.old, Tensor):
            return
        known = self._captured.get(id(b.old))
        if known is None or known.node is not None or known.ref is not b.old:
            raise TraceError(
                f"a compiled function puts a new Tensor in the place of one, {b.key!r}, that "
                "requires a gradient, or is an argument; give that one a new value: t.copy_(new)"
            )
        known.ref = held = Held(b.mapping, b.key)
        for i, (value, source) in enumerate(self._sources):
            if value is known.value:
                self._sources[i] = value, source._replace(of=held)

    def _rebinding(self, b: Binding) -> Change:
        if b.new._node is not None and _is_live(b.new._node):
            raise TraceError(
                f"a compiled function stores a Tensor that requires a gradient, as {b.key!r}; "
                "store t.detach(), or return it"
            )
        return Change("rebind", b.mapping, b.key, self._reference(b.new))

    def _facts(self, known: _Captured) -> Any:
        v = known.value
        return known.ref, v.shape, v.dtype, known.node is not None, known.grad_seen

    def _changes_of(self, known: _Captured) -> list[Change]:
        t, found = known.tensor, []
        if t._value.value is not known.value:
            found.append(Change("value", known.ref, None, t._value.value))
        grad = t._grad
        if grad is not UNREAD and (
            known.grad_seen is None or grad is not known.fields.get("_grad")
        ):
            if grad is not None and grad._node is not None and _is_live(grad._node):
                raise TraceError(
                    "a compiled function leaves a .grad that can itself be differentiated "
                    "(create_graph=True); return the gradient, or use .detach()"
                )
            if known.node is not None and known.node.derivative is not None:
                raise TraceError(
                    "backward() in a compiled function reached an argument that was computed "
                    "outside; it cannot go on there. Return the loss and call backward() outside"
                )
            what = None if grad is None else self._reference(grad)
            found.append(Change("grad", known.ref, None, what))
        return found

    def _items_of(self, opened: _Opened) -> list[Change]:
        found = []
        for key, x in opened.given.items():
            if x is opened.first.get(key, UNREAD):
                continue
            if isinstance(x, (Symbol, Number)):
                if key not in opened.first:  # the next call will find it there, and differ
                    self.guards.append(partial(_lacks, opened.mapping, key))
                before = opened.first.get(key)
                if getattr(before, "value", None) is x.value:
                    continue
                kind = "number" if isinstance(x, Number) else "item"
                found.append(Change(kind, opened.mapping, key, x.value))
            else:
                raise TraceError(f"a compiled step left {x!r} in the state {key!r}"[:200])
        return found

    def _reference(self, x: Any) -> Any:
        if isinstance(x, Number):
            raise TraceError("a number that changes from call to call cannot be returned")
        if not isinstance(x, Tensor):
            if not isinstance(x, _CONSTANT) and not self._environment.knows(x):
                raise TraceError(
                    f"a compiled function returns a {type(x).__name__} made inside it, in which "
                    "Tensors cannot be found; return Tensors, or lists, tuples, dicts and "
                    "dataclasses of them"
                )
            return ("static", x)
        known = self._captured.get(id(x))
        if known is not None:
            ref = known.ref
            return ref if isinstance(ref, tuple) else ("tensor", ref)
        self.entered((x,))
        number = self._fresh.setdefault(id(x), len(self._made))
        if number == len(self._made):
            self._made.append(x)
        return ("fresh", number)

    def _describe(self, t: Tensor) -> Fresh:
        node = t._node
        return Fresh(t._value.value, node if node is not None and _is_live(node) else None)


def _lacks(mapping: Any, key: Any) -> bool:
    return key not in mapping


def _check_kept(known: _Captured) -> None:
    """Refuse what a call cannot repeat: hooks, and a change of requires_grad."""
    t = known.tensor
    if t._node is not known.leaf:
        raise TraceError(
            f"a Tensor of shape {t.shape} from outside got another requires_grad, or a value that "
            "can be differentiated, in a compiled function; set requires_grad outside, and "
            "detach() the value"
        )
    if known.leaf is not None and len(known.leaf.hooks or ()) != known.hooks:
        raise TraceError(
            "a hook was registered on a Tensor from outside in a compiled function; do it outside"
        )


def _is_live(node: Node) -> bool:
    """Say whether nothing that a node depends on has been freed by a backward pass."""
    return all(n.saved is not None for n in ancestors([node]))
