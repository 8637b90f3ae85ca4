"""A compiled graph: native code, an arena for what lies between, and how to run it."""

import ctypes
from typing import Any

import numpy as np

from atled.backends.protocol import load
from atled.compile.fuse import planned
from atled.compile.native import Library
from atled.compile.simplify import simplified
from atled.compile.steps import Step, steps_of
from atled.core.graph import Graph, Value

__all__ = ["Program"]


class Program:
    """A graph as native code.

    Args:
        graph: what to compute.
        aliases: output number -> number of the input whose memory it may take over.
    """

    def __init__(self, graph: Graph, aliases: dict[int, int] | None = None) -> None:
        self.graph = graph = simplified(graph)
        plan = planned(graph)
        self.steps = steps_of(plan)
        self._place(plan.arrays)
        self._build()

    def _place(self, arrays: set[Value]) -> None:
        """Give each array its slot in the frame, or its place in the arena."""
        self.slots: dict[Value, int] = {}
        for v in [*self.graph.inputs, *self.graph.outputs]:
            self.slots.setdefault(v, len(self.slots))
        self.offsets: dict[Value, int] = {}
        size = 0
        for v in self.graph.values:
            if v in arrays and v not in self.slots:
                self.offsets[v] = size
                size += -(-v.bytes // 64) * 64
        memory = np.empty(size + 64, np.uint8)
        start = -memory.ctypes.data % 64
        self.arena = memory[start : start + size] if size else memory[:0]
        self.scratch = np.empty(max([s.scratch for s in self.steps], default=0) + 64, np.uint8)
        self.frame = (ctypes.c_void_p * (len(self.slots) + 1))()
        self.frame[len(self.slots)] = self.arena.ctypes.data

    def _build(self) -> None:
        texts: dict[str, str] = {}
        declarations: set[str] = set()
        mains: list[str] = []
        self.segments: list[Step | str] = []
        lines: list[str] = []
        for step in self.steps:
            if step.eager is not None:
                self._close(lines, mains)
                self.segments.append(step)
                continue
            texts[step.name] = step.text
            declarations |= step.declarations
            lines += self._call(step, len(lines))
        self._close(lines, mains)
        text = "\n".join([*sorted(declarations), *texts.values(), *mains])
        self.text = text
        self.library = Library(text)
        self.run_segment = {
            s: self.library.function(s, ctypes.c_void_p, ctypes.c_void_p)
            for s in self.segments
            if isinstance(s, str)
        }

    def _call(self, step: Step, count: int) -> list[str]:
        lines, pointers = [], []
        for k, (value, offset) in enumerate(step.arrays):
            name = f"%p{count}_{k}"
            bytes_ = offset * value.dtype.itemsize
            if value in self.offsets:
                slot, bytes_ = len(self.slots), bytes_ + self.offsets[value]
            else:
                slot = self.slots[value]
            lines.append(f"  {name}s = getelementptr ptr, ptr %frame, i64 {slot}")
            lines.append(f"  {name}b = load ptr, ptr {name}s")
            lines.append(f"  {name} = getelementptr i8, ptr {name}b, i64 {bytes_}")
            pointers.append(f"ptr {name}")
        words = ", ".join([*pointers, "i64 0", f"i64 {step.units}", "ptr %scratch"])
        return [*lines, f"  call void @{step.name}({words})"]

    def _close(self, lines: list[str], mains: list[str]) -> None:
        if lines:
            name = f"main{len(mains)}"
            mains.append("\n".join([
                f"define void @{name}(ptr %frame, ptr %scratch) {{", *lines, "  ret void", "}",
            ]))  # fmt: skip
            self.segments.append(name)
            lines.clear()

    def run(self, inputs: list[Any]) -> list[Any]:
        """Compute the outputs."""
        arrays = [np.ascontiguousarray(x) for x in inputs]
        held: dict[Value, Any] = dict(zip(self.graph.inputs, arrays, strict=True))
        for v in self.graph.outputs:
            if v not in held:
                held[v] = np.empty(v.shape, v.dtype.name)
        for v, slot in self.slots.items():
            self.frame[slot] = held[v].ctypes.data
        for segment in self.segments:
            if isinstance(segment, str):
                self.run_segment[segment](ctypes.addressof(self.frame), self.scratch.ctypes.data)
            else:
                self._eager(segment, held)
        return [held[v] for v in self.graph.outputs]

    def _eager(self, step: Step, held: dict[Value, Any]) -> None:
        value = step.eager
        assert value is not None
        xp = load("numpy")
        static = dict(value.static)
        name = static.pop("name", value.op)
        if value.op == "call":
            static = dict(static["given"])
        y = getattr(xp, name)(*[self._array(x, held) for x in value.inputs], **static)
        self._array(value, held)[...] = y

    def _array(self, value: Value, held: dict[Value, Any]) -> Any:
        if value in held:
            return held[value]
        start = self.offsets[value]
        part = self.arena[start : start + value.bytes]
        return part.view(value.dtype.name).reshape(value.shape)
