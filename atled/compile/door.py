"""The two functions around a program, written out as Python for one trace.

`ready` looks whether the trace is right for a call and reads its inputs; `leave` puts what came
out where it belongs. Between them a small training step has some 60 things to look at and to
put down. As loops over tables that takes 12 µs, written out line by line a quarter of it:

    def ready(leaves):
        x0, x1, = leaves
        v = x0._value
        if v is not seen[0] and not admit(0, v): return False
        ...

Arrays seen at the last call are known by identity. `admit` looks at others.
"""

import struct
from collections.abc import Callable, Iterable
from typing import Any

from atled.config import changes, modes, settings
from atled.core.guard import MISSING, Environment, Slot, same
from atled.core.tensor import Tensor

__all__ = ["Text", "write_checks", "write_environment"]


class Text:
    """A Python function that is being written.

    Args:
        head: its first line.
    """

    def __init__(self, head: str) -> None:
        self._lines = [head]
        self._names: dict[int, str] = {}
        self._space: dict[str, Any] = {
            "changes": changes, "modes": modes, "settings": settings, "same": same,
            "new": object.__new__, "Tensor": Tensor, "missing": (
                AttributeError, KeyError, ValueError, struct.error
            ),
        }  # fmt: skip

    def __iadd__(self, line: str) -> "Text":
        self._lines.append("    " + line)
        return self

    def name(self, thing: Any) -> str:
        """Return a name under which the function finds an object."""
        known = self._names.get(id(thing))
        if known is None:
            known = self._names[id(thing)] = f"o{len(self._names)}"
            self._space[known] = thing
        return known

    def function(self) -> Callable[..., Any]:
        """Return the function."""
        source = "\n".join(self._lines)
        exec(compile(source, "<atled.compile.door>", "exec"), self._space)
        made = self._space[self._lines[0].split("(")[0].removeprefix("def ")]
        made.source = source
        return made  # type: ignore[no-any-return]

    def tensor(self, ref: Any) -> str:
        """Return how a Tensor is written: an argument, one from outside, or one's gradient."""
        if type(ref) is int:
            return f"x{ref}"
        return f"{self.tensor(ref[1])}._grad" if isinstance(ref, tuple) else self.name(ref)


def write_environment(text: Text, environment: Environment) -> None:
    """Write the comparison of every slot; identity first, equality where that fails."""
    for slot in environment.slots:
        text += f"if {_differs(text, slot)} and not {text.name(slot)}.holds(): return False"
    space = text.name(environment)
    text += f"if {space}.version != changes.modules and not {space}.watched_hold(): return False"


def _differs(text: Text, slot: Slot) -> str:
    holder, value, key = text.name(slot.holder), text.name(slot.value), slot.key
    if slot.value is MISSING or slot.kind == "hooks":
        return "True"
    if slot.kind == "cell":
        return f"{holder}.cell_contents is not {value}"
    if slot.kind == "item" and isinstance(key, str):
        return f"{holder}[{key!r}] is not {value}"
    if slot.kind == "attribute" and key.isidentifier():
        return f"{holder}.{key} is not {value}"
    if slot.kind in ("list", "dict") and not slot.value:
        return holder
    return "True"


def write_checks(text: Text, fixed: Iterable[Any], equal: Iterable[Any]) -> None:
    """Write the comparison of options, and of numbers that must be equal to one another."""
    for mapping, key, value in fixed:
        read, known = f"{text.name(mapping)}[{key!r}]", text.name(value)
        text += f"if {read} is not {known} and not same({known}, {read}): return False"
    for key, (first, *others) in equal:
        text += f"v = {text.name(first)}[{key!r}]"
        for mapping in others:
            text += f"if {text.name(mapping)}[{key!r}] != v: return False"
