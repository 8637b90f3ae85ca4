"""Bundles: many small parameters updated as one flat array.

A library call on a small array costs about 1 µs whatever its size, and an Adam step makes a
dozen of them for each parameter. Joined, the four parameters of a 64-64-10 network take half the
time of one after another (45 against 93 µs on a busy machine); above some 30,000 elements the copy
costs more than it saves. The row "mlp" of bench/eager.py shows the whole step.

After a step the parameters are views of one fresh array, which nobody writes into again.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from atled.core.tensor import Tensor
from atled.errors import DTypeError

__all__ = ["Bundle", "bundles_of", "raw_state"]

SMALL = 32_768  # elements; a larger parameter is updated by itself

Entry = tuple[int, int, Tensor]  # (group, number of the parameter, parameter)


class Bundle:
    """Parameters of one group with the same history, their weights and their state, joined.

    Args:
        numbers: the parameters' numbers in the optimizer.
        params: the parameters; one alone keeps its shape.
        slots: the state of each.
        group: the options.
    """

    __slots__ = ("_joined", "_shapes", "_state", "_values", "group", "numbers", "params", "xp")

    def __init__(self, numbers: list[int], params: list[Tensor], slots: list[dict[str, Any]],
                 group: Mapping[str, Any]) -> None:  # fmt: skip
        self.numbers, self.params, self.group = numbers, params, group
        self.xp = params[0].backend
        self._shapes = [p.shape for p in params]
        self._state = {
            name: self._join([slot[name] for slot in slots]) if hasattr(value, "shape") else value
            for name, value in slots[0].items()
        }
        self._values: list[Any] = []
        self._joined: Any = None
        self._gather()

    def step(self, update: Callable[..., Any], gradients: Sequence[Any]) -> None:
        """Update the weights, and give each parameter its part of them."""
        if any(p._value is not v for p, v in zip(self.params, self._values, strict=True)):
            self._gather()
        raw = [gradients[i]._value for i in self.numbers]
        dtype = self._joined.dtype
        if any(g.dtype != dtype for g in raw):
            known = self.xp.dtype_of(self._joined)
            raw = [self.xp.astype(g, dtype=known) for g in raw]
        self._state["step"] += 1
        w = update(self.xp, self._joined, self._join(raw), self._state, self.group)
        self._joined, self._values = w, list(self._parts(w))
        for p, value in zip(self.params, self._values, strict=True):
            p._value = value

    def is_stale(self) -> bool:
        """Say whether a parameter's array has become one of another dtype, backend or device."""
        for p, value in zip(self.params, self._values, strict=True):
            if p._value is not value and _kind(p) != (
                self.xp.name, self.xp.dtype_of(value), self.xp.device_of(value)
            ):  # fmt: skip
                return True
        return False

    def slots(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Give back the state of each parameter, by its number."""
        arrays = {k: list(self._parts(v)) for k, v in self._state.items() if hasattr(v, "shape")}
        for at, number in enumerate(self.numbers):
            yield number, {k: arrays[k][at] if k in arrays else v for k, v in self._state.items()}

    def _gather(self) -> None:
        self._values = [p._value for p in self.params]
        self._joined = self._join(self._values)

    def _join(self, arrays: list[Any]) -> Any:
        if len(arrays) == 1:
            return arrays[0]
        xp = self.xp
        flat = [xp.reshape(a, shape=(math.prod(a.shape),)) for a in arrays]
        return xp.concat(*flat, axis=0)

    def _parts(self, joined: Any) -> Iterator[Any]:
        if len(self._shapes) == 1:
            yield joined
            return
        start = 0
        for shape in self._shapes:
            stop = start + math.prod(shape)
            yield self.xp.reshape(joined[start:stop], shape=shape)
            start = stop


def bundles_of(entries: list[Entry], slots: list[dict[str, Any]],
               groups: list[dict[str, Any]], joining: bool) -> list[Bundle]:  # fmt: skip
    """Return bundles over the entries: small parameters with the same history together.

    Args:
        entries: the parameters that have a gradient.
        slots: the state of every parameter of the optimizer.
        groups: the parameter groups.
        joining: whether parameters may be joined at all.

    Raises:
        DTypeError: a parameter has changed its dtype or backend since its state was made.
    """
    gathered: dict[Any, list[Entry]] = {}
    for entry in entries:
        group, number, p = entry
        slot = slots[number]
        _check_state(p, slot)
        alone = number if not joining or p.size > SMALL else None
        numbers = tuple((k, None if hasattr(v, "shape") else v) for k, v in slot.items())
        gathered.setdefault((group, alone, _kind(p), numbers), []).append(entry)
    return [
        Bundle([n for _, n, _ in each], [p for _, _, p in each],
               [slots[n] for _, n, _ in each], groups[each[0][0]])
        for each in gathered.values()
    ]  # fmt: skip


def raw_state(p: Tensor, saved: Mapping[str, Any]) -> dict[str, Any]:
    """Return a saved state of `p` as arrays of its backend, dtype and device, and numbers."""
    xp = p.backend
    return {
        name: xp.asarray(_plain(value, xp), dtype=p.dtype, device=p.device)
        if hasattr(value, "shape")
        else value
        for name, value in saved.items()
    }


def _plain(value: Any, xp: Any) -> Any:
    if not isinstance(value, Tensor):
        return value
    return value._value if value.backend is xp else value.tolist()


def _kind(p: Tensor) -> tuple[Any, ...]:
    return (p.backend.name, p.dtype, p.device)


def _check_state(p: Tensor, slot: Mapping[str, Any]) -> None:
    for name, value in slot.items():
        if not hasattr(value, "shape"):
            continue
        fits = type(value) in p.backend.array_types and p.backend.dtype_of(value) is p.dtype
        if not fits or p.backend.device_of(value) != p.device:
            raise DTypeError(
                f"a parameter of shape {p.shape} is {p.dtype.name} on {p.backend.name} "
                f"({p.device}) now, and its {name} is not: it was converted after the "
                "optimizer's first step. Make the optimizer after model.to(...)"
            )  # fmt: skip
