"""A traced function made ready to run: is it still right, what goes in, what comes out."""

import itertools
import struct
from collections.abc import Sequence
from importlib import import_module
from types import TracebackType
from typing import Any

from atled.backends.protocol import load
from atled.compile.door import (
    MISSED,
    Text,
    write_changes,
    write_checks,
    write_environment,
    write_held,
    write_kept_gradients,
    write_results,
)
from atled.compile.owned import Owned
from atled.config import changes, modes, settings
from atled.core.batch import Batched
from atled.core.binding import Held
from atled.core.graph import Graph, Value
from atled.core.guard import Environment
from atled.core.record import Change, Record, Source
from atled.core.tensor import Tensor
from atled.dtypes import int64

__all__ = ["Leaves", "Prepared", "executor", "target"]

Leaves = Sequence[Tensor]


def executor(graph: Graph, aliases: dict[int, int], tests: Sequence[int] = ()) -> Any:
    """Return what runs a graph; imported on first use, because it needs llvmlite."""
    return import_module(".program", __package__).Program(graph, aliases, tests)


def mode() -> tuple[Any, ...]:
    """Return the settings that a trace depends on."""
    return modes.enabled, settings.default_dtype, settings.backend, settings.safe_gradients


class Prepared:
    """One trace of a function, compiled.

    Args:
        key: the structure of the arguments, and those that are no Tensors.
        environment: what the function reads besides.
        record: what tracing found.
        pinned: arguments (by number) that are Tensors which the function reaches by itself.
        pullback: its derivative, or None.
        leaves: the Tensors among the arguments of the call that was traced.

    Attributes:
        ready: whether the program is right for a call, given the arguments' Tensors; it reads
            the inputs.
    """

    def __init__(
        self,
        key: Any,
        environment: Environment,
        record: Record,
        pinned: dict[int, Tensor],
        pullback: Any,
        leaves: Leaves,
    ) -> None:
        self.key, self.environment, self.record, self.pullback = key, environment, record, pullback
        self.mode, self.calls, self.tracked = mode(), 0, changes.tracked
        self._pinned, self._repeats, self._count = pinned, repeats(leaves), len(leaves)
        self._captured = {id(ref) for ref, *_ in record.captured if isinstance(ref, Tensor)}
        self._lay_out()
        self._lay_in()
        aliases = self._aliases()
        tests = [self._place[v] for v, _ in record.checks]
        self.draws = any(v.op == "threefry" for v in self.graph.values)  # random numbers
        self.program = executor(self.graph, aliases, tests)
        self._owned = Owned(sorted(aliases.values()), self.arrays, self.program.bind)
        self._checks = [(self._place[v], error) for v, error in record.checks]
        self.ready = self._write_ready()
        self._leave = self._write_leave({})
        self._leave_rest = self._write_leave(aliases)

    # -- what it is made of

    def _lay_out(self) -> None:
        """Number the inputs that are read and the outputs that are computed."""
        record = self.record
        kept, needed = [], []
        if self.pullback is not None:
            kept, needed = self.pullback.residuals, self.pullback.inputs
        left = [c.what for c in record.changes if isinstance(c.what, Value)]
        left += [v for v, _ in record.checks]
        wanted = [*left, *[f.value for f in record.fresh], *kept]
        inputs = {v for v, _ in record.inputs}
        passing = self._passing()
        apart = {v for v in wanted if v not in inputs or v in passing} | set(left)
        apart |= passing.intersection(needed)
        outputs = [v for v in dict.fromkeys([*wanted, *needed]) if v in apart]
        values = Graph([v for v, _ in record.inputs], outputs).values
        read = {x for v in values for x in v.inputs} | {*wanted, *outputs}
        self._read = [(v, source) for v, source in record.inputs if v in read]
        self._sources = {place(*source[:3]): k for k, (_, source) in enumerate(self._read)}
        self.graph = Graph([v for v, _ in self._read], outputs)
        # Where a value is found after a run: an output, or behind them an input.
        self._place = {v: i for i, v in enumerate(dict.fromkeys([*outputs, *self.graph.inputs]))}
        self._outputs = len(outputs)
        self._input = {v: k for k, v in enumerate(self.graph.inputs)}

    def _passing(self) -> set[Value]:
        """Return the inputs that are not there any more after a run: it writes over them.

        Whatever else wants such a value (a result, a derivative, another Tensor) gets an output
        of its own, which is a copy.
        """
        replaced = {place(*c[:3]) for c in self.record.changes if c.kind in ("value", "item")}
        return {v for v, s in self.record.inputs if s.kind == "number" or place(*s[:3]) in replaced}

    def _lay_in(self) -> None:
        """Make room for the inputs: `arrays` is what the program runs on.

        `seen` is what they were made of at the last call; behind the inputs there is room for
        Tensors of which only the shape was read.
        """
        xp, record = load("numpy"), self.record
        read = {s.of if type(s.of) is int else id(s.of) for _, s in self._read if s.kind == "value"}
        rest = [c for c in record.captured if not isinstance(c[0], tuple)]
        self._others = [c for c in rest if (c[0] if type(c[0]) is int else id(c[0])) not in read]
        kinds = [(v.shape, v.dtype) for v, _ in self._read] + [(c[1], c[2]) for c in self._others]
        self._kinds = [(shape, xp.native(dtype)) for shape, dtype in kinds]
        self.arrays: list[Any] = [None] * len(self._read)
        self._seen: list[Any] = [None] * len(kinds)
        self._needs = {id(ref): needs for ref, _, _, needs, _ in rest}

    def _numbers(self) -> tuple[struct.Struct, bytearray, list[Source]]:
        """Lay all numbers into one buffer, of which the inputs are views."""
        import numpy as np

        where = [k for k, (_, source) in enumerate(self._read) if source.kind == "number"]
        codes = ["q" if self._read[k][0].dtype is int64 else "d" for k in where]
        pack = struct.Struct("=" + "".join(codes))
        buffer = bytearray(max(pack.size, 1))
        for i, k in enumerate(where):
            line = np.frombuffer(buffer, self._kinds[k][1], count=1, offset=8 * i)
            self.arrays[k] = line.reshape(())
            self.program.bind(k, self.arrays[k])
        return pack, buffer, [self._read[k][1] for k in where]

    def _source_of(self, kind: str, of: Any, key: Any) -> int | None:
        """Return which input is read from a place."""
        return self._sources.get(place(kind, of, key))

    def _aliases(self) -> dict[int, int]:
        """Say which outputs are written over the input of which they take the place."""
        found: dict[int, int] = {}
        taken = set()
        for kind, of, key, what in self.record.changes:
            if kind in ("value", "item") and what.shape and self._place[what] not in found:
                source = self._source_of(kind, of, key)
                if source is not None and source not in taken:
                    found[self._place[what]] = source
                    taken.add(source)
        return found

    # -- before a run

    def _write_ready(self) -> Any:
        """Write `ready`. What differs most often comes first: the arguments, then state."""
        text = Text("ready(leaves)", seen=self._seen, admit=self._admit, captured=self._captured,
                    missed=MISSED)  # fmt: skip
        text.within("try:")
        if self._count:
            text += f"{''.join(f'x{i}, ' for i in range(self._count))} = leaves"
        enabled, dtype, backend, safe = (text.name(x) for x in self.mode)
        text += f"if modes.enabled is not {enabled} or settings.backend != {backend}: return False"
        text += f"if settings.default_dtype is not {dtype}: return False"
        text += f"if settings.safe_gradients is not {safe}: return False"
        if self.draws:  # what is drawn inside a vmap is for that to say
            text += "if modes.batches: return False"
        write_held(text, self.record)
        self._write_arguments(text)
        for prepare in self.record.prepare:
            text += f"{text.name(prepare)}()"
        self._write_inputs(text)
        tracked, own = text.name(self._still_tracked), text.name(self)
        text += f"if {own}.tracked != changes.tracked and not {tracked}(): return False"
        for ref, _, _, _, seen in self.record.captured:
            if seen is not None:
                text += f"if {text.tensor(ref)}._grad is {'None' if seen else 'not None'}: " \
                        "return False"  # fmt: skip
        write_checks(text, self.record.fixed, self.record.equal)
        for guard in self.record.guards:
            text += f"if not {text.name(guard)}(): return False"
        write_environment(text, self.environment)
        text.within("except missed: return False", -1)
        text += "return True"
        return text.function()

    def _write_arguments(self, text: Text) -> None:
        """Write which Tensors the arguments may be."""
        for i, t in self._pinned.items():
            text += f"if x{i} is not {text.name(t)}: return False"
        free = [i for i in range(self._count) if i not in self._pinned]
        if self._captured:
            for i in free:
                text += f"if id(x{i}) in captured: return False"
        if 1 < self._count < 5 and self._repeats is None:
            for i, j in itertools.combinations(range(self._count), 2):
                text += f"if x{i} is x{j}: return False"
        elif self._count > 1:
            known = text.name(self._repeats)
            text += f"if {text.name(repeats)}(leaves) != {known}: return False"
        for ref, _, _, needs, _ in self.record.captured:
            if type(ref) is int or isinstance(ref, Held):
                node = f"{text.tensor(ref)}._node"
                text += f"if {node} is {'None' if needs else 'not None'}: return False"

    def _write_inputs(self, text: Text) -> None:
        """Write the reading of all inputs, arguments first."""
        ordered = sorted(enumerate(self._read), key=lambda e: type(e[1][1].of) is not int)
        for k, (_, (kind, of, key, _)) in ordered:
            if kind == "value":
                self._write_input(text, k, f"{text.tensor(of)}._value", text.tensor(of))
            elif kind == "grad":
                self._write_input(text, k, f"{text.tensor(of)}._grad._value", "None")
            elif kind == "item":
                self._write_input(text, k, text.item(of, key), "None")
            elif kind == "array" and of.flags.c_contiguous:
                self._write_input(text, k, text.name(of), "None")
            elif kind == "array":  # the program runs on a copy, and others may write into it
                text += f"if not admit({k}, {text.name(of)}, None): return False"
        for k, (ref, *_) in enumerate(self._others, len(self._read)):
            self._write_input(text, k, f"{text.tensor(ref)}._value", text.tensor(ref))
        pack, buffer, numbers = self._numbers()
        if numbers:
            read = [
                text.item(of, key) if part is None else f"{text.name(part)}({text.item(of, key)})"
                for _, of, key, part in numbers
            ]
            text += f"{text.name(pack.pack_into)}({text.name(buffer)}, 0, {', '.join(read)})"

    def _write_input(self, text: Text, k: int, value: str, tensor: str) -> None:
        text += f"v = {value}"
        text += f"if v is not seen[{k}] and not admit({k}, v, {tensor}): return False"

    def _admit(self, k: int, value: Any, t: Any) -> bool:
        """Say whether an array fits that was not seen at the last call, and take it in."""
        import numpy as np

        shape, dtype = self._kinds[k]
        if getattr(value, "dtype", None) != dtype or value.shape != shape:
            return False
        if isinstance(value, Batched):  # it has the shape and the dtype of one example
            return False
        if t is not None and (t._node is not None) != self._needs.get(id(t), t._node is not None):
            return False
        self._seen[k] = value
        if k in self._owned:
            self._owned.take(k, value)
        elif k < len(self.arrays):
            self.arrays[k] = array = np.asarray(value, order="C")
            self.program.bind(k, array)
        return True

    def eager(self) -> list[str]:
        """Return the operations that the program calls in Python, because it cannot compile them.

        An interpreted program calls all of them.
        """
        segments = getattr(self.program, "segments", ())
        steps = [s.eager for s in segments if not isinstance(s, list)]
        return [str(v.static.get("name", v.op)) for v in steps]

    def forget(self) -> None:
        """Let go of the arrays of the last call; the next one reads all of them again."""
        self._owned.forget()
        self._seen[:] = [None] * len(self._seen)
        for k, (_, source) in enumerate(self._read):
            if source.kind != "number":
                self.arrays[k] = None

    def retire(self) -> None:
        """Let go of everything, native code too: it is not called again.

        Programs refer to themselves in circles; without this they would wait for the garbage
        collector, which does not see how large they are.
        """
        retire = getattr(self.program, "retire", None)
        if retire is not None:
            retire()
        vars(self).clear()

    def _still_tracked(self) -> bool:
        """Say whether the Tensors from outside still do, or do not, require a gradient."""
        for ref, _, _, needs, _ in self.record.captured:
            if isinstance(ref, Tensor) and (ref._node is not None) != needs:
                return False
        self.tracked = changes.tracked
        return True

    def why_not(self, leaves: Leaves, key: Any) -> str:
        """Say what is different from the call that this program was made for."""
        if mode() != self.mode:
            return "grad mode, default dtype, backend or safe_gradients changed"
        if key != self.key or len(leaves) != self._count:
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

    # -- a run

    def run(self, leaves: Leaves) -> Any:
        """Run on what `ready` has read, leave the new state, and return the result.

        Raises:
            whatever a check says; no state has changed then.
        """
        self._owned.settle()
        try:
            found = self.program.run_bound(self.arrays)
        except BaseException as error:  # Ctrl-C is raised as soon as native code returns
            finished = results_of(error, self.program)
            if finished is not None:
                self._put(leaves, finished)
            raise
        return self._put(leaves, found)

    def _put(self, leaves: Leaves, found: list[Any]) -> Any:
        """Leave what a run has found, and return the result."""
        for at, error in self._checks:
            if not found[at]:
                raise error()
        self.calls += 1
        owned = self._owned
        if owned.moved:
            owned.moved = False
            return self._leave(leaves, found)
        return self._leave_rest(leaves, found)

    def _write_leave(self, aliases: dict[int, int]) -> Any:
        """Write `leave(leaves, found)`: state to its places, results to new Tensors.

        Args:
            aliases: outputs that lie in their places already.
        """
        record, arrays = self.record, self.arrays
        text = Text("leave(leaves, found)", seen=self._seen, arrays=arrays, bind=self.program.bind)
        if self._count:
            text += f"{''.join(f'x{i}, ' for i in range(self._count))} = leaves"
        for i, f in enumerate(record.fresh):
            text += f"f{i} = new(Tensor)"
            text += f"f{i}._node = None"
            text += f"f{i}._value = {self._at(f.value)}{'' if f.value.shape else '[()]'}"
        write_held(text, record)
        if self.pullback is not None:
            fresh = ", ".join(f"f{i}" for i in range(len(record.fresh)))
            saved = ", ".join(self._at(v) for v in self.pullback.residuals)
            connect, graph = text.name(self.pullback.connect), text.name(self.graph)
            text += "inputs = arrays[:]"
            for k, v in enumerate(self.graph.inputs):
                if self._place[v] < self._outputs:
                    text += f"inputs[{k}] = {self._at(v)}"
            text += f"{connect}([{fresh}], leaves, [{saved}], inputs, {graph})"
        write_kept_gradients(text, record)
        left = [c for c in record.changes if not self._is_written(c, aliases)]
        write_changes(text, left, self._at, self._source_of)
        write_results(text, record)
        return text.function()

    def _is_written(self, change: Change, aliases: dict[int, int]) -> bool:
        if change.kind not in ("value", "item"):
            return False
        source = aliases.get(self._place[change.what])
        return source is not None and source == self._source_of(*change[:3])

    def _at(self, value: Value) -> str:
        at = self._place[value]
        return f"found[{at}]" if at < self._outputs else f"arrays[{self._input[value]}]"


def place(kind: str, of: Any, key: Any = None) -> Any:
    """Return what is equal for a source and a change if they are of the same place."""
    if kind == "grad":
        return "value", ("grad", place("", of)), None
    if isinstance(of, tuple):
        return kind, ("grad", place("", of[1])), None
    return kind, ("argument", of) if type(of) is int else id(of), key


def results_of(error: BaseException, program: Any) -> list[Any] | None:
    """Return what a program had found when a signal's exception broke in; None if it had not.

    Python raises such an exception as native code returns. If it was the last of the program
    that returned, state has been written over, and what belongs to it must follow. The arrays
    are still known to the function that was broken off.
    """
    code = getattr(program.run_bound, "__code__", None)
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code is not code:
        trace = trace.tb_next
    if trace is None or code is None:
        return None
    inner = trace.tb_next
    if inner is None:
        done = _at_its_end(trace)
    elif inner.tb_frame.f_code is program._execute.__code__ and inner.tb_next is None:
        done = inner.tb_frame.f_locals.get("call") is program._calls[-1] and _at_its_end(inner)
    else:
        done = False
    if not done:
        return None
    names = {**program.run_bound.__globals__, **trace.tb_frame.f_locals}
    return [names[f"f{k}"] for k in range(len(program.graph.outputs))]


def _at_its_end(trace: TracebackType) -> bool:
    """Say whether a function was broken off in its last two lines: its last call, its return."""
    last = max(line for *_, line in trace.tb_frame.f_code.co_lines() if line is not None)
    return trace.tb_lineno >= last - 1


def repeats(leaves: Leaves) -> list[int] | None:
    """Return for each argument the first one that is the same; None if all differ."""
    ids = [id(x) for x in leaves]
    return None if len(set(ids)) == len(ids) else [ids.index(i) for i in ids]


def target(ref: Any, leaves: Leaves) -> Tensor:
    """Return the Tensor of a reference: an argument, one from outside, or the gradient of one."""
    if isinstance(ref, Held):
        return ref.tensor
    if isinstance(ref, tuple):
        return target(ref[1], leaves)._grad  # type: ignore[return-value]
    return leaves[ref] if type(ref) is int else ref
