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
    """

    def __init__(self, graph: Graph, aliases: dict[int, int] | None = None) -> None:
        debug = self.debug = debug_level()
        graph = simplified(graph)
        if debug >= 1:
            print(graph)
        wanted = {graph.outputs[k]: graph.inputs[i] for k, i in (aliases or {}).items()}
        wanted = {v: x for v, x in wanted.items() if v.op != "input"}
        plan = planned(graph)
        steps = steps_of(plan)
        self.graph, self.plan = graph, plan
        self.schedule = scheduled(graph, steps, wanted)
        self._finish_copies()
        self._lay_out()
        self._compile()
        self.lock = threading.Lock()
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
            if not self.segments or isinstance(self.segments[-1], Step):
                self.segments.append([])
            self.segments[-1].append((name, shares))
        for number, segment in enumerate(self.segments):
            if isinstance(segment, list):
                texts[f"segment{number}"] = _sequence(f"segment{number}", segment)
        self.text = "\n".join([*sorted(declarations), *texts.values()])
        self.library = Library(self.text) if texts else None
        threads.scratch(scratch)
        self.scratch = np.empty(scratch + 64, np.uint8)
        self.records: list[Any] = []  # what native code reads while it runs
        self._calls = [self._call(n, s) for n, s in enumerate(self.segments)]

    def _level(self, name: str, steps: list[Step]) -> tuple[str, int]:
        """Write the function of a level over its shares; return it and their number."""
        parameters = "ptr %frame, i64 %begin, i64 %end, ptr %scratch"
        lines = [f"define void @{name}({parameters}) noinline nounwind {{"]
        first = 0
        for k, step in enumerate(steps):
            shares = int(max(1, min(SHARES, step.units, step.cost * step.units // SHARE)))
            part = -(-step.units // shares)
            shares = -(-step.units // part)
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
            run = self.library.function(f"segment{number}", ctypes.c_void_p, ctypes.c_void_p)
            scratch = self.scratch.ctypes.data
            return lambda: run(frame, scratch)
        regions = (threads.Region * len(segment))(*[
            threads.Region(self.library.address(name), shares, 1) for name, shares in segment
        ])  # fmt: skip
        most = 1024  # that is, as many as there may be
        if self.debug >= 4:
            return partial(self._timed, regions, segment)
        record = threads.Call(ctypes.addressof(regions), len(segment), frame, most)
        self.records.append((regions, record))
        run, where = threads.call_function(), ctypes.addressof(record)
        return lambda: run(where)

    def _timed(self, regions: Any, levels: list[tuple[str, int]]) -> None:
        """Run a segment level by level, and print how long each takes."""
        for region, (name, shares) in zip(regions, levels, strict=True):
            start = time.perf_counter()
            threads.run(ctypes.addressof(region), 1, ctypes.addressof(self.frame))
            took = time.perf_counter() - start
            titles = ", ".join(s.title for s in self.schedule.levels[int(name[5:])])
            print(f"{took * 1e6:10.1f} us  {name} ({shares} shares): {titles}")

    # -- running it

    def run(self, inputs: list[Any]) -> list[Any]:
        """Compute the outputs.

        Args:
            inputs: arrays of the graph's shapes and dtypes. One whose memory an output takes over
                is written in place, and must be C-contiguous.
        """
        arrays = [np.ascontiguousarray(x) if getattr(x, "ndim", 0) else np.asarray(x)
                  for x in inputs]  # fmt: skip
        held: dict[Value, Any] = dict(zip(self.graph.inputs, arrays, strict=True))
        for v in self.graph.outputs:
            if v in self.place:
                held[v] = held[self.place[v]]
            elif v not in held:
                held[v] = np.empty(v.shape, v.dtype.name)
        with self.lock:
            for v, slot in self.slots.items():
                self.frame[slot] = id(held[v]) + DATA
            self.execute(held)
        return [held[v] for v in self.graph.outputs]

    def execute(self, held: dict[Value, Any]) -> None:
        """Run all segments on the arrays that the frame names."""
        for call in self._calls:
            if isinstance(call, Step):
                self._eager(call, held)
            else:
                call()

    def _eager(self, step: Step, held: dict[Value, Any]) -> None:
        value = step.eager
        assert value is not None
        xp = load("numpy")
        static = dict(value.static)
        name = static.pop("name", value.op)
        if value.op == "call":
            static = dict(static["given"])
        with xp.quiet():
            y = getattr(xp, name)(*[self._array(x, held) for x in value.inputs], **static)
        self._array(value, held)[...] = y

    def _array(self, value: Value, held: dict[Value, Any]) -> Any:
        if value in held and value not in self.schedule.copied:
            return held[value]
        start = self.schedule.offsets[value]
        part = self.arena[start : start + value.bytes]
        return part.view(value.dtype.name).reshape(value.shape)


def _sequence(name: str, levels: list[tuple[str, int]]) -> str:
    """Write a function that runs levels one after another on one thread."""
    lines = [f"  call void @{level}(ptr %frame, i64 0, i64 {shares}, ptr %scratch)"
             for level, shares in levels]  # fmt: skip
    head = f"define void @{name}(ptr %frame, ptr %scratch) {{"
    return "\n".join([head, *lines, "  ret void", "}"])
