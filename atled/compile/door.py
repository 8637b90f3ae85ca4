"""The two functions around a program, written out as Python for one trace.

`ready` looks whether the trace is right for a call and reads its inputs; `leave` puts what came
out where it belongs. Between them a small training step has some 60 things to look at and to
put down: as loops over tables that took 17 µs a call, written out line by line a fifth of it.

    def ready(leaves):
        x0, x1, = leaves
        v = x0._value
        if v is not seen[0] and not admit(0, v): return False
        ...

Arrays that were seen at the last call are known by identity; `admit` looks at others.
"""

import struct
from collections.abc import Callable, Iterable
from typing import Any

from atled.config import changes as _changes
from atled.config import modes, settings
from atled.core.binding import Held
from atled.core.graph import Value
from atled.core.guard import MISSING, Environment, Slot, same
from atled.core.record import Change, Record
from atled.core.tensor import Tensor
from atled.tree import unflatten

__all__ = ["Text", "write_changes", "write_checks", "write_environment", "write_results"]


class Text:
    """A Python function that is being written.

    Args:
        head: its first line, without "def" and ":".
        known: objects that it finds under names of their own.
    """

    def __init__(self, head: str, **known: Any) -> None:
        self._lines, self._depth = [f"def {head}:"], 1
        self._names: dict[int, str] = {}
        self._space: dict[str, Any] = {
            "changes": _changes, "modes": modes, "settings": settings, "same": same,
            "new": object.__new__, "Tensor": Tensor, **known,
        }  # fmt: skip
        self._head = head.split("(")[0]

    def __iadd__(self, line: str) -> "Text":
        self._lines.append("    " * self._depth + line)
        return self

    def within(self, line: str, deeper: int = 1) -> None:
        """Write a line that opens a block (or, with deeper=-1, that stands after one)."""
        if deeper < 0:
            self._depth += deeper
        self._lines.append("    " * self._depth + line)
        if deeper > 0:
            self._depth += deeper

    def name(self, thing: Any) -> str:
        """Return a name under which the function finds an object."""
        known = self._names.get(id(thing))
        if known is None:
            known = self._names[id(thing)] = f"o{len(self._names)}"
            self._space[known] = thing
        return known

    def item(self, mapping: Any, key: Any) -> str:
        """Return how an entry of a mapping is written."""
        return f"{self.name(mapping)}[{repr(key) if type(key) is str else self.name(key)}]"

    def tensor(self, ref: Any) -> str:
        """Return how a Tensor is written: an argument, one from outside, or one's gradient."""
        if type(ref) is int:
            return f"x{ref}"
        if isinstance(ref, Held):
            return f"h{self.name(ref)}"
        return f"{self.tensor(ref[1])}._grad" if isinstance(ref, tuple) else self.name(ref)

    def function(self) -> Callable[..., Any]:
        """Return the function; its text is in its attribute `source`."""
        source = "\n".join(self._lines)
        exec(compile(source, f"{__file__}/<{self._head}>", "exec"), self._space)
        made = self._space.pop(self._head)
        made.source = source
        return made


# -- ready


def write_environment(text: Text, environment: Environment) -> None:
    """Write the comparison of every slot: identity first, `Slot.holds` where that fails."""
    for slot in environment.slots:
        if slot.kind not in ("list", "dict") or slot.value:
            text += f"if {_differs(text, slot)} and not {text.name(slot)}.holds(): return False"
        else:
            text += f"if {text.name(slot.holder)}: return False"
    space = text.name(environment)
    text += f"if {space}.version != changes.modules and not {space}.watched_hold(): return False"


def _differs(text: Text, slot: Slot) -> str:
    holder, value, key = text.name(slot.holder), text.name(slot.value), slot.key
    if slot.value is not MISSING:
        if slot.kind == "cell":
            return f"{holder}.cell_contents is not {value}"
        if slot.kind == "item":
            return f"{text.item(slot.holder, key)} is not {value}"
        if slot.kind == "attribute" and key.isidentifier():
            return f"{holder}.{key} is not {value}"
    elif slot.kind == "item":
        key = repr(key) if type(key) is str else text.name(key)
        return f"{key} in {holder}"
    return "True"


def write_checks(text: Text, fixed: Iterable[Any], equal: Iterable[Any]) -> None:
    """Write the comparison of options, and of numbers that must be equal to one another."""
    for mapping, key, value in fixed:
        read, known = text.item(mapping, key), text.name(value)
        text += f"if {read} is not {known} and not same({known}, {read}): return False"
    for key, (first, *others) in equal:
        text += f"v = {text.item(first, key)}"
        for mapping in others:
            text += f"if {text.item(mapping, key)} != v: return False"


# What reading state may raise where it is not there any more, or no number.
MISSED = (AttributeError, KeyError, ValueError, struct.error)


# -- leave


def write_changes(
    text: Text, changes: list[Change], at: Callable[[Value], str], source: Callable[..., int | None]
) -> None:
    """Write down what a call changes.

    Args:
        at: where a value is found after a run.
        source: the input that is read from a place, or None.
    """
    numbers: dict[Value, list[str]] = {}
    for kind, of, key, what in changes:
        if kind == "number":
            numbers.setdefault(what, []).append(text.item(of, key))
        elif kind in ("value", "item"):
            to = f"{text.tensor(of)}._value" if kind == "value" else text.item(of, key)
            k, scalar = source(kind, of, key), "" if what.shape else "[()]"
            if k is None:
                text += f"{to} = {at(what)}{scalar}"
            elif scalar:
                text += f"arrays[{k}] = v = {at(what)}"
                text += f"bind({k}, v)"
                text += f"seen[{k}] = {to} = v[()]"
            else:
                text += f"arrays[{k}] = seen[{k}] = {to} = v = {at(what)}"
                text += f"bind({k}, v)"
    for value, places in numbers.items():
        text += f"{' = '.join(places)} = {at(value)}.item()"
    for kind, of, key, what in changes:
        if kind == "rebind":
            text += f"{text.item(of, key)} = {_result(text, what)}"
            if not isinstance(of.get(key), Tensor):  # the next call needs another program
                text += "changes.modules += 1"
        elif kind == "grad":
            text += f"{text.tensor(of)}._grad = {'None' if what is None else _result(text, what)}"


def write_results(text: Text, record: Record) -> None:
    """Write the line that returns the result."""
    structure, parts = record.structure, [_result(text, r) for r in record.results]
    if structure.build is None:
        text += f"return {parts[0]}"
    elif structure.kind in (list, tuple) and all(c.build is None for c in structure.children):
        listed = "".join(f"{part}, " for part in parts)
        text += f"return ({listed})" if structure.kind is tuple else f"return [{listed}]"
    else:
        build = text.name(unflatten)
        text += f"return {build}({text.name(structure)}, [{', '.join(parts)}])"


def _result(text: Text, reference: Any) -> str:
    kind, what = reference
    if kind == "fresh":
        return f"f{what}"
    if kind == "static":
        return text.name(what)
    return f"g{text.name(what)}" if kind == "grad" else text.tensor(what)


def write_held(text: Text, record: Record) -> None:
    """Write down the Tensors that lie where others may come to lie."""
    for ref, *_ in record.captured:
        if isinstance(ref, Held):
            text += f"{text.tensor(ref)} = {text.item(ref.mapping, ref.key)}"


def write_kept_gradients(text: Text, record: Record) -> None:
    """Write down gradients that are results, before others may take their places."""
    changed = [c.what for c in record.changes if c.kind in ("grad", "rebind") and c.what]
    for kind, what in [*record.results, *changed]:
        if kind == "grad":
            text += f"g{text.name(what)} = {text.tensor(what)}._grad"
