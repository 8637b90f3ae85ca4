"""A traced function made ready to run: is it still right, what goes in, what comes out.

`Prepared` is asked at every call, so each of its steps is a flat loop over what was found out
when it was made. Arrays that were seen at the last call are known by identity; only others have
their shape and dtype looked at.
"""

import struct
from collections.abc import Sequence
from typing import Any

from atled.backends.protocol import load
from atled.compile.interpret import Interpreted
from atled.config import modes, settings
from atled.core.graph import Graph, Value
from atled.core.guard import Environment
from atled.core.tensor import Tensor, wrap
from atled.core.trace import Record
from atled.dtypes import int64
from atled.tree import unflatten

__all__ = ["Leaves", "Prepared", "mode", "target"]

# What runs a graph: `Executor(graph, aliases).run(arrays) -> arrays`.
Executor: Any = Interpreted

Leaves = Sequence[Tensor]


def mode() -> tuple[Any, ...]:
    """Return the settings that a trace depends on."""
    return modes.enabled, settings.default_dtype, settings.backend


class Prepared:
    """One trace of a function, compiled.

    Args:
        key: the structure of the arguments, and those that are no Tensors.
        environment: what the function reads besides.
        record: what tracing found.
        pinned: arguments (by number) that are Tensors which the function reaches by itself.
        pullback: its derivative, or None.
        leaves: the Tensors among the arguments of the call that was traced.
    """

    def __init__(
        self,
        key: Any,
        environment: Environment,
        record: Record,
        pinned: list[tuple[int, Tensor]],
        pullback: Any,
        leaves: Leaves,
    ) -> None:
        self.key, self.environment, self.record, self.pullback = key, environment, record, pullback
        self.mode, self.calls = mode(), 0
        self._repeats = repeats(leaves)
        self._guards, self._prepare = record.guards, record.prepare
        self._pinned, self._captured = pinned, {id(r) for r, *_ in record.captured}
        kept = pullback.residuals if pullback is not None else []
        self._lay_out(record, kept)
        self._find_sources(record)
        self._find_facts(record)
        self._find_sinks(record)
        self._residuals = [self._place[v] for v in kept]
        self._program = Executor(self.graph, self._aliases())

    # -- what it is made of

    def _lay_out(self, record: Record, kept: list[Value]) -> None:
        """Number the inputs that are read and the outputs that are computed."""
        wanted = [c.what for c in record.changes if isinstance(c.what, Value)]
        wanted += [f.value for f in record.fresh] + [v for v, _ in record.checks] + kept
        known = {v for v, _ in record.inputs}
        outputs = [v for v in dict.fromkeys(wanted) if v not in known]
        whole = Graph([v for v, _ in record.inputs], outputs)
        read = {x for v in whole.values for x in v.inputs} | set(wanted)
        self._read = [(v, source) for v, source in record.inputs if v in read]
        self.graph = Graph([v for v, _ in self._read], outputs)
        # Where a value is found after a run, in [*outputs, *inputs].
        self._place = {v: i for i, v in enumerate([*outputs, *self.graph.inputs])}
        self._inputs = {v: i for i, v in enumerate(self.graph.inputs)}

    def _find_sources(self, record: Record) -> None:
        xp = load("numpy")
        count = len(self._read)
        self._arrays: list[Any] = [None] * count  # what the program runs on
        self._seen: list[Any] = [None] * count  # what they were made of
        self._kinds = [(v.shape, xp.native(v.dtype)) for v, _ in self._read]
        self._arguments: list[tuple[int, int]] = []
        self._tensors: list[tuple[int, Tensor]] = []
        self._grads: list[tuple[int, Any]] = []
        self._items: list[tuple[int, Any, Any]] = []
        numbers = []
        for k, (_, (kind, of, key, _)) in enumerate(self._read):
            if kind == "value" and type(of) is int:
                self._arguments.append((k, of))
            elif kind == "value":
                self._tensors.append((k, of))
            elif kind == "grad":
                self._grads.append((k, of))
            elif kind == "item":
                self._items.append((k, of, key))
            elif kind == "array":
                self._tensors.append((k, _Holder(of)))  # type: ignore[arg-type]
            else:
                numbers.append(k)
        self._find_numbers(numbers)

    def _find_numbers(self, where: list[int]) -> None:
        """Lay all numbers into one buffer, of which the inputs are views."""
        import numpy as np

        self._numbers = [self._read[k][1] for k in where]
        codes = ["q" if self._read[k][0].dtype is int64 else "d" for k in where]
        self._pack = struct.Struct("=" + "".join(codes))
        self._buffer = bytearray(max(self._pack.size, 1))
        for i, k in enumerate(where):
            line = np.frombuffer(self._buffer, self._kinds[k][1], count=1, offset=8 * i)
            self._arrays[k] = line.reshape(())

    def _find_facts(self, record: Record) -> None:
        """Sort what the trace relied on in Tensors from outside."""
        xp = load("numpy")
        read = {id(t) for _, t in self._tensors}
        self._shapes = [
            (ref, shape, xp.native(dtype))
            for ref, shape, dtype, _, _ in record.captured
            if (type(ref) is int and all(ref != i for _, i in self._arguments))
            or (isinstance(ref, Tensor) and id(ref) not in read)
        ]
        facts = [f for f in record.captured if not isinstance(f[0], tuple)]
        self._tracked = [ref for ref, _, _, needs, _ in facts if needs]
        self._plain = [ref for ref, _, _, needs, _ in facts if not needs]
        self._with_grad = [f[0] for f in facts if f[4] is True]
        self._without_grad = [f[0] for f in facts if f[4] is False]

    def _find_sinks(self, record: Record) -> None:
        """Sort what a call leaves where; `place` numbers are those of `_place`."""
        place = self._place
        self._checks = [(place[v], error) for v, error in record.checks]
        self._fresh = [(place[f.value], not f.value.shape) for f in record.fresh]
        by_kind: dict[str, list[Any]] = {"value": [], "grad": [], "item": [], "number": []}
        for kind, of, key, what in record.changes:
            if kind == "grad":
                by_kind[kind].append((of, what))
            else:
                source = self._source_of(kind, of, key)
                by_kind[kind].append((place[what], of, key, not what.shape, source))
        self._values, self._gradients = by_kind["value"], by_kind["grad"]
        self._written, self._counts = by_kind["item"], by_kind["number"]
        self._direct = record.results == [("fresh", 0)] and record.structure.build is None

    def _source_of(self, kind: str, of: Any, key: Any) -> int | None:
        """Return which input is read from where a change goes."""
        for k, (_, source) in enumerate(self._read):
            if source.kind == kind and source.of is of and source.key == key:
                return k
        return None

    def _aliases(self) -> dict[int, int]:
        """Say which outputs take the place of an input of their kind."""
        outputs = len(self.graph.outputs)
        found = {}
        for place, _, _, _, source in (*self._values, *self._written):
            if place < outputs and source is not None and place not in found:
                found[place] = source
        return found

    # -- whether it can be used

    def _write_ready(self) -> Any:
        """Write `ready(leaves)`: whether this program is right for a call; it reads the inputs.

        What is most often different comes first: shapes, then state, then the rest.
        """
        text = Text("def ready(leaves):")
        count = len(self._leaves)
        text += f"if len(leaves) != {count}: return False"
        text += "try:"
        inner = Text.indented(text)
        if count:
            inner += f"{', '.join(f'x{i}' for i in range(count))}, = leaves"
        self._write_mode(inner)
        self._write_inputs(inner)
        self._write_arguments(inner)
        self._write_facts(inner)
        write_checks(inner, self.record.fixed, self.record.equal)
        write_environment(inner, self.environment)
        for guard in self.record.guards:
            inner += f"if not {text.name(guard)}(): return False"
        text += "except missing: return False"
        text += "return True"
        return text.function()

    def why_not(self, leaves: Leaves, key: Any) -> str:
        """Say what is different from the call that this program was made for."""
        if mode() != self.mode:
            return "grad mode, default dtype or backend changed"
        if key != self.key:
            return "arguments that are no Tensors, or the structure of the arguments, changed"
        for ref, shape, dtype, needs, seen in self.record.captured:
            if isinstance(ref, tuple):
                continue
            t = target(ref, leaves)
            what = f"argument {ref}" if type(ref) is int else f"a Tensor of shape {shape}"
            if t.shape != shape or t.dtype is not dtype:
                return (
                    f"{what} changed from {dtype.name}{list(shape)} to "
                    f"{t.dtype.name}{list(t.shape)}"
                )
            if (t._node is not None) != needs:
                return f"requires_grad of {what} changed to {t._node is not None}"
            if seen is not None and (t._grad is not None) != seen:
                return f"{what} has {'a' if t._grad is not None else 'no'} gradient now"
        slot = self.environment.differing()
        if slot is not None:
            return slot.describe("changed")
        return "a number that was compared (an option, a count of steps) changed, or state"

    # -- running

    def run(self, leaves: Leaves) -> Any:
        """Run on what `ready` has read, leave the new state, and return the result.

        Raises:
            whatever a check says; no state has changed then.
        """
        found = [*self._program.run(self._arrays), *self._arrays]
        for place, error in self._checks:
            if not found[place]:
                raise error()
        self.calls += 1
        return self._scatter(leaves, found)

    def _scatter(self, leaves: Leaves, found: list[Any]) -> Any:
        fresh = [wrap(found[i][()] if scalar else found[i]) for i, scalar in self._fresh]
        if self.pullback is not None:
            saved = [found[i] for i in self._residuals]
            self.pullback.connect(fresh, leaves, saved, self._arrays, self.graph)
        seen, arrays = self._seen, self._arrays
        for place, of, _, scalar, source in self._values:
            value = found[place]
            if source is not None:
                arrays[source] = value
            if scalar:
                value = value[()]
            (leaves[of] if type(of) is int else target(of, leaves))._value = value
            if source is not None:
                seen[source] = value
        for place, mapping, key, scalar, source in self._written:
            value = found[place]
            if source is not None:
                arrays[source] = value
            mapping[key] = value = value[()] if scalar else value
            if source is not None:
                seen[source] = value
        for place, mapping, key, _, _ in self._counts:
            mapping[key] = found[place].item()
        for of, what in self._gradients:
            grad = None if what is None else self._resolve(what, fresh, leaves)
            (leaves[of] if type(of) is int else target(of, leaves))._grad = grad
        if self._direct:
            return fresh[0]
        results = [self._resolve(r, fresh, leaves) for r in self.record.results]
        return unflatten(self.record.structure, results)

    def _resolve(self, reference: Any, fresh: list[Tensor], leaves: Leaves) -> Any:
        kind, what = reference
        if kind == "fresh":
            return fresh[what]
        if kind == "tensor":
            return leaves[what] if type(what) is int else what
        return target(reference, leaves) if kind == "grad" else what


def repeats(leaves: Leaves) -> list[int] | None:
    """Return for each argument the first one that is the same; None if all differ."""
    ids = [id(x) for x in leaves]
    return None if len(set(ids)) == len(ids) else [ids.index(i) for i in ids]


class _Holder:
    """A raw array from outside, read as a Tensor's value is."""

    __slots__ = ("_value",)

    def __init__(self, array: Any) -> None:
        self._value = array


def target(ref: Any, leaves: Leaves) -> Tensor:
    """Return the Tensor of a reference: an argument, one from outside, or the gradient of one."""
    if isinstance(ref, tuple):
        return target(ref[1], leaves)._grad  # type: ignore[return-value]
    return leaves[ref] if type(ref) is int else ref


