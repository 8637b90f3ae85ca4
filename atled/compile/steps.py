"""The steps of a program as functions of one form: kernels, matrix products, eager calls.

A native step is a function ``void name(ptr array..., i64 begin, i64 end, ptr scratch)`` over units
that threads share. Equal functions have equal text, and so are compiled once.
"""

import hashlib
import math
from collections.abc import Callable
from typing import Any

from atled.compile.fuse import Plan, view_of
from atled.compile.index import strides_of
from atled.compile.ir import Writer
from atled.compile.kernel import Kernel, Loops, expressions, lowered
from atled.compile.loops import emit
from atled.compile.matrix import Product, divided, product
from atled.compile.native import host
from atled.core.graph import Value

__all__ = ["Step", "copy_step", "steps_of"]


class Step:
    """One step.

    Attributes:
        title: what `explain` calls it.
        name, text: of its function; "" for an eager call.
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
        self.name = self.text = ""
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
    step.text = made.body.replace("@NAME", f"@{step.name}")
    step.declarations = made.declarations
    step.units, step.cost, step.scratch = made.units, made.cost, made.scratch
    step.in_order = _in_order(kernel, loops)
    return step


def _in_order(kernel: Kernel, loops: Loops) -> set[tuple[Value, Value]]:
    """Return what a kernel may write over what it reads: element by element, in one place."""
    if not kernel.is_flat or kernel.into:
        return set()
    elsewhere: set[Value] = set()
    for store in [s for p in loops.passes for s in p.stores]:
        for expr in expressions(store.expr):
            if expr.op == "load" and (expr.args or expr.at.key() != store.at.key()):
                elsewhere.add(expr.source)
    return {
        (target, source)
        for target in loops.targets
        for source in loops.sources
        if source not in elsewhere and source.bytes == target.bytes
    }


def copy_step(value: Value, target: Value) -> Step:
    """Return the step that copies an array into the memory of another."""
    w = Writer()
    size = value.bytes
    step = Step("copy", [(value, 0), (target, 0)], [target])
    step.name = f"copy{size}"
    step.declarations = {"declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)"}
    w.do(f"call void @llvm.memcpy.p0.p0.i64(ptr %b, ptr %a, i64 {size}, i1 false)")
    step.text = (
        f"define internal void @{step.name}(ptr %a, ptr %b, i64 %begin, i64 %end, ptr %s) {{\n"
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
        name, text = parts.name, parts.text
        step.declarations = set(parts.declarations)
        units = parts.units
    else:
        name, text, declarations = product(p)
        step.declarations = set(declarations)
        units = count
    step.text = text
    step.units = units
    step.cost = step.flops / units / 20
    strides = [v.strides[:-2] for v in (a, b)] + [tuple(strides_of(value.shape)[:-2])]
    step.name = f"m{hashlib.sha256((name + repr((batch, strides))).encode()).hexdigest()[:16]}"
    step.text += _around(step.name, name, batch, strides, str(p.type), count == 1)
    return step


def _around(name: str, inner: str, batch: list[int], strides: Any, scalar: str, one: bool) -> str:
    """Write a function over units around that of one product, or of one product's blocks."""
    w = Writer()
    head = f"\ndefine internal void @{name}(ptr %a, ptr %b, ptr %c, i64 %begin, i64 %end, ptr %s) {{\n"
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


_ROUTINES: dict[str, Callable[[Value, Plan], Step]] = {"matmul": _matmul}
