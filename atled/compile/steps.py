"""The steps of a program as functions of one form: kernels, matrix products, eager calls.

A native step is a function ``void name(ptr array..., i64 begin, i64 end, ptr scratch)`` over units
that threads share. Equal functions have equal text, and so are compiled once.
"""

import hashlib
import math
import threading
from collections.abc import Callable, Mapping
from copy import copy
from typing import Any

from atled.compile.fuse import Plan
from atled.compile.ir import Writer
from atled.compile.kernel import FUSIBLE, REDUCTIONS, Kernel, Loops, expressions, lowered, row_local
from atled.compile.loops import emit
from atled.compile.native import host
from atled.core.graph import ELEMENTWISE, Value

__all__ = ["Step", "copy_step", "kernel_step"]


class Step:
    """One step.

    Attributes:
        title: what `explain` calls it.
        name: of its function; "" for an eager call.
        texts: the functions that the module must have, by name.
        declarations: what the module must declare.
        arrays: what the function's pointers point to, each with an offset in elements.
        writes: those of the arrays that it fills.
        units, cost: how many shares of work there are, and the cycles that one takes.
        scratch: bytes that a thread needs.
        eager: for an eager call, the value.
        in_order: pairs (written, read): an element is written only after its own was read, and
            no other; the two may lie in the same memory.
        idle: arrays that it is handed and leaves alone.
        kind: "kernel", "library", "eager" or "copy".
        dynamic: whether it goes to places in memory that are computed.
        product: of a single matrix product that can be computed in blocks of rows, its sizes.
        row_local: arrays of which a kernel reads, for each row, that row only.
        units_per_row: gives, for a number of rows, how many units each of them takes; 0 if units
            do not go by those rows.
        flops: arithmetic operations, all units together.
        number: its place among the program's steps.
    """

    def __init__(self, title: str, arrays: list[tuple[Value, int]], writes: list[Value]) -> None:
        self.title, self.arrays, self.writes = title, arrays, writes
        self.name = ""
        self.texts: dict[str, str] = {}
        self.declarations: set[str] = set()
        self.units, self.cost, self.scratch = 1, 0.0, 0
        self.eager: Value | None = None
        self.in_order: set[tuple[Value, Value]] = set()
        self.idle: list[Value] = []
        self.kind = "library"
        self.dynamic = False
        self.product: Any = None
        self.row_local: set[Value] = set()
        self.units_per_row: Callable[[int], int] = lambda rows: 0
        self.flops = 0.0
        self.number = 0

    @property
    def reads(self) -> list[Value]:
        """The arrays that it reads."""
        if self.eager is not None:
            return list(self.eager.inputs)
        skipped = {*self.writes, *self.idle}
        return [v for v, _ in self.arrays if v not in skipped]


def kernel_step(kernel: Kernel, plan: Plan) -> Step:
    """Return a kernel as a step.

    A kernel that is equal to one that was written before, but for the arrays that it works on, is
    not written again: blocks of a network are often alike.
    """
    if kernel.into:
        return _written(kernel, plan)
    key, values = signature(kernel, plan.arrays)
    with _lock:
        found = _known.get(key)
    if found is None:
        step = _written(kernel, plan)
        places = {v: i for i, v in enumerate(values)}
        with _lock:
            if len(_known) >= KNOWN:
                _known.clear()
            _known[key] = _renamed(step, places)
        return step
    return _renamed(found, dict(enumerate(values)))


def _renamed(step: Step, names: Mapping[Any, Any]) -> Step:
    """Return a step with other things in place of its arrays: their numbers, or those arrays."""
    twin = copy(step)
    twin.arrays = [(names[v], offset) for v, offset in step.arrays]
    twin.writes = [names[v] for v in step.writes]
    twin.in_order = {(names[a], names[b]) for a, b in step.in_order}
    twin.row_local = {names[v] for v in step.row_local}
    return twin


KNOWN = 256  # kernels that are remembered
_known: dict[Any, Step] = {}  # with numbers in place of arrays
_lock = threading.Lock()


def signature(kernel: Kernel, arrays: set[Value]) -> tuple[Any, list[Value]]:
    """Return what is equal for kernels that differ in their arrays only, and all their values.

    Values stand in the order in which they are met, so that equal kernels have theirs in the
    same order.
    """
    members = set(kernel.members)
    numbers: dict[Value, int] = {}
    lines: list[Any] = [kernel.rows]

    def visit(value: Value) -> int:
        number = numbers.get(value)
        if number is not None:
            return number
        own = value in members
        if value in arrays and not own:
            line: Any = (value.shape, value.dtype)
        else:
            inputs = [visit(x) for x in value.inputs]
            static = repr(sorted(value.static.items()))
            line = (value.op, *inputs, static, value.shape, value.dtype, own,
                    value in kernel.stored)  # fmt: skip
        number = numbers[value] = len(numbers)
        lines.append(line)
        return number

    order = [visit(member) for member in kernel.members]
    return (tuple(lines), tuple(order)), list(numbers)


def _written(kernel: Kernel, plan: Plan) -> Step:
    loops = lowered(kernel, plan.arrays)
    made = emit(loops, host().vector_bytes)
    step = Step(_title(kernel, plan.arrays), [(v, 0) for v in made.arrays], loops.targets)
    step.name = "k" + hashlib.sha256(made.body.encode()).hexdigest()[:16]
    step.texts[step.name] = made.body.replace("@NAME", f"@{step.name}")
    step.declarations = made.declarations
    step.units, step.cost, step.scratch = made.units, made.cost, made.scratch
    step.in_order = _in_order(kernel, loops)
    step.kind, step.flops = "kernel", _flops(kernel.rows, loops)
    work = [e for p in loops.passes for s in p.stores + p.reductions for e in expressions(s.expr)]
    step.dynamic = any(e.op == "load" and e.args for e in work)
    step.row_local, step.units_per_row = row_local(loops), made.units_per_row
    return step


def _flops(rows: int, loops: Loops) -> float:
    """Count one for each elementwise operation and each element that is reduced."""
    total = 0
    for part in loops.passes:
        work = {e for s in part.stores + part.reductions for e in expressions(s.expr)}
        count = sum(e.op in ELEMENTWISE for e in work) + len(part.reductions)
        total += count * math.prod(v.extent for v in part.inner)
    return float(rows * total)


def _in_order(kernel: Kernel, loops: Loops) -> set[tuple[Value, Value]]:
    """Return what a kernel may write over what it reads: element by element, in one place."""
    if kernel.into:
        return set()
    reads: dict[Value, set[Any]] = {}  # the places of a source that are read
    last: dict[Value, tuple[int, int]] = {}  # the pass that reads it last; its first store to do so
    writes: dict[Value, tuple[Any, tuple[int, int]]] = {}
    for number, part in enumerate(loops.passes):
        for position, store in enumerate(part.stores + part.reductions):
            for expr in expressions(store.expr):
                if expr.op == "load" and expr.source is not None:
                    place = None if expr.args or expr.guards else expr.at.key()
                    reads.setdefault(expr.source, set()).add(place)
                    if last.get(expr.source, (-1, 0))[0] < number:
                        last[expr.source] = number, position
            if store.target is not None:
                writes[store.target] = store.at.key(), (number, position)
    return {
        (target, source)
        for target, (place, when) in writes.items()
        for source, places in reads.items()
        if places == {place} and last[source] <= when and source.bytes == target.bytes
    }


def copy_step(value: Value, target: Value) -> Step:
    """Return the step that copies an array into the memory of another."""
    w = Writer()
    size = value.bytes
    step = Step("copy", [(value, 0), (target, 0)], [target])
    step.name = f"copy{size}"
    step.declarations = {"declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)"}
    w.do(f"call void @llvm.memcpy.p0.p0.i64(ptr %b, ptr %a, i64 {size}, i1 false)")
    step.texts[step.name] = (
        f"define internal void @{step.name}(ptr %a, ptr %b, i64 %begin, i64 %end, ptr %s) {{\n"
        + w.text() + "\n  ret void\n}\n"
    )  # fmt: skip
    step.cost, step.kind = size / 16, "copy"
    return step


def _title(kernel: Kernel, arrays: set[Value]) -> str:
    """Name a kernel by what it computes: all operations, with those in between."""
    names: dict[str, None] = {}
    apart = arrays.union(kernel.members)
    for member in kernel.members:
        inside = [member]
        while inside:
            value = inside.pop()
            if value.op in ELEMENTWISE or value.op in REDUCTIONS or not names:
                names[value.op] = None
            inside += [x for x in value.inputs if x.op in FUSIBLE and x not in apart]
            if len(names) > 8:
                return "+".join([*list(names)[:8], "..."])
    return "+".join(names)
