"""What no loop over rows computes: products, convolutions, concatenation, scatter, scans.

Each routine writes the function of one value; `steps_of` writes a whole plan.
"""

import hashlib
import math
from collections.abc import Callable
from typing import Any

from atled.compile import convolution, pooling
from atled.compile.chain import chained, is_chainable
from atled.compile.flow import Body
from atled.compile.flow import Kernel as Routine
from atled.compile.fuse import Plan, pieces_of, view_of
from atled.compile.index import strides_of
from atled.compile.ir import Type, Writer
from atled.compile.kernel import Kernel
from atled.compile.matrix import Product, divided, product
from atled.compile.native import host
from atled.compile.operations import memory_type, register_type
from atled.compile.steps import Step, kernel_step
from atled.core.graph import Value
from atled.core.op import REGISTRY
from atled.dtypes import bool_

__all__ = ["steps_of"]


def steps_of(plan: Plan) -> list[Step]:
    """Write every step of a plan."""
    steps: list[Step] = []
    for part in plan.steps:
        if isinstance(part, Kernel):
            steps.append(kernel_step(part, plan))
        else:
            made = ROUTINES.get(part.op, _eager)(part, plan)
            steps += made if isinstance(made, list) else [made]
    return chained(steps)


def _eager(value: Value, plan: Plan) -> Step:
    name = value.static["name"] if value.op == "call" else value.op
    reason = REGISTRY[name].lower.reason if name in REGISTRY else "it has no loops of its own"
    one_of = f", result {value.static['result']}" if "result" in value.static else ""
    step = Step(f"{name}{one_of}: {reason}", [(x, 0) for x in value.inputs], [value])
    step.eager, step.kind = value, "eager"
    return step


def _matmul(value: Value, plan: Plan) -> Step:
    a, b = (view_of(x, plan.arrays) for x in value.inputs)
    if a is None or b is None:
        raise ValueError(f"an operand of {value!r} does not lie in memory")
    (*batch, m, n), k = value.shape, value.inputs[0].shape[-1]
    (a_row, a_column), (b_row, b_column) = a.strides[-2:], b.strides[-2:]
    p = Product(m, n, k, value.dtype.name, a_row, a_column, b_row, b_column, n)
    step = Step(f"matmul {m}x{n}x{k}", [(a.base, a.offset), (b.base, b.offset), (value, 0)],
                [value])  # fmt: skip
    step.flops = 2.0 * value.size * k
    count = math.prod(batch)
    if count == 1 and is_chainable(p):
        step.product = p
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
    parameters = "ptr %a, ptr %b, ptr %c, i64 %begin, i64 %end, ptr %s"
    head = f"\ndefine internal void @{name}({parameters}) noinline nounwind {{\n"
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
    parts = [kernel_step(kernel, plan) for kernel in pieces_of(value)]
    arrays = {
        v: f"%a{i}" for i, v in enumerate(dict.fromkeys(v for p in parts for v, _ in p.arrays))
    }
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
    (part,) = (kernel_step(kernel, plan) for kernel in pieces_of(value))
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
    kind = memory_type(value.dtype, 1)
    lanes = host().vector_bytes * 8 // kind.bits
    if inner % lanes == 0:
        kind = kind._replace(lanes=lanes)
    columns = min(inner, 4 * lanes)
    step.units, step.dynamic = -(-inner // columns), True
    lead = value.size // inner
    body = Body()
    with body.when(body.emit("icmp slt i64 %begin, %end")), body.loop("%begin", "%end") as unit:
        first = body.place((unit.index, columns))
        last = body.emit(f"add i64 {first}, {columns}")
        body.declare("declare i64 @llvm.smin.i64(i64, i64)")
        last = body.emit(f"call i64 @llvm.smin.i64(i64 {last}, i64 {inner})")
        scalar = kind._replace(lanes=1)
        with body.loop(0, lead) as row, body.loop(first, last, kind.lanes) as column:
            at = body.place((row.index, inner), (column.index, 1))
            x = body.load(kind, body.offset("%a0", at, scalar))
            body.store(kind, x, body.offset(f"%a{len(indices) + 2}", at, scalar))
        if count:
            _scatter_rows(body, value, first, last, count, inner, kind)
    step.cost = (lead + 2.0 * count) * columns / kind.lanes
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
                read = body.emit(
                    f"{'sext' if i.dtype.kind == 'int' else 'zext'} {size} {read} to i64"
                )
            places.append((read, strides_of(into.shape)[k]))
        start = body.place(*places)
        scalar = kind._replace(lanes=1)
        with body.loop(first, last, kind.lanes) as column:
            target_at = body.offset(target, body.place((start, 1), (column.index, 1)), scalar)
            source_at = body.place((row.index, inner), (column.index, 1))
            x = body.load(kind, body.offset("%a1", source_at, scalar))
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


def _convolution(value: Value, plan: Plan) -> list[Step]:
    """Write a convolution, or its transpose in the image or in the kernel."""
    a, b = value.inputs
    x, w = {
        "conv": (a.shape, b.shape),
        "conv_input": (value.shape, b.shape),
        "conv_weight": (a.shape, value.shape),
    }[value.op]
    static = value.static
    sizes = convolution.Convolution(
        x[0], x[1], w[0], x[2:], w[2:], static["stride"], static["padding"], static["dilation"],
        static["groups"], value.dtype.name,
    )  # fmt: skip
    make = {
        "conv": convolution.forward,
        "conv_input": convolution.input_gradient,
        "conv_weight": convolution.weight_gradient,
    }[value.op]
    routine: Routine = make(sizes)
    arrays = [(a, 0), (b, 0), (value, 0)]
    partials = value
    if routine.buffer_bytes:
        count = routine.buffer_bytes // value.dtype.itemsize
        partials = Value("partials", (), {}, (count,), value.dtype)
        arrays.append((partials, 0))
    steps = []
    for number, (name, units) in enumerate(routine.functions):
        last = number == len(routine.functions) - 1
        step = Step(value.op, arrays, [value if last else partials])
        step.name, step.texts = name, routine.texts
        step.declarations, step.scratch = set(routine.declarations), routine.scratch_bytes
        step.units, step.flops = units, float(routine.flops) if number == 0 else 0.0
        step.cost = routine.flops / units / (20 if number == 0 else 2000)
        if not last:  # it is handed the result, and leaves it alone
            step.idle = [value]
        steps.append(step)
    return steps


def _pooling(value: Value) -> pooling.Pooling:
    """Return the sizes of a pooling: all leading axes are planes."""
    static, n = value.static, len(value.static["out"])
    shape = value.shape if value.op == "pool_spread" else value.inputs[0].shape
    kernel, stride, padding, dilation, out = (
        static[k] for k in ("kernel", "stride", "padding", "dilation", "out")
    )
    return pooling.Pooling(
        math.prod(shape[:-n]), shape[-n:], kernel, stride, padding, dilation, out,
        value.inputs[0].dtype.name,
    )  # fmt: skip


def _pool_places(value: Value, plan: Plan) -> Step:
    """Write places and maxima at once: who asks for the one wants the other."""
    (x,) = value.inputs
    maxima = next((v for v in plan.steps if isinstance(v, Value) and v.op == "pool_take"
                   and v.inputs[1] is value), None)  # fmt: skip
    if maxima is None:
        maxima = Value("maxima", (), {}, value.shape, x.dtype)
    arrays = [(x, 0), (maxima, 0), (value, 0)]
    return _pooled("max_pool", arrays, [value, maxima], pooling.max_pool(_pooling(value)))


def _pool_take(value: Value, plan: Plan) -> list[Step]:
    return []  # the step of its places computes it


def _pool_spread(value: Value, plan: Plan) -> Step:
    arrays = [(v, 0) for v in (*value.inputs, value)]
    routine = pooling.max_pool_gradient(_pooling(value))
    return _pooled("max_pool gradient", arrays, [value], routine)


def _pooled(
    title: str, arrays: list[tuple[Value, int]], writes: list[Value], routine: Routine
) -> Step:
    step = Step(title, arrays, writes)
    ((step.name, step.units),) = routine.functions
    step.texts, step.declarations = routine.texts, set(routine.declarations)
    step.scratch, step.flops = routine.scratch_bytes, float(routine.flops)
    step.cost = sum(v.size for v, _ in arrays) / 8 / step.units
    return step


ROUTINES: dict[str, Callable[[Value, Plan], Step | list[Step]]] = {
    "matmul": _matmul,
    "conv": _convolution,
    "conv_input": _convolution,
    "conv_weight": _convolution,
    "pool_places": _pool_places,
    "pool_take": _pool_take,
    "pool_spread": _pool_spread,
    "concat": _concat,
    "place": _place,
    "scatter_nd_add": _scatter,
    "scatter_nd_set": _scatter,
    "cumulative_sum": _scan,
    "cumulative_prod": _scan,
}
