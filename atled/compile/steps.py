"""The steps of a program as functions of one form: kernels, matrix products, eager calls.

A native step is a function ``void name(ptr array..., i64 begin, i64 end, ptr scratch)`` over units
that threads share. Equal functions have equal text, and so are compiled once.
"""

import hashlib
import math
from collections.abc import Callable
from typing import Any

from atled.compile.flow import Body
from atled.compile.fuse import Plan, pieces_of, view_of
from atled.compile.index import strides_of
from atled.compile.ir import Type, Writer
from atled.compile.kernel import Kernel, Loops, expressions, lowered
from atled.compile.loops import emit
from atled.compile.matrix import Product, divided, product
from atled.compile.native import host
from atled.compile.operations import memory_type, register_type
from atled.core.graph import Value
from atled.dtypes import bool_

__all__ = ["Step", "copy_step", "steps_of"]


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
        flops: of a library call.
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
        self.flops = 0.0
        self.number = 0

    @property
    def reads(self) -> list[Value]:
        """The arrays that it reads."""
        if self.eager is not None:
            return list(self.eager.inputs)
        return [v for v, _ in self.arrays if v not in self.writes]


def steps_of(plan: Plan) -> list[Step]:
    """Write every step of a plan."""
    steps = []
    for part in plan.steps:
        if isinstance(part, Kernel):
            steps.append(_kernel(part, plan))
        else:
            steps.append(_ROUTINES.get(part.op, _eager)(part, plan))
    return steps


def _kernel(kernel: Kernel, plan: Plan) -> Step:
    loops = lowered(kernel, plan.arrays)
    made = emit(loops, host().vector_bytes)
    step = Step(_title(kernel), [(v, 0) for v in made.arrays], loops.targets)
    step.name = "k" + hashlib.sha256(made.body.encode()).hexdigest()[:16]
    step.texts[step.name] = made.body.replace("@NAME", f"@{step.name}")
    step.declarations = made.declarations
    step.units, step.cost, step.scratch = made.units, made.cost, made.scratch
    step.in_order = _in_order(kernel, loops)
    return step


def _in_order(kernel: Kernel, loops: Loops) -> set[tuple[Value, Value]]:
    """Return what a kernel may write over what it reads: element by element, in one place."""
    if kernel.into:
        return set()
    reads: dict[Value, set[Any]] = {}  # the places of a source that are read
    last: dict[Value, int] = {}  # the pass that reads it last
    writes: dict[Value, tuple[Any, int]] = {}
    for number, part in enumerate(loops.passes):
        for store in part.stores + part.reductions:
            for expr in expressions(store.expr):
                if expr.op == "load" and expr.source is not None:
                    place = None if expr.args or expr.guards else expr.at.key()
                    reads.setdefault(expr.source, set()).add(place)
                    last[expr.source] = number
            if store.target is not None:
                writes[store.target] = store.at.key(), number
    return {
        (target, source)
        for target, (place, number) in writes.items()
        for source, places in reads.items()
        if places == {place} and last[source] <= number and source.bytes == target.bytes
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
        f"define internal void @{step.name}(ptr %a, ptr %b, i64 %begin, i64 %end, ptr %s) noinline nounwind {{\n"
        + w.text() + "\n  ret void\n}\n"
    )  # fmt: skip
    step.cost = size / 16
    return step


def _title(kernel: Kernel) -> str:
    ops = [m.op for m in kernel.members]
    return "+".join(dict.fromkeys(ops))


def _eager(value: Value, plan: Plan) -> Step:
    name = value.static["name"] if value.op == "call" else value.op
    step = Step(f"eager {name}", [(x, 0) for x in value.inputs], [value])
    step.eager = value
    return step


def _matmul(value: Value, plan: Plan) -> Step:
    a, b = (view_of(x, plan.arrays) for x in value.inputs)
    if a is None or b is None:
        raise ValueError(f"an operand of {value!r} does not lie in memory")
    (*batch, m, n), k = value.shape, value.inputs[0].shape[-1]
    p = Product(m, n, k, value.dtype.name, *a.strides[-2:], *b.strides[-2:], n)
    step = Step(f"matmul {m}x{n}x{k}", [(a.base, a.offset), (b.base, b.offset), (value, 0)],
                [value])  # fmt: skip
    step.flops = 2.0 * value.size * k
    count = math.prod(batch)
    if count == 1:
        parts = divided(p)
        name, texts = parts.name, parts.texts
        step.declarations = set(parts.declarations)
        units = parts.units
    else:
        name, text, declarations = product(p)
        texts = {name: text}
        step.declarations = set(declarations)
        units = count
    step.texts |= texts
    step.units = units
    step.cost = step.flops / units / 20
    strides = [v.strides[:-2] for v in (a, b)] + [tuple(strides_of(value.shape)[:-2])]
    step.name = f"m{hashlib.sha256((name + repr((batch, strides))).encode()).hexdigest()[:16]}"
    step.texts[step.name] = _around(step.name, name, batch, strides, str(p.type), count == 1)
    return step


def _around(name: str, inner: str, batch: list[int], strides: Any, scalar: str, one: bool) -> str:
    """Write a function over units around that of one product, or of one product's blocks."""
    w = Writer()
    head = f"\ndefine internal void @{name}(ptr %a, ptr %b, ptr %c, i64 %begin, i64 %end, ptr %s) noinline nounwind {{\n"
    if one:
        w.do(f"call void @{inner}(ptr %a, ptr %b, ptr %c, i64 %begin, i64 %end)")
        return head + w.text() + "\n  ret void\n}\n"
    rest, counters = "%i", []
    for n in reversed(batch[1:]):
        counters.append(w.emit(f"urem i64 {rest}, {n}"))
        rest = w.emit(f"udiv i64 {rest}, {n}")
    counters.append(rest)
    pointers = []
    for letter, steps in zip("abc", strides, strict=True):
        place = "0"
        for counter, stride in zip(reversed(counters), steps, strict=True):
            place = w.emit(f"add i64 {place}, {w.emit(f'mul i64 {counter}, {stride}')}")
        pointers.append("ptr " + w.emit(f"getelementptr {scalar}, ptr %{letter}, i64 {place}"))
    w.do(f"call void @{inner}({', '.join(pointers)})")
    return head + (
        "entry:\n  %some = icmp slt i64 %begin, %end\n  br i1 %some, label %loop, label %done\n"
        "loop:\n  %i = phi i64 [ %begin, %entry ], [ %next, %loop ]\n" + w.text() +
        "\n  %next = add i64 %i, 1\n  %more = icmp slt i64 %next, %end\n"
        "  br i1 %more, label %loop, label %done\ndone:\n  ret void\n}\n"
    )  # fmt: skip


def _concat(value: Value, plan: Plan) -> Step:
    """Write the parts of a concatenation, one kernel each, over the units of all of them."""
    parts = [_kernel(kernel, plan) for kernel in pieces_of(value)]
    arrays = {v: f"%a{i}" for i, v in enumerate(dict.fromkeys(v for p in parts for v, _ in p.arrays))}
    step = Step(f"concat of {len(parts)}", [(v, 0) for v in arrays], [value])
    first, body = 0, Body()
    for part in parts:
        step.texts |= part.texts
        step.declarations |= part.declarations
        body.declare("declare i64 @llvm.smax.i64(i64, i64)")
        body.declare("declare i64 @llvm.smin.i64(i64, i64)")
        low = body.emit(f"call i64 @llvm.smax.i64(i64 %begin, i64 {first})")
        high = body.emit(f"call i64 @llvm.smin.i64(i64 %end, i64 {first + part.units})")
        low, high = (body.emit(f"sub i64 {x}, {first}") for x in (low, high))
        words = ", ".join(f"ptr {arrays[v]}" for v, _ in part.arrays)
        body.do(f"call void @{part.name}({words}, i64 {low}, i64 {high}, ptr %scratch)")
        first += part.units
        step.scratch = max(step.scratch, part.scratch)
    step.units = first
    step.cost = sum(p.cost * p.units for p in parts) / first
    _finished(step, "concat", body, list(arrays.values()))
    return step


def _place(value: Value, plan: Plan) -> Step:
    """Write zeros, and over them the operand, spread out."""
    (part,) = (_kernel(kernel, plan) for kernel in pieces_of(value))
    arrays = {v: f"%a{i}" for i, (v, _) in enumerate(part.arrays)}
    step = Step("place", part.arrays, [value])
    body = Body()
    with body.when(body.emit("icmp slt i64 %begin, %end")):
        body.zero(arrays[value], value.bytes)
        words = ", ".join(f"ptr {arrays[v]}" for v, _ in part.arrays)
        body.do(f"call void @{part.name}({words}, i64 0, i64 {part.units}, ptr %scratch)")
    step.declarations, step.scratch, step.texts = part.declarations, part.scratch, part.texts
    step.cost = part.cost * part.units
    _finished(step, "place", body, list(arrays.values()))
    return step


def _finished(step: Step, stem: str, body: Body, pointers: list[str]) -> None:
    """Name a routine by its text, so that equal ones are one."""
    parameters = ", ".join([*(f"ptr {p}" for p in pointers), "i64 %begin, i64 %end, ptr %scratch"])
    text = body.function("NAME", parameters)
    step.name = stem + hashlib.sha256(text.encode()).hexdigest()[:16]
    step.texts[step.name] = text.replace("@NAME", f"@{step.name}")
    step.declarations |= body.declarations


def _scatter(value: Value, plan: Plan) -> Step:
    """Add, or write, rows at places given by integer arrays: in order, so always the same.

    Threads share the columns of the rows, so that no two write to one element.
    """
    into, rows, *indices = value.inputs
    step = Step(value.op, [(v, 0) for v in (into, rows, *indices, value)], [value])
    count = indices[0].size
    inner = rows.size // max(count, 1)
    columns = min(inner, 64)
    step.units = -(-inner // columns)
    lead = value.size // inner
    body = Body()
    kind = memory_type(value.dtype, 1)
    with body.when(body.emit("icmp slt i64 %begin, %end")), body.loop("%begin", "%end") as unit:
        first = body.place((unit.index, columns))
        last = body.emit(f"add i64 {first}, {columns}")
        body.declare("declare i64 @llvm.smin.i64(i64, i64)")
        last = body.emit(f"call i64 @llvm.smin.i64(i64 {last}, i64 {inner})")
        with body.loop(0, lead) as row, body.loop(first, last) as column:
            at = body.place((row.index, inner), (column.index, 1))
            x = body.load(kind, body.offset("%a0", at, kind))
            body.store(kind, x, body.offset(f"%a{len(indices) + 2}", at, kind))
        if count:
            _scatter_rows(body, value, first, last, count, inner, kind)
    step.cost = (lead + 2.0 * count) * columns
    _finished(step, value.op, body, [f"%a{i}" for i in range(len(indices) + 3)])
    return step


def _scatter_rows(
    body: Body, value: Value, first: str, last: str, count: int, inner: int, kind: Type
) -> None:
    into, _, *indices = value.inputs
    target = f"%a{len(indices) + 2}"
    with body.loop(0, count) as row:
        places = []
        for k, i in enumerate(indices):
            size = memory_type(i.dtype, 1)
            read = body.load(size, body.offset(f"%a{k + 2}", row.index, size))
            if size.bits < 64:
                read = body.emit(f"{'sext' if i.dtype.kind == 'int' else 'zext'} {size} {read} to i64")
            places.append((read, strides_of(into.shape)[k]))
        start = body.place(*places)
        with body.loop(first, last) as column:
            target_at = body.offset(target, body.place((start, 1), (column.index, 1)), kind)
            source_at = body.place((row.index, inner), (column.index, 1))
            x = body.load(kind, body.offset("%a1", source_at, kind))
            if value.op == "scatter_nd_add":
                before = body.load(kind, target_at)
                word = "fadd" if kind.is_float else "or" if value.dtype is bool_ else "add"
                x = body.emit(f"{word} {kind} {before}, {x}")
            body.store(kind, x, target_at)


def _scan(value: Value, plan: Plan) -> Step:
    """Add or multiply up along an axis: one after another, the inner axes side by side."""
    (x,), axis = value.inputs, value.static["axis"]
    step = Step(value.op, [(x, 0), (value, 0)], [value])
    outer, n, inner = (math.prod(s) for s in (x.shape[:axis], x.shape[axis : axis + 1],
                                              x.shape[axis + 1 :]))  # fmt: skip
    kind = register_type(value.dtype, 1)
    word = {"cumulative_sum": "add", "cumulative_prod": "mul"}[value.op]
    word = "f" + word if kind.is_float else word
    start = kind.const((-0.0 if kind.is_float else 0) if word[-3:] == "add" else 1)
    step.units, step.cost = outer * inner, 5.0 * n
    body = Body()
    with body.when(body.emit("icmp slt i64 %begin, %end")), body.loop("%begin", "%end") as unit:
        row = body.emit(f"udiv i64 {unit.index}, {inner}")
        column = body.emit(f"urem i64 {unit.index}, {inner}")
        with body.loop(0, n, values=[(kind, start)]) as k:
            at = body.place((row, n * inner), (k.index, inner), (column, 1))
            x_at = body.load(kind, body.offset("%a0", at, kind))
            total = body.emit(f"{word} {kind} {k.values[0]}, {x_at}")
            body.store(kind, total, body.offset("%a1", at, kind))
            k.following[0] = total
    _finished(step, value.op, body, ["%a0", "%a1"])
    return step


_ROUTINES: dict[str, Callable[[Value, Plan], Step]] = {
    "matmul": _matmul,
    "concat": _concat,
    "place": _place,
    "scatter_nd_add": _scatter,
    "scatter_nd_set": _scatter,
    "cumulative_sum": _scan,
    "cumulative_prod": _scan,
}
