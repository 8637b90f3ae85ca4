"""A compiled graph: native code, an arena for what lies between, and how to run it.

The code of a program is one module: the functions of its steps, and for each level a function
over *shares*, the units of all of the level's steps cut in parts of about equal work. Threads
claim shares; a small program calls its levels one after another on the caller's thread.

A program finds arrays through its *frame*: a table with, for every input, output and the arena,
the address of a pointer to the data. The header of a numpy.ndarray holds such a pointer, so the
frame can name the object itself and nothing is unpacked in a call.
"""

import ctypes
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from atled.backends.protocol import load
from atled.compile import threads
from atled.compile.explain import debug_level, explain
from atled.compile.fuse import planned
from atled.compile.memory import scheduled
from atled.compile.native import Library
from atled.compile.routines import steps_of
from atled.compile.simplify import simplified
from atled.compile.steps import Step, copy_step
from atled.core.graph import Graph, Value
from atled.dtypes import bfloat16, float16
from atled.errors import TraceError

__all__ = ["DATA", "Program"]

SMALL = 60_000  # cycles: a program below that is not worth waking another thread for
SHARE = 12_000  # cycles: a share is at least that much work
SHARES = 32  # of one step, at most


def _data_offset() -> int:
    """Return where in an ndarray object the pointer to its data lies.

    Raises:
        RuntimeError: not where NumPy 2 has it.
    """
    probe = np.zeros(3)
    header = object.__basicsize__
    if ctypes.c_void_p.from_address(id(probe) + header).value != probe.ctypes.data:
        raise RuntimeError(f"NumPy {np.__version__} keeps its data where atled does not look")
    return header


DATA = _data_offset()


class Program:
    """A graph as native code.

    Args:
        graph: what to compute.
        aliases: output number -> number of the input whose memory it takes over: that array is
            written in place, and is itself the output.
        tests: numbers of outputs, 0-d booleans: if one is false, the program stops before it
            writes to any memory of an input.
    """

    def __init__(
        self,
        graph: Graph,
        aliases: dict[int, int] | None = None,
        tests: Sequence[int] = (),
    ) -> None:
        debug = self.debug = debug_level()
        _refuse_halves(graph)
        if debug >= 1:
            print(f"as traced:\n{graph}")
        graph = _apart(simplified(graph), aliases or {})
        if debug >= 1:
            print(f"simplified:\n{graph}")
        wanted = {graph.outputs[k]: graph.inputs[i] for k, i in (aliases or {}).items()}
        wanted = {v: x for v, x in wanted.items() if v.op != "input" and v.size}
        self.tests = [graph.outputs[k] for k in tests]
        plan = planned(graph, self.tests)
        steps = steps_of(plan)
        self.graph, self.plan = graph, plan
        self.schedule = scheduled(graph, steps, wanted, self.tests)
        self._finish_copies()
        self._lay_out()
        self._compile()
        self.lock = threading.Lock()
        self.run_bound = self._write_run()
        if debug >= 2:
            print(explain(self))
        if debug >= 3:
            print(self.text)

    @property
    def is_small(self) -> bool:
        """Whether one thread runs it alone."""
        return self.cost < SMALL

    # -- making it

    def _finish_copies(self) -> None:
        """Add the last level: results computed in the arena go where they belong."""
        copies = [copy_step(v, x) for v, x in self.schedule.copied.items()]
        if copies:
            self.schedule.levels.append(copies)

    def _lay_out(self) -> None:
        schedule = self.schedule
        self.place: dict[Value, Value] = {**schedule.inplace, **schedule.copied}
        self.slots: dict[Value, int] = {}
        for v in self.graph.inputs:
            self.slots.setdefault(v, len(self.slots))
        for v in self.graph.outputs:
            if v not in self.place:
                self.slots.setdefault(v, len(self.slots))
        for v, x in schedule.inplace.items():
            self.slots[v] = self.slots[x]
        self.arena_slot = len(self.slots)
        self.frame = (ctypes.c_void_p * (self.arena_slot + 1))()
        memory = np.empty(schedule.arena + 64, np.uint8)
        start = -memory.ctypes.data % 64
        self.arena = memory[start : start + schedule.arena]
        self.frame[self.arena_slot] = id(self.arena) + DATA
        graph, places = self.graph, {v: k for k, v in enumerate(self.graph.inputs)}
        self._input_slots = [self.slots[v] for v in graph.inputs]
        owners = {v: self.place.get(v, v) for v in graph.outputs}
        self._outputs = [(v.shape, v.dtype.name, places.get(owners[v])) for v in graph.outputs]
        fresh = {self.slots[v]: k for k, v in enumerate(graph.outputs) if owners[v] not in places}
        self._fresh = list(fresh.items())
        firsts = {v: k for k, v in reversed(list(enumerate(graph.outputs)))}
        self._twins = [(k, firsts[v]) for k, v in enumerate(graph.outputs) if firsts[v] != k]
        self._fresh = [(slot, firsts[graph.outputs[k]]) for slot, k in self._fresh]

    def _compile(self) -> None:
        texts: dict[str, str] = {}
        declarations: set[str] = {"declare i64 @llvm.smax.i64(i64, i64)",
                                  "declare i64 @llvm.smin.i64(i64, i64)"}  # fmt: skip
        self.segments: list[Any] = []  # eager steps, and lists of levels as (name, shares)
        self.cost = 0.0
        scratch = 0
        for number, level in enumerate(self.schedule.levels):
            if level[0].eager is not None:
                self.segments.append(level[0])
                continue
            for step in level:
                texts |= step.texts
                declarations |= step.declarations
                scratch = max(scratch, step.scratch)
                self.cost += step.cost * step.units
            name = f"level{number}"
            texts[name], shares = self._level(name, level)
            after_tests = number - 1 in self.schedule.tested
            if not self.segments or isinstance(self.segments[-1], Step) or after_tests:
                self.segments.append([])
            self.segments[-1].append((name, shares))
        self._is_mixed = any(isinstance(segment, Step) for segment in self.segments)
        for number, segment in enumerate(self.segments):
            if isinstance(segment, list):
                test = self._test(segment)
                texts[f"segment{number}"] = _sequence(f"segment{number}", segment, test)
        if self.is_small and not self._is_mixed:
            texts["whole"] = _chain("whole", len(self.segments))
        self.text = "\n".join([*sorted(declarations), *texts.values()])
        self.library = Library(self.text) if texts else None
        threads.scratch(scratch)
        memory = np.empty(scratch + 128, np.uint8)
        self.scratch = memory[-memory.ctypes.data % 64 :]
        self.records: list[Any] = []  # what native code reads while it runs
        if "whole" in texts and self.debug < 4:
            self._calls = [self._alone("whole")]
        else:
            self._calls = [self._call(n, s) for n, s in enumerate(self.segments)]

    def _test(self, segment: list[tuple[str, int]]) -> list[str]:
        """Write what says, at the end of a segment with tests, whether one of them is false."""
        lines, failed = [], "0"
        for k, value in enumerate(self._tests_of(segment)):
            lines += [
                f"  %t{k}c = getelementptr ptr, ptr %frame, i64 {self.slots[value]}",
                f"  %t{k}d = load ptr, ptr %t{k}c",
                f"  %t{k}e = load ptr, ptr %t{k}d",
                f"  %t{k} = load i8, ptr %t{k}e",
                f"  %t{k}f = icmp eq i8 %t{k}, 0",
                f"  %t{k}g = zext i1 %t{k}f to i64",
                f"  %t{k}h = or i64 {failed}, %t{k}g",
            ]
            failed = f"%t{k}h"
        return [*lines, f"  %failed = or i64 {failed}, 0"] if lines else []

    def _tests_of(self, segment: list[tuple[str, int]]) -> list[Value]:
        """Return the tests of a segment: those of its last level."""
        return self.schedule.tested.get(int(segment[-1][0][len("level") :]), [])

    def _level(self, name: str, steps: list[Step]) -> tuple[str, int]:
        """Write the function of a level over its shares; return it and their number."""
        parameters = "ptr %frame, i64 %begin, i64 %end, ptr %scratch"
        lines = [f"define void @{name}({parameters}) noinline nounwind {{"]
        first = 0
        cut = [(step, *_shares(step)) for step in steps]
        cut.sort(key=lambda each: -each[0].cost * each[2])  # the largest first: the end is even
        for k, (step, shares, part) in enumerate(cut):
            lines += [
                f"  %low{k} = call i64 @llvm.smax.i64(i64 %begin, i64 {first})",
                f"  %high{k} = call i64 @llvm.smin.i64(i64 %end, i64 {first + shares})",
                f"  %some{k} = icmp slt i64 %low{k}, %high{k}",
                f"  br i1 %some{k}, label %do{k}, label %done{k}",
                f"do{k}:",
                f"  %from{k} = sub i64 %low{k}, {first}",
                f"  %upto{k} = sub i64 %high{k}, {first}",
                f"  %b{k} = mul i64 %from{k}, {part}",
                f"  %f{k} = mul i64 %upto{k}, {part}",
                f"  %e{k} = call i64 @llvm.smin.i64(i64 %f{k}, i64 {step.units})",
                *self._pointers(step, k),
                f"  br label %done{k}",
                f"done{k}:",
            ]
            first += shares
        return "\n".join([*lines, "  ret void", "}"]), first

    def _pointers(self, step: Step, k: int) -> list[str]:
        lines, pointers = [], []
        for i, (value, offset) in enumerate(step.arrays):
            name = f"%p{k}_{i}"
            offset *= value.dtype.itemsize
            slot = self.slots.get(value)
            if slot is None:
                slot, offset = self.arena_slot, offset + self.schedule.offsets[value]
            lines += [
                f"  {name}c = getelementptr ptr, ptr %frame, i64 {slot}",
                f"  {name}d = load ptr, ptr {name}c",
                f"  {name}e = load ptr, ptr {name}d",
                f"  {name} = getelementptr i8, ptr {name}e, i64 {offset}",
            ]
            pointers.append(f"ptr {name}")
        words = ", ".join([*pointers, f"i64 %b{k}", f"i64 %e{k}", "ptr %scratch"])
        return [*lines, f"  call void @{step.name}({words})"]

    def _call(self, number: int, segment: Any) -> Any:
        """Return what runs a segment: a function without arguments."""
        if isinstance(segment, Step):
            return segment
        assert self.library is not None
        frame = ctypes.addressof(self.frame)
        if self.is_small and self.debug < 4:
            return self._alone(f"segment{number}")
        regions = (threads.Region * len(segment))(*[
            threads.Region(self.library.address(name), shares, 1) for name, shares in segment
        ])  # fmt: skip
        most = 1024  # that is, as many as there may be
        if self.debug >= 4:
            return partial(self._timed, regions, segment)
        record = threads.Call(ctypes.addressof(regions), len(segment), frame, most)
        self.records.append((regions, record))
        run = partial(threads.call_function(), ctypes.addressof(record))
        tests = self._tests_of(segment)
        return partial(self._and_tested, run, tests) if tests else run

    def _alone(self, name: str) -> Any:
        """Return what runs a function over the frame on the caller's thread."""
        assert self.library is not None
        pointer = ctypes.c_void_p
        run = self.library.function(name, pointer, pointer, result=ctypes.c_int64)
        frame, scratch = ctypes.addressof(self.frame), self.scratch.ctypes.data
        return partial(run, pointer(frame), pointer(scratch))

    def _and_tested(self, run: Any, tests: list[Value]) -> bool:
        """Run a segment, and say whether a test is false."""
        run()
        return any(not ctypes.c_int8.from_address(self._address(v)).value for v in tests)

    def _address(self, value: Value) -> int:
        cell = self.frame[self.slots[value]]
        return ctypes.c_void_p.from_address(cell or 0).value or 0

    def _timed(self, regions: Any, levels: list[tuple[str, int]]) -> None:
        """Run a segment level by level, and print how long each takes."""
        for region, (name, shares) in zip(regions, levels, strict=True):
            start = time.perf_counter()
            threads.run(ctypes.addressof(region), 1, ctypes.addressof(self.frame))
            took = time.perf_counter() - start
            titles = ", ".join(s.title for s in self.schedule.levels[int(name[5:])])
            print(f"{took * 1e6:10.1f} us  {name} ({shares} shares): {titles}")

    def retire(self) -> None:
        """Let go of code and memory; the program is not run again."""
        vars(self).clear()

    # -- running it

    def bind(self, k: int, array: Any) -> None:
        """Say which array input k is from now on: C-contiguous, of its shape and dtype."""
        self.frame[self._input_slots[k]] = id(array) + DATA

    def run(self, arrays: list[Any]) -> list[Any]:
        """Compute the outputs.

        Args:
            arrays: the inputs; one whose memory an output takes over is written in place.

        Returns:
            The outputs. If a test among them is false, nothing behind it was computed, and no
            memory of an input was touched.

        Raises:
            ValueError: there are not as many arrays as inputs.
        """
        if len(arrays) != len(self.graph.inputs):
            raise ValueError(
                f"the program has {len(self.graph.inputs)} inputs; found {len(arrays)} arrays"
            )
        with self.lock:
            for k, array in enumerate(arrays):
                if not array.flags.c_contiguous:
                    arrays[k] = array = np.ascontiguousarray(array).reshape(array.shape)
                self.bind(k, array)
            return self.run_bound(arrays)

    def _write_run(self) -> Callable[[list[Any]], list[Any]]:
        """Write `run_bound(arrays)`: the outputs of inputs that are bound already.

        As a function for this program it takes 1 µs less than a loop over tables, of 3.
        """
        tests = {k for k, v in enumerate(self.graph.outputs) if v in self.tests}
        space: dict[str, Any] = {"empty": np.empty, "frame": self.frame, "id": id}
        lines = ["def run_bound(arrays):"]
        for k, (shape, dtype, source) in enumerate(self._outputs):
            space[f"d{k}"] = np.dtype(dtype)
            if source is not None:
                lines.append(f"    f{k} = arrays[{source}]")
            elif k in tests:  # nobody keeps it: one for all calls
                space[f"f{k}"] = np.ones(shape, dtype)  # true, until it is found false
            else:
                lines.append(f"    f{k} = empty({shape}, d{k})")
        for slot, k in self._fresh:
            lines.append(f"    frame[{slot}] = id(f{k}) + {DATA}")
        lines += [f"    f{k} = f{first}" for k, first in self._twins]
        found = ", ".join(f"f{k}" for k in range(len(self._outputs)))
        if self._is_mixed:
            space["execute"] = self._execute
            lines.append(f"    execute(arrays, [{found}])")
        for k, call in enumerate([] if self._is_mixed else self._calls):
            space[f"call{k}"] = call
            lines.append(f"    if call{k}(): return [{found}]")
        lines.append(f"    return [{found}]")
        exec(compile("\n".join(lines), f"{__file__}/<program>", "exec"), space)
        made: Callable[[list[Any]], list[Any]] = space.pop("run_bound")
        return made

    def _execute(self, arrays: list[Any], found: list[Any]) -> None:
        """Run native segments and eager calls by turns."""
        held = dict(zip(self.graph.inputs, arrays, strict=True))
        held |= zip(self.graph.outputs, found, strict=True)
        several: dict[Any, Any] = {}  # results of a call that gives more than one
        for call in self._calls:
            if isinstance(call, Step):
                self._eager(call, held, several)
            elif call():
                return

    def _eager(self, step: Step, held: dict[Value, Any], several: dict[Any, Any]) -> None:
        value = step.eager
        assert value is not None
        static = dict(value.static)
        name = static.pop("name", value.op)
        if value.op == "call":
            static = dict(static["given"])
        result = value.static.get("result")
        if result is None:
            y = self._called(name, value, static, held)
        else:
            key = (name, value.inputs, value.static["given"])
            if key not in several:
                several[key] = self._called(name, value, static, held)
            y = several[key][result]
        self._array(value, held)[...] = y

    def _called(self, name: str, value: Value, static: Any, held: dict[Value, Any]) -> Any:
        xp = load("numpy")
        with xp.quiet():
            return getattr(xp, name)(*[self._array(x, held) for x in value.inputs], **static)

    def _array(self, value: Value, held: dict[Value, Any]) -> Any:
        if value in held and value not in self.schedule.copied:
            return held[value]
        if not value.size:
            return np.empty(value.shape, value.dtype.name)
        start = self.schedule.offsets[value]
        part = self.arena[start : start + value.bytes]
        return part.view(value.dtype.name).reshape(value.shape)


def _apart(graph: Graph, aliases: dict[int, int]) -> Graph:
    """Return the graph with a value for each output alone, so that each has its own memory.

    Simplification may have made one value of two, or an output of an input. An input that stays
    where it is need not be copied.
    """
    outputs: list[Value] = []
    for k, v in enumerate(graph.outputs):
        stays = k in aliases and v is graph.inputs[aliases[k]]
        if v in outputs or (v.op == "input" and not stays):
            v = Value("reshape", (v,), {"shape": v.shape}, v.shape, v.dtype)
        outputs.append(v)
    return Graph(graph.inputs, outputs)


def _refuse_halves(graph: Graph) -> None:
    for v in graph.values:
        if v.dtype in (float16, bfloat16):
            raise TraceError(
                f"compile works in float32 and float64; {v.op} of shape {v.shape} is "
                f"{v.dtype.name}: convert it with .astype(float32), or leave this part out"
            )


def _shares(step: Step) -> tuple[int, int]:
    """Return in how many shares the units of a step are cut, and how many units one has."""
    wanted = int(max(1, min(SHARES, step.units, step.cost * step.units // SHARE)))
    part = -(-step.units // wanted)
    return -(-step.units // part), part


def _sequence(name: str, levels: list[tuple[str, int]], test: list[str]) -> str:
    """Write a function that runs levels one after another on one thread.

    Args:
        test: lines at the end, that give ``%failed``.
    """
    lines = [f"  call void @{level}(ptr %frame, i64 0, i64 {shares}, ptr %scratch)"
             for level, shares in levels]  # fmt: skip
    head = f"define i64 @{name}(ptr %frame, ptr %scratch) {{"
    return "\n".join([head, *lines, *test, f"  ret i64 {'%failed' if test else 0}", "}"])


def _chain(name: str, count: int) -> str:
    """Write a function that runs segments one after another, and stops where a test is false."""
    lines = [f"define i64 @{name}(ptr %frame, ptr %scratch) {{"]
    for k in range(count):
        lines += [
            f"  %r{k} = call i64 @segment{k}(ptr %frame, ptr %scratch)",
            f"  %bad{k} = icmp ne i64 %r{k}, 0",
            f"  br i1 %bad{k}, label %out, label %after{k}",
            f"after{k}:",
        ]
    return "\n".join([*lines, "  ret i64 0", "out:", "  ret i64 1", "}"])
