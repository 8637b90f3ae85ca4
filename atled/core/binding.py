"""Names that get another Tensor while a function is traced: ``self.hidden = new``.

Such a name is state like a Tensor's value: every call reads what lies there and leaves a new
Tensor. It must be an attribute, a buffer, a global or an entry of a dict, and hold Tensors that
carry no gradient; the old Tensor must lie nowhere else.
"""

from collections import Counter
from typing import Any, NamedTuple

from atled.core.guard import MISSING, Environment, Slot, same
from atled.core.tensor import Tensor

__all__ = ["ANY_TENSOR", "Binding", "Held", "rebound", "settle"]


class _AnyTensor:
    """Equal, for a slot, to every Tensor."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tensor)

    __hash__ = None  # type: ignore[assignment]


ANY_TENSOR = _AnyTensor()


class Held:
    """Whatever Tensor lies at mapping[key]."""

    __slots__ = ("key", "mapping")

    def __init__(self, mapping: Any, key: Any) -> None:
        self.mapping, self.key = mapping, key

    @property
    def tensor(self) -> Tensor:
        """The Tensor that lies there now."""
        return self.mapping[self.key]


class Binding(NamedTuple):
    """One name that got another Tensor: where, what lay there, what lies there now."""

    mapping: Any
    key: Any
    old: Any
    new: Any


def rebound(environment: Environment) -> tuple[list[Binding], list[Slot]]:
    """Return the names that have got other Tensors, and the slots that changed otherwise."""
    found: list[Binding] = []
    refused: list[Slot] = []
    slots = environment.changed()
    places = _places(environment) if slots else Counter()
    for slot in slots:
        bindings = _bindings(slot)
        if bindings and all(places[id(b.old)] <= 1 for b in bindings if b.old is not None):
            found += bindings
        else:
            refused.append(slot)
    return found, refused


def settle(environment: Environment, bindings: list[Binding]) -> None:
    """Put the old Tensors back, and expect any Tensor where there was one."""
    for slot in environment.changed():
        slot.restore()
    changed = {(id(b.mapping), b.key) for b in bindings if isinstance(b.old, Tensor)}
    for slot in (*environment.slots, *environment.watched):
        if slot.kind == "item" and (id(slot.holder), slot.key) in changed:
            slot.value = ANY_TENSOR
        elif slot.kind == "dict":
            for key in slot.value:
                if (id(slot.holder), key) in changed:
                    slot.value[key] = ANY_TENSOR


def _bindings(slot: Slot) -> list[Binding]:
    """Return what changed in a slot if all of it is Tensors in a dict; else nothing."""
    before, now = slot.value, slot.now()
    if slot.kind == "item" and type(slot.holder) is dict:
        changed = [(slot.key, before, now)]
    elif slot.kind == "dict" and set(before) <= set(now):
        pairs = [(k, before.get(k, MISSING), v) for k, v in now.items()]
        changed = [p for p in pairs if not same(p[1], p[2])]
    else:
        return []
    for _, old, new in changed:
        if type(new) is not Tensor or not (type(old) is Tensor or old in (None, MISSING)):
            return []
    return [Binding(slot.holder, *each) for each in changed]


def _places(environment: Environment) -> Counter[int]:
    """Count in how many places each Tensor lies."""
    count: Counter[int] = Counter()
    for slot in (*environment.slots, *environment.watched):
        value = slot.value
        whole = slot.kind in ("list", "dict")
        inner = value.values() if slot.kind == "dict" else value if whole else [value]
        count.update({id(x) for x in inner if isinstance(x, Tensor)})
    return count
